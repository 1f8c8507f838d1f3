/** What a round proves of the run time: the list followed to the quote, its new entries judged, and what is kept of that. */
import { EMPTY_CHECKPOINT, formatCheckpoint, parseCheckpoint } from '../../tpm/ima/checkpoint.ts';
import type { ImaCheckpoint } from '../../tpm/ima/checkpoint.ts';
import { NOTHING_YET } from '../policy/appraise-runtime.ts';
import type { RuntimeEvidence } from '../policy/appraise-runtime.ts';
import type { ApplicablePolicy } from '../policy/appraise.ts';
import type { RuntimeJudge } from '../policy/judge-entry.ts';
import { runtimeRulesOf } from '../policy/policy.ts';
import { faultsBeside, foundInReset, makeState, tallyOfFaults } from '../policy/runtime-state.ts';
import type { RuntimeState } from '../policy/runtime-state.ts';
import { EMPTY_TALLY, withFormerFaults } from '../policy/runtime-tally.ts';
import type { RuntimeTally } from '../policy/runtime-tally.ts';
import { IMA_PCR, selectRuntimePcrs } from '../policy/select-pcrs.ts';
import { isDamaged } from '../store/damaged.ts';
import type { HostRecord, LogPart, LogState } from '../store/records.ts';
import type { RuntimeChange } from '../store/store.ts';
import { isOtherBoot } from '../store/enroll-rules.ts';
import type { KnownBoot } from '../verifier/boot-cache.ts';
import type { Finding } from '../verifier/finding.ts';
import { followList } from '../verifier/follow-list.ts';
import type { FollowedList, ProvenList } from '../verifier/follow-list.ts';
import type { VerifiedEvidence } from '../verifier/verify-evidence.ts';
import { bootAgainst } from './boot-of-list.ts';
import type { KnownRuntime } from './known-runtime.ts';
import { followToCheckpoint } from './kept-list.ts';
import { listBytes } from './list-bytes.ts';
import { evidenceOf } from './list-evidence.ts';
import { explainFollowed } from './list-findings.ts';
import type { Challenge, RoundEvidence } from './messages.ts';
import type { RuntimeServices } from './runtime-services.ts';

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
    const tally = foundInReset(runtime.state, quote.clockInfo);
    return tally === null ? UNASKED : { ...UNASKED, evidence: { ...NOTHING_YET, tally } };
  }
  const rules = applicable.kind === 'policy' ? runtimeRulesOf(applicable.policy) : null;
  if (applicable.kind !== 'policy' || rules === null) {
    return { ...UNASKED, change: changeUnasked(runtime, round) };
  }
  const outcome = await services.judges.of(applicable, rules);
  if (outcome.kind === 'missing') {
    const found = foundInReset(runtime.state, quote.clockInfo);
    const boot = bootAgainst(runtime.state, quote.clockInfo, round.proven ?? context.boot);
    const unproven = unjudged(explainFollowed.missingReferences(outcome.names), { tally: found, boot });
    // What nobody followed does not take the place of the list that a checkpoint is of.
    const replaced = runtime.state !== null && isOfWholeList(round);
    return replaced ? { ...unproven, change: { expected: runtime.sequence, keepBytes: 0 } } : unproven;
  }
  const list = new ListRound(services, context, round, outcome.judge);
  using _turn = await services.takeTurn(context.host.id, list.bytesToRead);
  try {
    return await list.run();
  } catch (error) {
    if (!isDamaged(error)) throw error;
    return list.damaged();
  }
}

/**
 * What of a record stays where no policy asks what ran: all of it, until the TPM is reset. A list that comes from its start takes the
 * place of the one that it is of: what was found in that is looked for in the other one, when a policy asks again.
 */
function changeUnasked({ sequence, state }: KnownRuntime, round: RuntimeRound): RuntimeChange | undefined {
  if (state === null) return undefined;
  if (state.resetCount !== round.verified.quote.clockInfo.resetCount) return { expected: sequence, body: null };
  if (state.replaced || !isOfWholeList(round)) return undefined;
  return { expected: sequence, body: JSON.stringify({ ...state, replaced: true }) };
}

function isOfWholeList({ logs }: RuntimeRound): boolean {
  return logs.some(({ kind, offset }) => kind === 'ima' && offset === 0);
}

function unjudged(
  finding: Finding,
  against: { readonly tally: RuntimeTally | null; readonly boot: Finding | null },
): RuntimeProof {
  return { ...UNASKED, evidence: { kind: 'unproven', finding, absent: false, ...against } };
}

/** Where a list is taken up, with what is known of it up to there. */
interface Start {
  readonly from: ImaCheckpoint;
  readonly tally: RuntimeTally;
  readonly pcrs: readonly number[];
}

class ListRound {
  readonly #services: RuntimeServices;
  readonly #context: RuntimeContext;
  readonly #round: RuntimeRound;
  readonly #judge: RuntimeJudge;
  /** The part of the list that came with this round. */
  readonly #part: LogPart | undefined;
  /** The list came from its start, in the place of what was kept. */
  readonly #anew: boolean;
  /** What is kept of this reset, and of it where its list is kept too and goes on. */
  readonly #ofReset: RuntimeState | null;
  readonly #ofList: RuntimeState | null;
  /** Bytes of the list of this boot that are kept. */
  readonly #kept: number;
  readonly #start: Start;
  /** What was kept of the list, by the judge of now. */
  #again: RuntimeState | null = null;

  constructor(services: RuntimeServices, context: RuntimeContext, round: RuntimeRound, judge: RuntimeJudge) {
    this.#services = services;
    this.#context = context;
    this.#round = round;
    this.#judge = judge;
    this.#part = round.logs.find(({ kind }) => kind === 'ima');
    this.#anew = isOfWholeList(round);
    const { resetCount, restartCount } = round.verified.quote.clockInfo;
    const { state } = context.runtime;
    this.#ofReset = state?.resetCount === resetCount ? state : null;
    const size = context.logs.find(({ kind }) => kind === 'ima')?.size ?? 0;
    this.#kept = isOtherBoot(context.host.clock, round.verified.quote.clockInfo) ? 0 : size;
    const ofBoot = this.#ofReset?.restartCount === restartCount ? this.#ofReset : null;
    const isThere = ofBoot !== null && !ofBoot.replaced && parseCheckpoint(ofBoot.checkpoint).offset <= this.#kept;
    this.#ofList = isThere && !this.#anew ? ofBoot : null;
    this.#start = this.#startOf(this.#ofList);
  }

  get #boot(): KnownBoot | null {
    return this.#round.proven ?? this.#context.boot;
  }

  /** What is kept behind the start, and what came. */
  get bytesToRead(): number {
    const kept = this.#anew ? 0 : this.#kept;
    return Math.max(0, kept - this.#start.from.offset) + (this.#part?.data.byteLength ?? 0);
  }

  async run(): Promise<RuntimeProof> {
    const { context, verified } = { context: this.#context, verified: this.#round.verified };
    const { pcrs } = verified;
    const banks = verified.banks.length > 0 ? verified.banks : banksOf(context.host);
    const selected = selectRuntimePcrs(context.applicable, banks, this.#start.pcrs);
    if (pcrs === null || selected.length === 0) {
      const proof = unjudged(explainFollowed.notQuoted(), {
        tally: await this.#judgeBefore(),
        boot: this.#bootBefore(),
      });
      // The list that a checkpoint was of is replaced all the same.
      return this.#anew || this.#again !== null ? { ...proof, change: this.#unmoved() } : proof;
    }
    const followed = await followList({
      pcrs,
      banks: selected.map(({ hash }) => hash),
      indices: this.#start.pcrs,
      from: this.#start.from,
      bytes: this.#bytes,
      breathe: this.#services.breathe,
    });
    return followed.kind === 'proven' ? this.#judgeProven(followed) : await this.#explain(followed);
  }

  /** What is kept of the list is not what the host sent. Nothing of it stays, and the host is asked for all of it at once. */
  damaged(): RuntimeProof {
    const proof = unjudged(explainFollowed.damaged(), { tally: this.#judgedBefore(null), boot: this.#bootBefore() });
    return { ...proof, change: { ...this.#fence(), keepBytes: 0 }, askAgain: true };
  }

  /** Only a list of this boot, judged by the same judge, is taken up where it was left. */
  #startOf(state: RuntimeState | null): Start {
    const pcrs = this.#ofReset?.pcrs ?? [IMA_PCR];
    if (state?.judge !== this.#judge.digest) return { from: EMPTY_CHECKPOINT, tally: EMPTY_TALLY, pcrs };
    return { from: parseCheckpoint(state.checkpoint), tally: state.tally, pcrs };
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
    return {
      evidence: evidenceOf(checkpoint, withFormerFaults(tally, former), this.#boot),
      change: this.#changeTo({ checkpoint: formatCheckpoint(checkpoint), pcrs, tally, former }),
      torn: false,
      askAgain: awaited.length > 0,
    };
  }

  /**
   * Faults of lists that are gone. The list of before is usually the beginning of one that came anew: as far as it is, its entries are
   * judged here again. What was found in it and is not found again stays.
   */
  async #formerBeside({ checkpoint }: ProvenList): Promise<RuntimeTally['faults']> {
    const state = this.#ofReset;
    if (state === null) return {};
    if (this.#start.from.offset > 0 || Object.keys(state.tally.faults).length === 0) return state.former;
    const { offset } = parseCheckpoint(state.checkpoint);
    const begins = offset > checkpoint.offset ? null : await followToCheckpoint(this.#services, state, this.#bytes);
    if (begins === null) return faultsBeside(state, EMPTY_TALLY);
    const options = { bytes: this.#bytes, before: EMPTY_TALLY, judge: this.#judge };
    return faultsBeside(state, await this.#services.tally(begins, options));
  }

  async #explain(followed: Exclude<FollowedList, { readonly kind: 'proven' }>): Promise<RuntimeProof> {
    const { evidence } = this.#round;
    const announced = evidence.logs.find(({ kind }) => kind === 'ima');
    const unreadable = announced?.unreadable ?? '';
    const nothingCame = unreadable === '' && (announced?.size ?? 0) === 0;
    const finding = explainFollowed.finding(followed, { unreadable, nothingCame });
    const against = { tally: await this.#judgeBefore(), boot: this.#bootBefore() };
    // Rules that judge from the start take away nothing of what is kept.
    const { entries, offset } = this.#ofList === null ? EMPTY_CHECKPOINT : parseCheckpoint(this.#ofList.checkpoint);
    const absent = followed.kind === 'empty' || (unreadable !== '' && entries === 0);
    const proof = {
      evidence: { kind: 'unproven', finding, absent, ...against } as const,
      torn: false,
      askAgain: false,
    };
    if (followed.kind === 'uncovered') {
      const more = followed.pcrs.some((pcr) => !this.#start.pcrs.includes(pcr));
      // What these entries are is not known before their PCRs are proven.
      return { ...proof, change: this.#unmoved(more ? followed.pcrs : this.#start.pcrs), askAgain: more };
    }
    if (followed.kind === 'empty') return { ...proof, change: this.#unmoved() };
    // Bytes that explain nothing are not kept: they are asked for again from where the list was proven.
    const moves = this.#anew || this.#again !== null;
    const change = { ...(moves ? this.#unmoved() : this.#fence()), keepBytes: offset };
    return { ...proof, change, torn: unreadable === '' };
  }

  /** Nothing was proven: what was found before stays with the list that it was found in, beside no bytes that are not of it. */
  #unmoved(pcrs = this.#start.pcrs): RuntimeChange {
    const state = this.#ofReset;
    if (state === null) {
      return this.#changeTo({ checkpoint: formatCheckpoint(EMPTY_CHECKPOINT), pcrs, tally: EMPTY_TALLY, former: {} });
    }
    const same = pcrs === this.#start.pcrs && this.#again === null;
    const body = JSON.stringify({ ...(this.#again ?? state), pcrs });
    const change = same ? this.#fence() : { ...this.#fence(), body };
    return this.#ofList === null ? { ...change, keepBytes: 0 } : change;
  }

  /**
   * What was found in this reset. What is kept of a list as far as it is proven is judged anew where another judge did: it need not be
   * shown once more for that.
   */
  async #judgeBefore(): Promise<RuntimeTally | null> {
    const state = this.#ofList;
    if (state === null || state.judge === this.#judge.digest) return this.#judgedBefore();
    const proven = parseCheckpoint(state.checkpoint).entries > 0;
    const list = proven ? await followToCheckpoint(this.#services, state, this.#bytes) : null;
    if (list === null) return foundInReset(state, state);
    const tally = await this.#services.tally(list, { bytes: this.#bytes, before: EMPTY_TALLY, judge: this.#judge });
    const former = faultsBeside(state, tally);
    this.#again = { ...state, judge: this.#judge.digest, tally, former };
    return withFormerFaults(tally, former);
  }

  /** What was found in this reset, in a list that is here only by this judge; null where that is nothing. */
  #judgedBefore(list = this.#ofList): RuntimeTally | null {
    const state = this.#ofReset;
    if (state === null) return null;
    if (state.judge === this.#judge.digest) return withFormerFaults(state.tally, state.former);
    return list === null ? foundInReset(state, state) : tallyOfFaults(state.former);
  }

  #bootBefore(): Finding | null {
    return bootAgainst(this.#ofReset, this.#round.verified.quote.clockInfo, this.#boot);
  }

  #fence(): RuntimeChange {
    return { expected: this.#context.runtime.sequence };
  }

  /** A round that confirms writes nothing. */
  #changeTo(parts: Pick<RuntimeState, 'checkpoint' | 'pcrs' | 'tally' | 'former'>): RuntimeChange {
    const before = this.#context.runtime.state;
    const { resetCount, restartCount } = this.#round.verified.quote.clockInfo;
    const state = makeState({ resetCount, restartCount, judge: this.#judge.digest, replaced: false, ...parts });
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
