import { AUDIT_CHAIN_START, findBrokenAudit } from './store/audit.ts';
import type { AuditRecord } from './store/records.ts';
import type { Store } from './store/store.ts';

const PAGE = 500;

/**
 * Reads the whole audit log, gives each record to `write`, and checks the chain of hashes over all of them.
 * @returns the sequence number at which the chain is broken; null when it holds
 */
export async function reportAudit(
  store: Pick<Store, 'listAudit'>,
  write: (record: AuditRecord) => void,
): Promise<number | null> {
  let previous = AUDIT_CHAIN_START;
  let after = 0;
  let broken: number | null = null;
  for (;;) {
    const records = await store.listAudit(after, PAGE);
    for (const record of records) write(record);
    const [first] = records;
    const last = records.at(-1);
    if (first === undefined || last === undefined) return broken;
    broken ??= first.sequence === after + 1 ? findBrokenAudit(previous, records) : first.sequence;
    previous = last.hash;
    after = last.sequence;
  }
}
