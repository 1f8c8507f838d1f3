/** All that a store holds at the end of a run, and what the machines and callers know besides. */
import { randomBytes } from 'node:crypto';

import { openSqliteStore } from '../../../server/store/sqlite.ts';
import type { AuditRecord, Change, HostRecord, PolicyRecord } from '../../../server/store/records.ts';
import type { Page, Store } from '../../../server/store/store.ts';

export interface History {
  readonly incarnation: string;
  readonly revision: number;
  readonly changes: readonly Change[];
  readonly audit: readonly AuditRecord[];
  readonly hosts: readonly HostRecord[];
  /** Every version of every policy that is there. */
  readonly policies: readonly PolicyRecord[];
}

/** A quote that a TPM has signed. */
export interface Signed {
  /** The watched PCR was as policies want it. */
  readonly good: boolean;
  readonly resetCount: number;
  /** Hex. */
  readonly akName: string;
  /** Position among all quotes of the machine. */
  readonly order: number;
  readonly time: number;
}

/** By host id, by evidence digest. */
export type Ledgers = ReadonlyMap<string, ReadonlyMap<string, Signed>>;

const PAGE = 500;

export async function readHistory(directory: string): Promise<History> {
  const store = await openSqliteStore({
    directory,
    wallClock: Date.now,
    monotonic: () => performance.now(),
    random: (size) => randomBytes(size),
  });
  try {
    return await historyOf(store);
  } finally {
    await store.close();
  }
}

export async function historyOf(store: Store): Promise<History> {
  const { revision } = await store.heads();
  const changes = await everything((last: Change | undefined) => store.changesSince(last?.revision ?? 0, PAGE));
  const audit = await everything((last: AuditRecord | undefined) => store.listAudit(last?.sequence ?? 0, PAGE));
  const hosts = await pages((after) =>
    store.listHosts({ limit: PAGE, after }, { states: [], matchLabels: {}, scope: {} }),
  );
  const { policies: newest } = await store.allPolicies();
  const policies: PolicyRecord[] = [];
  for (const { id, version } of newest) {
    for (let each = 1; each <= version; each++) {
      const policy = await store.getPolicy(id, each);
      if (policy !== null) policies.push(policy);
    }
  }
  return { incarnation: store.incarnation, revision, changes, audit, hosts, policies };
}

async function everything<T>(read: (last: T | undefined) => Promise<readonly T[]>): Promise<readonly T[]> {
  const all: T[] = [];
  for (let page = await read(undefined); page.length > 0; page = await read(all.at(-1))) all.push(...page);
  return all;
}

async function pages<T>(read: (after: string) => Promise<Page<T>>): Promise<readonly T[]> {
  const all: T[] = [];
  let after: string | null = '';
  while (after !== null) {
    const page: Page<T> = await read(after);
    all.push(...page.items);
    after = page.next;
  }
  return all;
}
