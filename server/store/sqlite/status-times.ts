/** Since when a present result has its status: of before, as far back as changes are kept. */
export const STATUS_TIMES = `
ALTER TABLE results ADD COLUMN status_time INTEGER NOT NULL DEFAULT 0;
UPDATE results SET status_time = coalesce(
  (SELECT c.time FROM changes c WHERE c.host_id = results.host_id AND c.revision <= results.revision
    AND (c.prior_status IS NULL OR c.prior_status <> c.status) ORDER BY c.revision DESC LIMIT 1),
  (SELECT min(c.time) FROM changes c WHERE c.host_id = results.host_id),
  0
);
`;
