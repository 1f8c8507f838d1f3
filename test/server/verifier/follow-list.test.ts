import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

import type { ProvenPcrValues } from '../../../tpm/crypto/pcr.ts';
import { EMPTY_CHECKPOINT } from '../../../tpm/ima/checkpoint.ts';
import type { ImaCheckpoint } from '../../../tpm/ima/checkpoint.ts';
import { ImaKeyring } from '../../../tpm/ima/keyring.ts';
import { ImaListReader } from '../../../tpm/ima/parse.ts';
import { ImaPcrs } from '../../../tpm/ima/pcrs.ts';
import { hashAlgorithm } from '../../../tpm/crypto/digest.ts';
import { TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { RuntimeServices } from '../../../server/attestation/runtime-services.ts';
import { makeJudge } from '../../../server/policy/judge-entry.ts';
import { resolveRuntimeRules } from '../../../server/policy/runtime-rules.ts';
import { EMPTY_TALLY } from '../../../server/policy/runtime-tally.ts';
import type { RuntimeTally } from '../../../server/policy/runtime-tally.ts';
import { followList, LIST_SLICE } from '../../../server/verifier/follow-list.ts';
import type { ListBytes } from '../../../server/verifier/follow-list.ts';
import { dataIsHere, measuredBootPath } from '../../support/data.ts';
import { filePlan, sha256, violationPlan } from '../../support/measuring-kernel.ts';
import { FILES, NO_RUNTIME_RULES } from '../../support/runtime-policy.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { fileEntries, makeList } from '../../tpm/ima/list-builder.ts';
import { rsaSigner, signV2 } from '../../tpm/ima/signing.ts';

/** The value of PCR 10 after each number of entries. */
function valuesOf(list: Buffer): readonly Buffer[] {
  const reader = new ImaListReader();
  reader.push(list);
  const pcrs = new ImaPcrs([hashAlgorithm(TPM_ALG_SHA256)]);
  const values: Buffer[] = [Buffer.alloc(32)];
  for (let entry = reader.next(); entry !== undefined; entry = reader.next()) {
    pcrs.extend(entry);
    values.push(pcrs.values().find(({ mode }) => mode === 'bankHash')?.value ?? Buffer.alloc(0));
  }
  return values;
}

// The values stand for a quote's: what proves them is tested where they are proven.
const proven = (value: Buffer) => new Map([[TPM_ALG_SHA256, new Map([[10, value]])]]) as unknown as ProvenPcrValues;

const bytesOf = (list: Buffer, slice = LIST_SLICE): ListBytes =>
  async function* bytes(offset) {
    for (let at = offset; at < list.length; at += slice) yield list.subarray(at, at + slice);
  };

const signer = rsaSigner();
/** What the captures hold none of. */
const odd = Array.from({ length: 40 }, (_, index) => {
  const path = `/usr/bin/${index}`;
  const made = signV2(signer, 'sha256', sha256(index % 5 === 0 ? 'other' : path));
  return index % 7 === 3 ? violationPlan(path) : filePlan(path, path, made);
});
const rules = resolveRuntimeRules({ ...NO_RUNTIME_RULES, files: { ...FILES, keyrings: ['keyrings/vendor'] } });

function emptyServices(): RuntimeServices {
  return new RuntimeServices({
    readLog: () => Promise.reject(new Error('not kept')),
    readReferenceDigests: () => Promise.reject(new Error('not kept')),
    getKeyring: () => Promise.resolve(null),
  });
}

/** Follows a list to one value after the other, as so many rounds do. */
async function account(
  list: Buffer,
  values: readonly Buffer[],
  judge = makeJudge('d', rules, { sets: [], keyring: new ImaKeyring([]) }),
) {
  const services = emptyServices();
  let from: ImaCheckpoint = EMPTY_CHECKPOINT;
  let tally: RuntimeTally = EMPTY_TALLY;
  let breaths = 0;
  for (const value of values) {
    const breathe = (): Promise<void> => {
      breaths += 1;
      return Promise.resolve();
    };
    const bytes = bytesOf(list);
    const followed = await followList({
      pcrs: proven(value),
      banks: [TPM_ALG_SHA256],
      indices: [10],
      from,
      bytes,
      breathe,
    });
    if (followed.kind !== 'proven') throw new Error(followed.kind);
    tally = await services.tally(followed.list, { bytes, before: tally, judge });
    from = followed.list.checkpoint;
  }
  return { tally, checkpoint: from, breaths };
}

describe.skipIf(!dataIsHere('measured-boot'))('a real list in rounds', () => {
  it('comes to the same however it is split', async () => {
    const real = readFileSync(measuredBootPath('debian-systemd-ima', 'binary_runtime_measurements'));
    const list = Buffer.concat([real, makeList(odd)]);
    const values = valuesOf(list);
    const judge = makeJudge('d', rules, { sets: [], keyring: new ImaKeyring([signer.key]) });
    const last = values.slice(-1);
    const whole = await account(list, last, judge);
    expect(whole.tally.counts.validSignatures).toBeGreaterThan(0);
    expect(whole.tally.faults.FILE_UNKNOWN?.count).toBeGreaterThan(0);
    expect(whole.tally.faults.IMA_VIOLATION?.count).toBeGreaterThan(0);
    const random = new SeededRandom(17);
    for (let run = 0; run < 25; run++) {
      const cuts = Array.from({ length: 1 + random.below(12) }, () => 1 + random.below(values.length - 1));
      const rounds = cuts.toSorted((a, b) => a - b).flatMap((cut) => values.slice(cut, cut + 1));
      const split = await account(list, [...rounds, ...last], judge);
      expect({ run, ...split, breaths: 0 }).toEqual({ run, ...whole, breaths: 0 });
    }
  });
});

describe('a first list of 100,000 entries', () => {
  it('is followed in slices that let others run', async () => {
    const list = makeList(fileEntries(100_000));
    const { breaths, checkpoint, tally } = await account(list, valuesOf(list).slice(-1));
    expect(checkpoint.entries).toBe(100_000);
    expect(tally.counts.files).toBe(99_999);
    expect(breaths).toBeGreaterThanOrEqual(Math.floor(list.length / LIST_SLICE));
  });

  it('lets others run after each signature that is verified, once', async () => {
    const list = makeList([...fileEntries(1), ...odd]);
    const judge = makeJudge('d', rules, { sets: [], keyring: new ImaKeyring([signer.key]) });
    const services = emptyServices();
    const followed = await followList({
      pcrs: proven(valuesOf(list).at(-1) ?? Buffer.alloc(0)),
      banks: [TPM_ALG_SHA256],
      indices: [10],
      from: EMPTY_CHECKPOINT,
      bytes: bytesOf(list),
      breathe: services.breathe,
    });
    if (followed.kind !== 'proven') throw new Error(followed.kind);
    const turnsOf = async (): Promise<number> => {
      let turns = 0;
      let counts = true;
      const count = (): void => {
        turns += 1;
        if (counts) setImmediate(count);
      };
      setImmediate(count);
      await services.tally(followed.list, { bytes: bytesOf(list), before: EMPTY_TALLY, judge });
      counts = false;
      return turns;
    };
    const signed = odd.filter(({ violation }) => violation !== true).length;
    expect(await turnsOf()).toBeGreaterThanOrEqual(signed);
    expect(await turnsOf()).toBeLessThan(signed / 2);
  });

  it('costs nothing of what was proven before in a round that confirms', async () => {
    const list = makeList(fileEntries(200));
    const values = valuesOf(list);
    const { checkpoint } = await account(list, values.slice(-1));
    const read: number[] = [];
    const bytes: ListBytes = (offset) => {
      read.push(offset);
      return bytesOf(list)(offset);
    };
    const value = values.at(-1) ?? Buffer.alloc(0);
    const breathe = (): Promise<void> => Promise.resolve();
    const followed = await followList({
      pcrs: proven(value),
      banks: [TPM_ALG_SHA256],
      indices: [10],
      from: checkpoint,
      bytes,
      breathe,
    });
    expect(followed).toMatchObject({ kind: 'proven', list: { checkpoint: { entries: 200 } } });
    expect(new Set(read)).toEqual(new Set([list.length]));
  });
});
