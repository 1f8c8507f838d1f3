import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasErrors } from '../../../tpm/eventlog/finding.ts';
import { parseEventLog } from '../../../tpm/eventlog/parse.ts';
import { readEventLog } from '../../../tpm/eventlog/read-event-log.ts';
import { digest, digestSize } from '../../../tpm/crypto/digest.ts';
import { algorithmName } from '../../../tpm/structures/constants.ts';
import { conformancePath, dataIsHere } from '../../support/data.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { conformanceLogs, MEASURED_BOOTS, measuredLog } from './real-logs.ts';

/** Values by bank, then by PCR; banks without any are left out. */
type Pcrs = Readonly<Record<string, Readonly<Record<string, string>>>>;

interface NamedLog {
  readonly name: string;
  readonly bytes: Buffer;
}

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'assay-eventlog-'));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What the tool replays; undefined where it refuses the log. */
function replayedByTool(log: Buffer): Pcrs | undefined {
  const path = join(folder, 'log');
  writeFileSync(path, log);
  const { status, stdout, error } = spawnSync('tpm2_eventlog', [path], { encoding: 'latin1', maxBuffer: 1 << 27 });
  if (error !== undefined) throw error;
  if (status !== 0) return undefined;
  const banks: Record<string, Record<string, string>> = {};
  let bank = '';
  for (const line of stdout.slice(stdout.lastIndexOf('\npcrs:')).split('\n')) {
    bank = /^ {2}(\w+):$/.exec(line)?.[1] ?? bank;
    const [, pcr, value] = /^ {4}(\d+) *: 0x([0-9a-f]+)$/.exec(line) ?? [];
    if (pcr !== undefined && value !== undefined) (banks[bank] ??= {})[pcr] = value;
  }
  return banks;
}

function replayedHere(log: Buffer): Pcrs {
  return toPcrs([...readEventLog(log).replay.pcrs]);
}

/** The same with every event that has digests, those that are not extended (EV_NO_ACTION) too, from zeros on. */
function replayedByDigests(log: Buffer): Pcrs {
  const { banks, events } = parseEventLog(log);
  return toPcrs(
    banks.map(({ alg }, position) => {
      const values = new Map<number, Buffer>();
      for (const { index, pcr, digests } of events) {
        const extended = digests[position];
        if (index === 0 || extended === undefined || extended.length !== digestSize(alg)) continue;
        values.set(pcr, digest(alg, values.get(pcr) ?? Buffer.alloc(extended.length), extended));
      }
      return [alg, values];
    }),
  );
}

function toPcrs(banks: readonly (readonly [number, ReadonlyMap<number, Buffer>])[]): Pcrs {
  const named = banks.map(([alg, values]) => {
    const byPcr = [...values].map(([pcr, value]) => [String(pcr), value.toString('hex')] as const);
    return [algorithmName(alg), Object.fromEntries(byPcr)] as const;
  });
  return Object.fromEntries(named.filter(([, values]) => Object.keys(values).length > 0));
}

/** PCRs in which two replays differ, as `sha256/0`. */
function differences(a: Pcrs, b: Pcrs): readonly string[] {
  const places = [a, b].flatMap((pcrs) =>
    Object.entries(pcrs).flatMap(([bank, values]) => Object.keys(values).map((pcr) => `${bank}/${pcr}`)),
  );
  const valueAt = (pcrs: Pcrs, place: string): string | undefined => {
    const [bank = '', pcr = ''] = place.split('/');
    return pcrs[bank]?.[pcr];
  };
  return [...new Set(places)].filter((place) => valueAt(a, place) !== valueAt(b, place));
}

/**
 * Logs with a StartupLocality or another EV_NO_ACTION event, or with an H-CRTM, in PCR 0. The release of the tool that is compared with
 * extends the digest of such an event, which is zeros, and begins with zeros; the TPM did neither (PC Client Platform Firmware
 * Profile §10.4.5.3). What `expected/` has for these, from an independent program, is what is replayed here.
 */
const NO_ACTION_IN_PCR_0 = [
  'google+go-tpm-tools/internal/test/eventlogs/eventlogwithsp800155.bin',
  'google+go-tpm-tools/internal/test/eventlogs/glinux-alex.bin',
  'keylime+keylime/test/data/create-mb-policy/binary_bios_measurements',
  'tpm2-software+tpm2-tss/test/data/fapi/eventlog/binary_measurements_hcrtm.b64',
] as const;

/** The one difference that is known: the tool's value is the one by all digests. */
function isByDigests(log: Buffer, place: string, byTool: Pcrs): boolean {
  const [bank = '', pcr = ''] = place.split('/');
  return byTool[bank]?.[pcr] === replayedByDigests(log)[bank]?.[pcr];
}

const logs: readonly NamedLog[] = [
  ...(dataIsHere('conformance') ? conformanceLogs() : []),
  ...(dataIsHere('measured-boot') ? MEASURED_BOOTS.map((name) => ({ name, bytes: measuredLog(name) })) : []),
];

describe.skipIf(logs.length === 0)('the replay of tpm2_eventlog', () => {
  test('is compared over all logs', () => {
    expect(logs.length).toBeGreaterThanOrEqual(dataIsHere('conformance') ? 26 : 3);
  });

  test.each(named(logs))('%s: agrees in every PCR of every bank', (name, bytes) => {
    const byTool = replayedByTool(bytes) ?? {};
    expect(Object.keys(byTool).length).toBeGreaterThan(0);
    const different = differences(byTool, replayedHere(bytes));
    const known = different.filter((place) => isByDigests(bytes, place, byTool));
    expect(different).toEqual(known);
    if (NO_ACTION_IN_PCR_0.some((each) => each === name))
      expect(known.every((place) => place.endsWith('/0'))).toBe(true);
    else expect(known).toEqual([]);
  });

  test.skipIf(!dataIsHere('conformance')).each(['bogus', 'empty'])('%s: yields nothing on either side', (kind) => {
    const path = ['keylime+keylime', 'test', 'data', 'create-mb-policy', `binary_bios_measurements-${kind}`];
    const bytes = readFileSync(conformancePath(...path));
    expect([replayedByTool(bytes), replayedHere(bytes)]).toEqual([undefined, {}]);
    expect(hasErrors(readEventLog(bytes).findings)).toBe(true);
  });

  // A log of more than that takes the tool long, and is one of these with more events.
  const small = logs.filter(({ bytes }) => bytes.length < 40_000);

  test.each(named(small))('%s, tampered: agrees, or the log is refused here', (name, bytes) => {
    const random = new SeededRandom(5);
    for (let round = 0; round < 9; round += 1) {
      const changed = tamper(bytes, random, round);
      const byTool = replayedByTool(changed);
      const reading = readEventLog(changed);
      const refused = !reading.log.complete || hasErrors(reading.findings);
      const different = differences(byTool ?? {}, toPcrs([...reading.replay.pcrs]));
      // What the tool cannot print it refuses as a whole; here it is data that does not decode, under digests that stand.
      const undecodable = byTool === undefined && differences(replayedHere(bytes), replayedHere(changed)).length === 0;
      const known = different.every((place) => byTool !== undefined && isByDigests(changed, place, byTool));
      expect([name, round, refused || undecodable || known]).toEqual([name, round, true]);
    }
  });
});

/** As rows, so that the whole name is in the title. */
function named(all: readonly NamedLog[]): readonly (readonly [string, Buffer])[] {
  return all.map(({ name, bytes }) => [name, bytes]);
}

/** Cuts the log, turns a bit, or leaves out some bytes of it. */
function tamper(bytes: Buffer, random: SeededRandom, round: number): Buffer {
  const at = random.below(bytes.length);
  if (round % 3 === 0) return bytes.subarray(0, at);
  if (round % 3 === 1) return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.below(64))]);
  const copy = Buffer.from(bytes);
  copy.writeUInt8(copy.readUInt8(at) ^ (1 << random.below(8)), at);
  return copy;
}
