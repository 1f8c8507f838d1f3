/** What a list of run-time measurements costs a round: following and judging what is new of it, and nothing of what is not. */
import { RuntimeServices } from '../server/attestation/runtime-services.ts';
import { makeJudge } from '../server/policy/judge-entry.ts';
import { resolveRuntimeRules } from '../server/policy/runtime-rules.ts';
import { EMPTY_TALLY } from '../server/policy/runtime-tally.ts';
import type { RuntimeTally } from '../server/policy/runtime-tally.ts';
import { followList, LIST_SLICE } from '../server/verifier/follow-list.ts';
import type { ListBytes } from '../server/verifier/follow-list.ts';
import type { ProvenPcrValues } from '../tpm/crypto/pcr.ts';
import { EMPTY_CHECKPOINT } from '../tpm/ima/checkpoint.ts';
import type { ImaCheckpoint } from '../tpm/ima/checkpoint.ts';
import { ImaKeyring } from '../tpm/ima/keyring.ts';
import { TPM_ALG_SHA256 } from '../tpm/structures/constants.ts';
import { FILES, NO_RUNTIME_RULES } from '../test/support/runtime-policy.ts';
import { extendAll, fileEntries, makeList } from '../test/tpm/ima/list-builder.ts';
import type { Benchmark } from './benchmark.ts';
import type { Figure } from './figure.ts';
import { p256VerificationMicros } from './floors.ts';
import { median } from './measure.ts';

const NEW_ENTRIES = 10;

export const runtime: Benchmark = {
  name: 'runtime',
  about: 'lists of run-time measurements: a round that confirms, new entries behind short and long lists, a first list',
  async run({ tiny = false }) {
    const repeat = tiny ? { rounds: 1, count: 1 } : { rounds: 7, count: 200 };
    const short = await Following.of(tiny ? 20 : 1_000);
    const long = await Following.of(tiny ? 50 : 50_000);
    const floor = { name: 'P-256 verification', value: p256VerificationMicros(tiny ? { rounds: 1, count: 10 } : {}) };
    const behindShort = await microsPerRound(() => short.follow(NEW_ENTRIES), repeat);
    const first = await microsPerRound(() => long.followAll(), { ...repeat, count: 1 });
    const figures: Figure[] = [
      {
        name: `a round that confirms a list of ${long.entries} entries`,
        value: await microsPerRound(() => long.follow(0), repeat),
        unit: 'us',
        floor,
      },
      {
        name: `${NEW_ENTRIES} new entries behind ${long.entries}`,
        value: await microsPerRound(() => long.follow(NEW_ENTRIES), repeat),
        unit: 'us',
        floor: { name: `the same behind ${short.entries}`, value: behindShort },
        goal: 1.5,
      },
      {
        name: `a list of ${long.entries} entries from its start, an entry that is known`,
        value: first / long.entries,
        unit: 'us',
        floor: { name: 'P-256 verification', value: floor.value },
      },
    ];
    return figures;
  },
};

/** A list that was followed to a checkpoint, with some entries behind it. */
class Following {
  readonly entries: number;
  readonly #bytes: Buffer;
  readonly #values: readonly Buffer[];
  readonly #checkpoint: ImaCheckpoint;
  readonly #tally: RuntimeTally;

  private constructor(
    list: { readonly entries: number; readonly bytes: Buffer; readonly values: readonly Buffer[] },
    known: { readonly checkpoint: ImaCheckpoint; readonly tally: RuntimeTally },
  ) {
    this.entries = list.entries;
    this.#bytes = list.bytes;
    this.#values = list.values;
    this.#checkpoint = known.checkpoint;
    this.#tally = known.tally;
  }

  static async of(entries: number): Promise<Following> {
    const plans = fileEntries(entries + NEW_ENTRIES);
    const valueOf = (count: number): Buffer => extendAll(plans.slice(0, count), 'sha256', 32);
    const list = { entries, bytes: makeList(plans), values: [valueOf(entries), valueOf(entries + NEW_ENTRIES)] };
    const known = await followTo(list.bytes, list.values[0] ?? Buffer.alloc(0), EMPTY_CHECKPOINT, EMPTY_TALLY);
    return new Following(list, known);
  }

  async follow(more: number): Promise<void> {
    const value = this.#values[more === 0 ? 0 : 1] ?? Buffer.alloc(0);
    const { checkpoint } = await followTo(this.#bytes, value, this.#checkpoint, this.#tally);
    if (checkpoint.entries !== this.entries + more) throw new Error('the list of the benchmark was not followed');
  }

  async followAll(): Promise<void> {
    await followTo(this.#bytes, this.#values[0] ?? Buffer.alloc(0), EMPTY_CHECKPOINT, EMPTY_TALLY);
  }
}

const rules = resolveRuntimeRules({
  ...NO_RUNTIME_RULES,
  files: { ...FILES, referenceSets: ['referenceSets/all'], unknown: 'warning' },
});
const sets = [{ name: 'referenceSets/all', has: () => true }];
const judge = makeJudge('bench', rules, { sets, keyring: new ImaKeyring([]) });
const nothingKept = (): Promise<never> => Promise.reject(new Error('the benchmark keeps nothing in a store'));
const services = new RuntimeServices({
  readLog: nothingKept,
  readReferenceDigests: nothingKept,
  getKeyring: () => Promise.resolve(null),
});

async function followTo(list: Buffer, value: Buffer, from: ImaCheckpoint, before: RuntimeTally) {
  const bytes: ListBytes = async function* slices(offset) {
    for (let at = offset; at < list.length; at += LIST_SLICE) yield list.subarray(at, at + LIST_SLICE);
  };
  // The value stands for a quote's, whose verification other figures have.
  const pcrs = new Map([[TPM_ALG_SHA256, new Map([[10, value]])]]) as unknown as ProvenPcrValues;
  const { breathe } = services;
  const followed = await followList({ pcrs, banks: [TPM_ALG_SHA256], indices: [10], from, bytes, breathe });
  if (followed.kind !== 'proven') throw new Error(`the list of the benchmark is ${followed.kind}`);
  const tally = await services.tally(followed.list, { bytes, before, judge });
  return { checkpoint: followed.list.checkpoint, tally };
}

/** Microseconds of CPU, the median of samples, after one to warm up. */
async function microsPerRound(
  act: () => Promise<void>,
  { rounds, count }: { readonly rounds: number; readonly count: number },
): Promise<number> {
  const samples: number[] = [];
  for (let round = -1; round < rounds; round += 1) {
    const before = process.cpuUsage();
    for (let call = 0; call < count; call += 1) await act();
    const { user, system } = process.cpuUsage(before);
    if (round >= 0) samples.push((user + system) / count);
  }
  return median(samples);
}
