/** What a fleet's logs take on disk, and what it costs to keep them, in the embedded store of one process. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { openSqliteStore } from '../server/store/sqlite.ts';
import type { LogPart } from '../server/store/records.ts';
import type { RoundInput, Store } from '../server/store/store.ts';
import { enrolled, round } from '../test/server/store/fixtures.ts';
import { conformancePath } from '../test/support/data.ts';
import { digestField, makeRecord, nameField } from '../test/tpm/ima/list-builder.ts';
import type { Benchmark } from './benchmark.ts';
import type { Figure } from './figure.ts';

/** A real machine's, Secure Boot on. */
const BOOT_LOG = ['keylime+keylime', 'test', 'data', 'create-mb-policy', 'binary_bios_measurements-secureboot'];
const BATCH = 100;
const APPENDS = 50;

export const evidence: Benchmark = {
  name: 'evidence',
  about: 'logs of a fleet, kept by content: bytes on disk and the cost of writing them',
  async run(scale) {
    const tiny = scale.tiny === true;
    const hosts = tiny ? 3 : (scale.hosts ?? 1_000);
    const directory = mkdtempSync(join(tmpdir(), 'assay-bench-evidence-'));
    const store = await openSqliteStore({
      directory: join(directory, 'store'),
      wallClock: Date.now,
      monotonic: () => performance.now(),
      random: (size) => randomBytes(size),
    });
    const stored = (): number => storedBytes(join(directory, 'store', 'assay.db'));
    try {
      const ids: string[] = [];
      for (let index = 0; index < hosts; index += 1) ids.push((await enrolled(store, `n${index}`)).id);
      return [
        ...(await measureBootLog(store, ids, stored)),
        ...(await measureLists(store, ids.slice(0, 50), { entries: tiny ? 100 : 5_000, stored })),
        ...(await measureAppends(store, { long: tiny ? 200_000 : 5_000_000, appends: tiny ? 5 : APPENDS })),
      ];
    } finally {
      await store.close();
      rmSync(directory, { recursive: true, force: true });
    }
  },
};

/** Packed bytes and what refers to them, without pages that are not full. */
function storedBytes(file: string): number {
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    const row = database
      .prepare(
        `SELECT coalesce((SELECT sum(length(data) + 50) FROM blobs), 0) +
          coalesce((SELECT sum(length(host_id) + length(kind) + 10) FROM log_chunks), 0) AS bytes`,
      )
      .get();
    return Number(row?.['bytes']);
  } finally {
    database.close();
  }
}

async function measureBootLog(store: Store, ids: readonly string[], stored: () => number): Promise<Figure[]> {
  const data = readFileSync(conformancePath(...BOOT_LOG));
  const without = await commit(store, ids, () => []);
  const first = await commit(store, ids, () => [{ kind: 'boot', offset: 0, data }]);
  const raw = { name: 'raw bytes', value: (data.length * ids.length) / 1_000 };
  const name = `the same boot log of ${ids.length} hosts`;
  return [
    { name: `${name}: bytes kept`, value: stored() / 1_000, unit: 'kB', floor: raw },
    {
      name: `a round that brings it`,
      value: first,
      unit: 'us',
      floor: { name: 'a round without a log', value: without },
    },
  ];
}

async function measureLists(
  store: Store,
  ids: readonly string[],
  { entries, stored }: { readonly entries: number; readonly stored: () => number },
): Promise<Figure[]> {
  const before = stored();
  const lists = new Map(ids.map((id) => [id, listOf(entries, id)]));
  const size = lists.get(ids[0] ?? '')?.length ?? 0;
  const cost = await commit(store, ids, (id) => [{ kind: 'ima', offset: 0, data: lists.get(id) ?? new Uint8Array(0) }]);
  return [
    {
      name: `IMA lists of ${entries} entries, each of its own: bytes kept of one`,
      value: (stored() - before) / ids.length / 1_000,
      unit: 'kB',
      floor: { name: 'raw bytes', value: size / 1_000 },
    },
    { name: 'a round that brings such a list', value: cost / 1_000, unit: 'ms' },
  ];
}

/** What a list grows by costs the same behind a long one as behind a short one. */
async function measureAppends(
  store: Store,
  { long, appends }: { readonly long: number; readonly appends: number },
): Promise<Figure[]> {
  const costs: number[] = [];
  for (const size of [1_000, long]) {
    const { id } = await enrolled(store, `behind${size}`, {
      logs: [{ kind: 'ima', offset: 0, data: randomBytes(size) }],
    });
    let at = size;
    let total = 0;
    for (let index = 0; index < appends; index += 1) {
      total += await commit(store, [id], () => [{ kind: 'ima', offset: at, data: randomBytes(1_000) }]);
      at += 1_000;
    }
    costs.push(total / appends);
  }
  const [short = Number.NaN, behind = Number.NaN] = costs;
  return [
    {
      name: `1 kB behind ${long / 1e6} MB`,
      value: behind,
      unit: 'us',
      floor: { name: 'the same behind 1 kB', value: short },
      goal: 1.5,
    },
  ];
}

/** One round of each host; microseconds of CPU a round, both threads. */
async function commit(store: Store, ids: readonly string[], logsOf: (id: string) => readonly LogPart[]) {
  let micros = 0;
  for (let from = 0; from < ids.length; from += BATCH) {
    const batch = ids.slice(from, from + BATCH);
    const inputs: RoundInput[] = [];
    for (const id of batch) inputs.push(await round(store, id, { logs: logsOf(id) }));
    const before = process.cpuUsage();
    const outcomes = await store.commitRounds(inputs);
    const { user, system } = process.cpuUsage(before);
    micros += user + system;
    if (outcomes.some(({ outcome }) => outcome === 'fenced')) throw new Error('a round of the benchmark was fenced');
  }
  return micros / ids.length;
}

/** Files of a host: their digests are its own. */
function listOf(entries: number, host: string): Buffer {
  return Buffer.concat(
    Array.from({ length: entries }, (_, index) =>
      makeRecord({
        template: 'ima-ng',
        fields: [digestField('sha256', randomBytes(32)), nameField(`/usr/lib/${host.slice(0, 6)}/tool-${index}`)],
      }),
    ),
  );
}
