/** Whether everything that an operator was told is done was done, once, in his order, and nothing that he did not do. */
import type { AuditRecord, PolicyRecord } from '../../../server/store/records.ts';
import type { History } from './history.ts';

export interface Deed {
  readonly action: 'policy' | 'host.update' | 'host.approve' | 'host.revoke' | 'host.delete';
  /** As the audit log names it. */
  readonly target: string;
  /** Stands in what the deed wrote, and in nothing else; '' where it writes nothing of its own. */
  readonly mark: string;
  /** `unknown`: the service died before it answered. */
  readonly outcome: 'acknowledged' | 'refused' | 'unknown';
}

/** The operator does one thing after the other, so that his audit records are a part of his journal, in its order. */
export function checkDeeds(history: History, deeds: readonly Deed[], actor: string): readonly string[] {
  const records = history.audit.filter((each) => each.actor === actor);
  const candidates = deeds.filter(({ outcome }) => outcome !== 'refused');
  const done = assign(records, candidates, (deed, record) => fits(deed, record, history));
  if (done === null) return describeMismatch(records, candidates, history);
  return [...checkLabels(history, done), ...checkStates(history, done)];
}

/** Which deed each record is of, such that no acknowledged one is left over; null where there is no such way. */
function assign(
  records: readonly AuditRecord[],
  deeds: readonly Deed[],
  fit: (deed: Deed, record: AuditRecord) => boolean,
): readonly Deed[] | null {
  // works[d] has a place for each r: whether the deeds from d on and the records from r on come out even.
  const works = Array.from({ length: deeds.length + 1 }, () => new Uint8Array(records.length + 2));
  const at = (deed: number, record: number): boolean => works[deed]?.[record] === 1;
  works[deeds.length]?.fill(1, records.length, records.length + 1);
  for (let d = deeds.length - 1; d >= 0; d--) {
    const deed = deeds[d];
    if (deed === undefined) continue;
    for (let r = records.length; r >= 0; r--) {
      const record = records[r];
      const taken = record !== undefined && at(d + 1, r + 1) && fit(deed, record);
      if (taken || (deed.outcome === 'unknown' && at(d + 1, r))) works[d]?.fill(1, r, r + 1);
    }
  }
  if (!at(0, 0)) return null;
  let r = 0;
  return deeds.filter((deed, d) => {
    const record = records[r];
    const taken = record !== undefined && at(d + 1, r + 1) && fit(deed, record);
    if (taken) r += 1;
    return taken;
  });
}

/** The first differences, found by taking each record for the next deed that it fits. */
function describeMismatch(
  records: readonly AuditRecord[],
  candidates: readonly Deed[],
  history: History,
): readonly string[] {
  const problems: string[] = [];
  let next = 0;
  for (const record of records) {
    const found = candidates.findIndex((deed, index) => index >= next && fits(deed, record, history));
    if (found === -1) {
      problems.push(
        `audit record ${record.sequence}, ${record.action} of ${record.target}, is of no deed that is left`,
      );
      continue;
    }
    problems.push(...candidates.slice(next, found).flatMap(lost));
    next = found + 1;
  }
  problems.push(...candidates.slice(next).flatMap(lost));
  return problems.length === 0 ? ['the audit log and the journal do not come out even'] : problems;
}

function lost(deed: Deed): readonly string[] {
  return deed.outcome === 'acknowledged' ? [`${deed.action} of ${deed.target} (${deed.mark}) was lost`] : [];
}

function fits(deed: Deed, record: AuditRecord, { policies, changes }: History): boolean {
  if (deed.target !== record.target) return false;
  switch (deed.action) {
    case 'policy':
      return record.action.startsWith('policy.') && isVersion(policies, record, deed.mark);
    case 'host.update':
      // The names of a host are in the revision that its update wrote.
      return (
        record.action === deed.action &&
        changes.some(({ result }) => result.labels['mark'] === deed.mark && result.revisionTime === record.time)
      );
    case 'host.revoke':
      return record.action === deed.action && record.detail === deed.mark;
    case 'host.approve':
    case 'host.delete':
      return record.action === deed.action;
  }
}

function isVersion(policies: readonly PolicyRecord[], { target, detail }: AuditRecord, mark: string): boolean {
  const version = Number(/^version (\d+),/.exec(detail)?.[1]);
  const policy = policies.find(({ id, version: each }) => `trustPolicies/${id}` === target && each === version);
  return policy !== undefined && (JSON.parse(policy.body) as { description: string }).description === mark;
}

/** A host has the labels of the last update that was done. */
function checkLabels({ hosts }: History, done: readonly Deed[]): readonly string[] {
  return hosts.flatMap(({ id, labels }) => {
    const target = `hosts/${id}`;
    const last = done.findLast(
      (deed) => deed.target === target && ['host.update', 'host.delete'].includes(deed.action),
    );
    const mark = last?.action === 'host.update' ? last.mark : undefined;
    return labels['mark'] === mark ? [] : [`${target} has the labels of ${labels['mark']} and not of ${mark}`];
  });
}

/** A host that was revoked and not deleted since is there and is revoked; one that was deleted is nobody's remnant. */
function checkStates({ hosts }: History, done: readonly Deed[]): readonly string[] {
  const targets = new Set(done.map(({ target }) => target).filter((target) => target.startsWith('hosts/')));
  return [...targets].flatMap((target) => {
    const last = done.findLast(
      (deed) => deed.target === target && ['host.revoke', 'host.delete'].includes(deed.action),
    );
    const host = hosts.find(({ id }) => `hosts/${id}` === target);
    if (last?.action === 'host.revoke' && host?.state !== 'revoked') return [`${target} was revoked and is not`];
    if (last?.action !== 'host.revoke' && host?.state === 'revoked') return [`${target} is revoked by nobody`];
    return [];
  });
}
