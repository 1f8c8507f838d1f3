import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { reportAudit } from '../../server/audit-report.ts';
import type { AuditRecord } from '../../server/store/records.ts';
import { openHouse, OPERATOR } from '../support/test-service.ts';
import type { House } from '../support/test-service.ts';

let house: House;
let records: AuditRecord[];
beforeEach(async () => {
  house = await openHouse();
  const { store } = house;
  // More than one page.
  for (let count = 0; count < 600; count += 1) {
    await store.putInventory([{ fingerprint: 'ab'.repeat(32), group: '', comment: String(count) }], OPERATOR);
  }
  records = [];
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
});

const keep = (record: AuditRecord): void => {
  records.push(record);
};

describe('a report of the audit log', () => {
  it('holds every record once, in order, and says that the chain holds', async () => {
    expect(await reportAudit(house.store, keep)).toBeNull();
    expect(records.length).toBeGreaterThan(600);
    expect(records.map(({ sequence }) => sequence)).toEqual(records.map((_, index) => index + 1));
  });

  it.each<[string, (record: AuditRecord) => AuditRecord | null]>([
    ['changed', (record) => ({ ...record, detail: 'nothing happened' })],
    ['taken out', () => null],
  ])('names the first record that does not fit where one was %s', async (_name, tamper) => {
    const listAudit = async (after: number, limit: number) =>
      (await house.store.listAudit(after, limit)).flatMap((record) => {
        const told = record.sequence === 555 ? tamper(record) : record;
        return told === null ? [] : [told];
      });
    expect(await reportAudit({ listAudit }, keep)).toBe(_name === 'changed' ? 555 : 556);
  });
});
