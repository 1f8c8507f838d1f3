/** What a round proves of the run time: the list followed to the quote, its new entries judged, and what is kept of that. */
import { EMPTY_CHECKPOINT, formatCheckpoint, parseCheckpoint } from '../../tpm/ima/checkpoint.ts';
import type { ImaCheckpoint } from '../../tpm/ima/checkpoint.ts';
import { NOTHING_YET } from '../policy/appraise-runtime.ts';
import type { RuntimeEvidence } from '../policy/appraise-runtime.ts';
import type { ApplicablePolicy } from '../policy/appraise.ts';
import type { RuntimeJudge } from '../policy/judge-entry.ts';
import { runtimeRulesOf } from '../policy/policy.ts';
import { formerFaults, makeState, readState, tallyOfFaults } from '../policy/runtime-state.ts';
import type { RuntimeState } from '../policy/runtime-state.ts';
import { EMPTY_TALLY, withFormerFaults } from '../policy/runtime-tally.ts';
import type { RuntimeTally } from '../policy/runtime-tally.ts';
import { IMA_PCR, selectRuntimePcrs } from '../policy/select-pcrs.ts';
import { isDamaged } from '../store/damaged.ts';
import type { HostRecord, LogPart, LogState } from '../store/records.ts';
import type { LogStore, RuntimeRecord } from '../store/log-store.ts';
import type { RuntimeChange } from '../store/store.ts';
import { isOtherBoot } from '../store/enroll-rules.ts';
import type { KnownBoot } from '../verifier/boot-cache.ts';
import { unevaluated } from '../verifier/finding.ts';
import type { Finding } from '../verifier/finding.ts';
import { followList } from '../verifier/follow-list.ts';
import type { FollowedList, ProvenList } from '../verifier/follow-list.ts';
import type { VerifiedEvidence } from '../verifier/verify-evidence.ts';
import { checkBootOfList } from './boot-of-list.ts';
import { followToCheckpoint } from './kept-list.ts';
import { listBytes } from './list-bytes.ts';
import { evidenceOf } from './list-evidence.ts';
import { explainFollowed } from './list-findings.ts';
import type { Challenge, RoundEvidence } from './messages.ts';
import type { RuntimeServices } from './runtime-services.ts';

/** What is kept of the run time of a host. */
export interface KnownRuntime {
  /** Of the record; 0 where there is none. */
  readonly sequence: number;
  readonly state: RuntimeState | null;
}

export const NO_RUNTIME: KnownRuntime = { sequence: 0, state: null };

export function knownRuntime(record: RuntimeRecord | null): KnownRuntime {
  return record === null ? NO_RUNTIME : { sequence: record.sequence, state: readState(record) };
}

/** What is known after a round that changed this much. */
export function movedRuntime(known: KnownRuntime, change: RuntimeChange | undefined): KnownRuntime {
  if (change?.body === undefined) return known;
  if (change.body === null) return NO_RUNTIME;
  const sequence = change.expected + 1;
  return knownRuntime({ sequence, body: change.body, updateTime: 0 });
}

export interface RuntimeContext {
  readonly host: Pick<HostRecord, 'id' | 'banks' | 'clock'>;
  readonly challenge: Pick<Challenge, 'selection'>;
  readonly applicable: ApplicablePolicy;
  readonly runtime: KnownRuntime;
  readonly logs: readonly LogState[];
  /** What the host proved of its present boot before. */
  readonly boot: KnownBoot | null;
}

export interface RuntimeRound {
  readonly evidence: Pick<RoundEvidence, 'logs'>;
  readonly verified: VerifiedEvidence;
  /** What this very round proved of the boot. */
  readonly proven: KnownBoot | null;
  readonly logs: readonly LogPart[];
}

/** What a round comes to. */
export interface RuntimeProof {
  /** Null where no policy asks. */
  readonly evidence: RuntimeEvidence | null;
  readonly change: RuntimeChange | undefined;
  /** List and quote may be of two moments: no verdict yet. */
  readonly torn: boolean;
  /** More must be quoted: the next challenge follows at once. */
  readonly askAgain: boolean;
}

/** Of a round that no policy judges which asks what ran. */
export const UNASKED: RuntimeProof = { evidence: null, change: undefined, torn: false, askAgain: false };

/** Follows and judges the list where the policy asks for it. */
export async function proveRuntime(
  services: RuntimeServices,
  context: RuntimeContext,
  round: RuntimeRound,
): Promise<RuntimeProof> {
  const { applicable, challenge, runtime } = context;
  const { quote, findings } = round.verified;
  // A quote of another boot without its logs, and one of a clone, are judged as what they are, and by what was found before it.
  if (findings.some(({ reason }) => reason === 'CLOCK_REGRESSED')) return UNASKED;
  const rebooted = isOtherBoot(context.host.clock, quote.clockInfo);
  if (rebooted && challenge.selection !== 'all') {
    const tally = tallyOfFaults(formerFaults(runtime.state, quote.clockInfo));
    return tally === null ? UNASKED : { ...UNASKED, evidence: { ...NOTHING_YET, tally } };
  }
  const rules = applicable.kind === 'policy' ? runtimeRulesOf(applicable.policy) : null;
  if (applicable.kind !== 'policy' || rules === null) {
    // The logs of a round that was asked for all of them replace those that a checkpoint was of.
    const dropped = challenge.selection === 'all' && runtime.sequence > 0;
    if (!dropped) return UNASKED;
    return { ...UNASKED, change: { expected: runtime.sequence, body: bodyOfFormer(runtime.state, quote.clockInfo) } };
  }
  const outcome = await services.judges.of(applicable, rules);
  if (outcome.kind === 'missing') return unjudged(missingReferences(outcome.names));
  using _turn = await services.turns.take();
  const list = new ListRound(services, context, round, outcome.judge);
  try {
    return await list.run();
  } catch (error) {
    if (!isDamaged(error)) throw error;
    return list.damaged();
  }
}

/** What stays where no policy asks what ran: the faults of lists that are gone. Null where there are none. */
function bodyOfFormer(
  state: RuntimeState | null,
  counts: Pick<RuntimeState, 'resetCount' | 'restartCount'>,
): string | null {
  const former = formerFaults(state, counts);
  if (Object.keys(former).length === 0) return null;
  const { resetCount, restartCount } = counts;
  const begin = { checkpoint: formatCheckpoint(EMPTY_CHECKPOINT), pcrs: [IMA_PCR], judge: '', tally: EMPTY_TALLY };
  return JSON.stringify(makeState({ resetCount, restartCount, ...begin, former }));
}

function unjudged(finding: Finding, tally: RuntimeTally | null = null): RuntimeProof {
  return { ...UNASKED, evidence: { kind: 'unproven', finding, absent: false, tally } };
}

function missingReferences(names: readonly string[]): Finding {
  return unevaluated('runtime.list', {
    reason: 'REFERENCE_MISSING',
    observed: `not there: ${names.join(', ')}`,
    expected: 'every reference set and keyring that the policy names',
    message: 'The policy names a reference set or keyring that cannot be read, so nothing can be judged by it.',
  });
}

/** Where a list is taken up, with what is known of it up to there. */
interface Start {
  readonly from: ImaCheckpoint;
  readonly tally: RuntimeTally;
  readonly former: RuntimeTally['faults'];
  readonly pcrs: readonly number[];
}

class ListRound {
  readonly #services: RuntimeServices;
  readonly #context: RuntimeContext;
  readonly #round: RuntimeRound;
  readonly #judge: RuntimeJudge;
  /** The part of the list that came with this round. */
  readonly #part: LogPart | undefined;
  /** The list came from its start: what was kept is gone. */
  readonly #anew: boolean;
  /** What is kept of this reset, and of this boot. */
  readonly #ofReset: RuntimeState | null;
  readonly #ofBoot: RuntimeState | null;
  readonly #start: Start;
  /** Bytes of the list of this boot that are kept. */
  readonly #kept: number;

  constructor(services: RuntimeServices, context: RuntimeContext, round: RuntimeRound, judge: RuntimeJudge) {
    this.#services = services;
    this.#context = context;
    this.#round = round;
    this.#judge = judge;
    this.#part = round.logs.find(({ kind }) => kind === 'ima');
    this.#anew = this.#part?.offset === 0;
    const { resetCount, restartCount } = round.verified.quote.clockInfo;
    const { state } = context.runtime;
    this.#ofReset = state?.resetCount === resetCount ? state : null;
    this.#ofBoot = this.#ofReset?.restartCount === restartCount ? this.#ofReset : null;
    const size = context.logs.find(({ kind }) => kind === 'ima')?.size ?? 0;
    this.#kept = isOtherBoot(context.host.clock, round.verified.quote.clockInfo) ? 0 : size;
    this.#start = this.#startOf(this.#ofReset);
  }

  async run(): Promise<RuntimeProof> {
    const { context, verified } = { context: this.#context, verified: this.#round.verified };
    const { pcrs } = verified;
    const banks = verified.banks.length > 0 ? verified.banks : banksOf(context.host);
    const selected = selectRuntimePcrs(context.applicable, banks, this.#start.pcrs);
    if (pcrs === null || selected.length === 0) {
      const proof = unjudged(explainFollowed.notQuoted(), this.#judgedBefore());
      // The list that a checkpoint was of is replaced all the same.
      return this.#anew ? { ...proof, change: this.#changeTo(this.#left()) } : proof;
    }
    const followed = await followList({
      pcrs,
      banks: selected.map(({ hash }) => hash),
      indices: this.#start.pcrs,
      from: this.#start.from,
      bytes: this.#bytes,
      breathe: this.#services.breathe,
    });
    return followed.kind === 'proven' ? this.#judgeProven(followed) : this.#explain(followed);
  }

  /** What is kept of the list is not what the host sent. Nothing of it stays, and the host is asked for all of it at once. */
  damaged(): RuntimeProof {
    const proof = unjudged(explainFollowed.damaged(), this.#judgedBefore());
    return { ...proof, change: { ...this.#fence(), keepBytes: 0 }, askAgain: true };
  }

  /** Only a list of this boot, judged by the same judge, is taken up where it was left. */
  #startOf(state: RuntimeState | null): Start {
    const pcrs = state?.pcrs ?? [IMA_PCR];
    // After a restart the PCRs may begin anew, but what was found in this reset stands, whoever judged it.
    const former = formerFaults(state, this.#round.verified.quote.clockInfo);
    const begin = { from: EMPTY_CHECKPOINT, tally: EMPTY_TALLY, pcrs, former };
    if (state === null || this.#ofBoot === null || this.#anew || state.judge !== this.#judge.digest) return begin;
    const { tally } = state;
    const from = parseCheckpoint(state.checkpoint);
    return from.offset > this.#kept ? begin : { from, tally, former, pcrs };
  }

  readonly #bytes = (offset: number): AsyncIterable<Uint8Array> => {
    const { host } = this.#context;
    const kept = this.#anew ? 0 : this.#kept;
    return listBytes(this.#services.store, { hostId: host.id, kept, part: this.#part?.data ?? null }, offset);
  };

  async #judgeProven({ list, awaited }: FollowedList & { readonly kind: 'proven' }): Promise<RuntimeProof> {
    const former = await this.#formerBeside(list);
    const tally = await this.#services.tally(list, {
      bytes: this.#bytes,
      before: this.#start.tally,
      judge: this.#judge,
    });
    const { checkpoint } = list;
    const proven = checkpoint.pcrs.map(({ pcr }) => pcr);
    const pcrs = [...new Set([...proven, ...awaited])].toSorted((left, right) => left - right);
    const boot = checkBootOfList(tally.bootAggregate, this.#round.proven ?? this.#context.boot);
    const found = { tally: withFormerFaults(tally, former), entries: checkpoint.entries, boot };
    return {
      evidence: evidenceOf(checkpoint, found),
      change: this.#changeTo({ checkpoint: formatCheckpoint(checkpoint), pcrs, tally, former }),
      torn: false,
      askAgain: awaited.length > 0,
    };
  }

  /**
   * Faults of lists that are gone. After a resume the kernel's list goes on: where the one of before is its beginning, whose values
   * were proven then, every entry of it is judged here again, and nothing of it is gone.
   */
  async #formerBeside({ checkpoint }: ProvenList): Promise<RuntimeTally['faults']> {
    const state = this.#ofReset;
    if (state === null || this.#ofBoot !== null) return this.#start.former;
    const { offset } = parseCheckpoint(state.checkpoint);
    if (offset === 0 || offset > checkpoint.offset) return this.#start.former;
    const begins = await followToCheckpoint(this.#services, state, this.#bytes);
    return begins === null ? this.#start.former : state.former;
  }

  #explain(followed: Exclude<FollowedList, { readonly kind: 'proven' }>): RuntimeProof {
    const { evidence } = this.#round;
    const announced = evidence.logs.find(({ kind }) => kind === 'ima');
    const unreadable = announced?.unreadable ?? '';
    const nothingCame = unreadable === '' && (announced?.size ?? 0) === 0;
    const finding = explainFollowed.finding(followed, { unreadable, nothingCame });
    const tally = this.#judgedBefore();
    const absent = followed.kind === 'empty' || (unreadable !== '' && this.#start.from.entries === 0);
    const proof = { evidence: { kind: 'unproven', finding, absent, tally } as const, torn: false, askAgain: false };
    if (followed.kind === 'uncovered') {
      const more = followed.pcrs.some((pcr) => !this.#start.pcrs.includes(pcr));
      // What these entries are is not known before their PCRs are proven: they are kept, and followed from here again.
      const change = more ? this.#changeTo({ ...this.#left(), pcrs: followed.pcrs }) : this.#fence();
      return { ...proof, change, askAgain: more };
    }
    if (followed.kind === 'empty') return { ...proof, change: this.#changeTo({ ...this.#left() }) };
    // Bytes that explain nothing are not kept: they are asked for again from where the list was proven.
    const keepBytes = this.#anew || this.#ofBoot === null ? 0 : parseCheckpoint(this.#ofBoot.checkpoint).offset;
    const change = { ...(this.#anew ? this.#changeTo(this.#left()) : this.#fence()), keepBytes };
    return { ...proof, change, torn: unreadable === '' };
  }

  /** The start as it is kept, where nothing was proven behind it. */
  #left(): Pick<RuntimeState, 'checkpoint' | 'pcrs' | 'tally' | 'former'> {
    const { from, tally, former, pcrs } = this.#start;
    return { checkpoint: formatCheckpoint(from), pcrs, tally, former };
  }

  /** What was found in this reset, in the present list only by this judge; null where that is nothing. */
  #judgedBefore(): RuntimeTally | null {
    const state = this.#ofReset;
    if (state?.judge === this.#judge.digest) return withFormerFaults(state.tally, state.former);
    return tallyOfFaults(this.#start.former);
  }

  #fence(): RuntimeChange {
    return { expected: this.#context.runtime.sequence };
  }

  /** A round that confirms writes nothing. */
  #changeTo(parts: Pick<RuntimeState, 'checkpoint' | 'pcrs' | 'tally' | 'former'>): RuntimeChange {
    const before = this.#context.runtime.state;
    const { resetCount, restartCount } = this.#round.verified.quote.clockInfo;
    const state = makeState({ resetCount, restartCount, judge: this.#judge.digest, ...parts });
    const body = JSON.stringify(state);
    const same =
      before !== null &&
      before.checkpoint === state.checkpoint &&
      before.judge === state.judge &&
      JSON.stringify(before) === body;
    return same ? this.#fence() : { ...this.#fence(), body };
  }
}

function banksOf({ banks }: Pick<HostRecord, 'banks'>) {
  return banks.map(({ algorithm, pcrs }) => ({ hash: algorithm, pcrs }));
}

/** What is kept of the run time, for the rounds of a stream. */
export async function loadRuntime(store: Pick<LogStore, 'getRuntime'>, hostId: string): Promise<KnownRuntime> {
  return knownRuntime(await store.getRuntime(hostId));
}
