import { describe, expect, it } from 'vitest';
import { AUDIT_CHAIN_START, auditHash, findBrokenAudit } from '../../../server/store/audit.ts';
import type { AuditRecord } from '../../../server/store/records.ts';

function chain(count: number): AuditRecord[] {
  let previous = AUDIT_CHAIN_START;
  return Array.from({ length: count }, (_, index) => {
    const record = {
      sequence: index + 1,
      time: 5,
      actor: 'ada',
      action: 'host.revoke',
      target: `hosts/${index}`,
      detail: '',
    };
    previous = auditHash(previous, record);
    return { ...record, hash: previous };
  });
}

describe('the audit chain', () => {
  it('has a hash that others can compute', () => {
    const record = { sequence: 1, time: 2, actor: 'a', action: 'b', target: 'c', detail: 'd' };
    // printf '%064d\n{"action":"b","actor":"a","detail":"d","sequence":1,"target":"c","time":2}' 0 | sha256sum
    expect(auditHash(AUDIT_CHAIN_START, record)).toBe(
      'e39577ba88dddf3656154e24c1fb71e6b0ba829192d9fc1a2666aa8f2a4558d0',
    );
  });

  it('holds as it was written', () => {
    expect(findBrokenAudit(AUDIT_CHAIN_START, chain(4))).toBeNull();
    expect(findBrokenAudit(AUDIT_CHAIN_START, [])).toBeNull();
  });

  it.each<{ name: string; tamper: (records: AuditRecord[]) => AuditRecord[]; broken: number }>([
    {
      name: 'a changed detail',
      tamper: (records) => records.map((record) => (record.sequence === 2 ? { ...record, detail: 'x' } : record)),
      broken: 2,
    },
    { name: 'a dropped record', tamper: (records) => records.filter(({ sequence }) => sequence !== 3), broken: 4 },
    { name: 'a dropped beginning', tamper: (records) => records.slice(1), broken: 2 },
    {
      name: 'two records in the other order',
      tamper: ([a, b, ...rest]) => [b, a, ...rest].flatMap((record) => record ?? []),
      broken: 2,
    },
  ])('breaks at $name', ({ tamper, broken }) => {
    expect(findBrokenAudit(AUDIT_CHAIN_START, tamper(chain(4)))).toBe(broken);
  });
});
