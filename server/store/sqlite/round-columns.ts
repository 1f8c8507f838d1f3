/**
 * What a round that confirms looks at, beside the large rows that hold the rest: the version of its host, and the connectivity of its
 * result. The pages of the others stay where they are, thousands of them where hosts are thousands.
 */
export const ROUND_COLUMNS = `
CREATE INDEX hosts_version ON hosts (id, version);
ALTER TABLE results ADD COLUMN connectivity TEXT NOT NULL DEFAULT '';
UPDATE results SET connectivity = (SELECT c.connectivity FROM changes c WHERE c.revision = results.revision);
`;
