import { Appraiser } from '../policy/appraiser.ts';
import type { Change, HostRecord, LogPart, LogState } from '../store/records.ts';
import { isOtherBoot, isReset } from '../store/enroll-rules.ts';
import type { RoundInput, RoundOutcome } from '../store/store.ts';
import { checkAnnouncements, collectLogs, withinTime } from '../verifier/collect-logs.ts';
import type { LogChunk } from '../verifier/collect-logs.ts';
import type { HeldLogs } from '../verifier/log-budget.ts';
import type { KnownBoot } from '../verifier/boot-cache.ts';
import { AttestationError } from './attestation-error.ts';
import { CHALLENGE_LIFETIME, drawChallenge, grownLogs } from './challenge.ts';
import { checkHost } from './check-host.ts';
import { Inbox } from './inbox.ts';
import type { HostListener } from '../result/feed.ts';
import { isOutside } from './outside.ts';
import type { Arrival } from './inbox.ts';
import type { Hello, Pause, RoundEvidence, ServiceMessage, StreamOptions } from './messages.ts';
import type { AttestationServices } from './services.ts';
import { readKnown } from './known.ts';
import type { Known } from './known.ts';
import { settleMoved } from './moved-list.ts';
import { isTornBoot, loadBoot, proveBoot } from './round-boot.ts';
import { isLaterBoot, judgeRound, proveRound, quoteRequirementsOf, roundHostOf, tornRound, withLogs } from './round.ts';
import type { RoundContext, RoundHost } from './round.ts';
import { type KnownRuntime, loadRuntime, movedRuntime, NO_RUNTIME } from './known-runtime.ts';
import { proveRuntime } from './round-runtime.ts';

const HELLO_TIMEOUT = 30_000;
/** A wish is heard this long after the last challenge, milliseconds. */
const MIN_INTERVAL = 1_000;
/** Evidence that does not fit together, in a row, before that is a result. */
export const MAX_TORN = 3;
const JITTER = 0.1;
/** Verdicts that were overtaken in a row before the session takes a breath. */
const MAX_FENCED = 5;

/** Attests one host for as long as its stream is open. Throws AttestationError, EvidenceError, LogError. */
export function attestHost(services: AttestationServices, options: StreamOptions): Promise<void> {
  return new AttestationSession(services, options).attend();
}

/** It listens by itself: an idle stream keeps every function that is made for it. */
class AttestationSession implements HostListener {
  readonly #services: AttestationServices;
  readonly #options: StreamOptions;
  readonly #inbox: Inbox;
  readonly #streamEpoch: number;
  readonly #appraiser: Appraiser;
  /** Of the hello, hex. */
  #akName = '';
  #accepted = false;
  #grace = 0;
  #host: HostRecord | RoundHost | null = null;
  #known: Known | null = null;
  #logs: readonly LogState[] = [];
  #boot: KnownBoot | null = null;
  #runtime: KnownRuntime = NO_RUNTIME;
  #fenced = 0;
  /** Takes the stream out of the line of those that are to be judged anew. */
  #leaveLine: (() => void) | null = null;

  constructor(services: AttestationServices, options: StreamOptions) {
    this.#services = services;
    this.#options = options;
    this.#appraiser = new Appraiser(services.verdictParts);
    this.#inbox = new Inbox(options.messages, services.beats);
    this.#streamEpoch = services.random(6).readUIntBE(0, 6) + 1;
  }

  /** The service begins to stop. */
  handleEvent(): void {
    this.#inbox.wake();
  }

  notice(change: Change): void {
    if (!isOutside(change)) return;
    this.#forget();
    if (change.cause !== 'input_changed') return this.#inbox.wake();
    // Its verdict has fallen already; what other hosts lost theirs with it is asked about one after another.
    this.#leaveLine?.();
    this.#leaveLine = this.#services.wakeUps.soon(() => this.#inbox.wake());
  }

  async attend(): Promise<void> {
    const { hostLimits, feed } = this.#services;
    const { caller, draining } = this.#options;
    hostLimits.openStream(caller.hostId);
    feed.onHost(caller.hostId, this);
    draining.addEventListener('abort', this);
    try {
      const hello = await this.#hello();
      for (;;) {
        if (draining.aborted) throw new AttestationError('SHUTTING_DOWN', 'the service is stopping; connect again');
        // A call of its own: a frame that waits for its next turn would hold the evidence of the last one as long.
        const pause = await this.#round(hello);
        if (pause === null || !(await this.#pause(pause))) return;
      }
    } finally {
      feed.offHost(caller.hostId, this);
      draining.removeEventListener('abort', this);
      await this.#close().finally(() => hostLimits.closeStream(caller.hostId));
    }
  }

  /** Null when the agent ended the stream. */
  async #round(hello: { boot: Hello['boot'] | null }): Promise<Pause | null> {
    this.#host ??= await this.#services.store.getHost(this.#options.caller.hostId);
    const host = this.#check(this.#host);
    if (host.state === 'pending') {
      await this.#tell({ kind: 'pending' });
      return (await this.#waitForApproval()) ? { since: 0, delay: 0 } : null;
    }
    // Whoever is asked now need not be woken for what changed before.
    this.#leaveLine?.();
    const known = this.#presentKnown() ?? (await this.#readKnown(host));
    const challenge = drawChallenge({
      host,
      applicable: known.applicable,
      logs: this.#logs,
      boot: hello.boot,
      known: this.#boot,
      runtime: this.#runtime,
      now: this.#now(),
      random: this.#services.random,
    });
    await this.#tell({ kind: 'challenge', challenge });
    const evidence = await this.#receiveEvidence();
    if (evidence === null) return null;
    // The hint is for the first challenge: from now on the quotes tell.
    hello.boot = null;
    const delay = await this.#judge(
      {
        host,
        ...known,
        challenge,
        appraiser: this.#appraiser,
        tlsKeySha256: this.#options.caller.tlsKeySha256,
        streamEpoch: this.#streamEpoch,
        boot: this.#boot,
        runtime: this.#runtime,
        logs: this.#logs,
      },
      evidence,
    );
    return { since: challenge.time, delay };
  }

  /** A lost stream shortens the validity; a service that stops does not. */
  async #close(): Promise<void> {
    this.#leaveLine?.();
    if (!this.#accepted || this.#options.draining.aborted) return;
    await this.#services.store.streamLost(this.#options.caller.hostId, this.#streamEpoch, this.#grace);
    this.#services.feed.hint();
  }

  async #hello(): Promise<{ boot: Hello['boot'] | null }> {
    const arrival = await this.#inbox.next({ timeout: HELLO_TIMEOUT, wakeable: false });
    if (arrival.kind !== 'message' || arrival.message.kind !== 'hello') {
      throw new AttestationError('HELLO_MISSING', 'the first message of a stream is a hello');
    }
    this.#akName = arrival.message.akName;
    return { boot: arrival.message.boot };
  }

  #check<Host extends HostRecord | RoundHost>(host: Host | null): Host {
    return checkHost(host, { ...this.#options.caller, akName: this.#akName, now: this.#now() });
  }

  #presentKnown(): Known | null {
    return this.#known !== null && this.#now() < (this.#known.endorsementEnds ?? Infinity) ? this.#known : null;
  }

  async #readKnown(host: HostRecord | RoundHost): Promise<Known> {
    const whole = 'eks' in host ? host : this.#check(await this.#services.store.getHost(host.id));
    const known = await readKnown(this.#services, whole);
    const logs = await this.#services.store.logStates(host.id);
    this.#logs = logs.map((state) => this.#services.verdictParts.data(state));
    this.#boot = await loadBoot(this.#services.store, this.#services.boots, host.id);
    this.#runtime = await loadRuntime(this.#services.store, host.id);
    this.#grace = quoteRequirementsOf(known.applicable).disconnectGrace;
    // Where something outside changed meanwhile, this judges the present round, which the fence ends, and no other one.
    if (this.#host !== host) return known;
    this.#known = known;
    this.#host = roundHostOf(whole, this.#services.verdictParts);
    return known;
  }

  #forget(): void {
    this.#host = null;
    this.#known = null;
    this.#services.policies.refresh();
  }

  /** Null when the agent ended the stream. */
  async #receiveEvidence(): Promise<RoundEvidence | null> {
    const deadline = this.#now() + CHALLENGE_LIFETIME;
    for (;;) {
      const arrival = await this.#dueBy(deadline);
      if (arrival.kind === 'ended') return null;
      // Also what was on its way when the deadline passed: the store's clock decides, not which of two events is seen first.
      if (arrival.kind !== 'message' || this.#now() >= deadline)
        throw new AttestationError('CHALLENGE_EXPIRED', 'the challenge was not answered in time');
      if (arrival.message.kind === 'evidence') return arrival.message.evidence;
      if (arrival.message.kind !== 'wish')
        throw new AttestationError('MESSAGE_UNEXPECTED', `evidence was due, not ${arrival.message.kind}`);
    }
  }

  /** Judges, commits, tells. Returns milliseconds until the next challenge. */
  async #judge(context: RoundContext, evidence: RoundEvidence): Promise<number> {
    const { challenge } = context;
    await this.#services.gathering.join();
    const proof = proveRound(context, evidence);
    this.#services.hostLimits.takeRound(context.host.id);
    checkAnnouncements(evidence.logs, challenge.logs);
    // Held until the round is committed: its logs are in memory so long.
    using held = this.#services.logBudget.hold([context.host.id], evidence.logs);
    const logs = evidence.logs.some(({ size }) => size > 0) ? await this.#takeLogs(evidence, held) : [];
    const outcome = await settleMoved(this.#services.runtimes, context, { proof, evidence, logs });
    const proven =
      outcome.kind === 'torn'
        ? null
        : await proveBoot(this.#services.boots, { challenge, evidence, verified: outcome.evidence, logs });
    const runtime =
      outcome.kind === 'torn'
        ? null
        : await proveRuntime(this.#services.runtimes, context, { evidence, verified: outcome.evidence, proven, logs });
    if (outcome.kind === 'torn' || runtime === null || isTornBoot(proven) || runtime.torn) {
      const quote = outcome.kind === 'torn' ? outcome.quote : outcome.evidence.quote;
      const later = isLaterBoot(context.host, quote);
      if (!later) {
        const attempt = await this.#services.store.countTorn(context.host.id, context.host.round);
        await this.#tell({ kind: 'torn', attempt });
        if (attempt < MAX_TORN) return attempt === 1 ? 0 : MIN_INTERVAL;
      }
      // Logs that do not fit to proven values three times are judged as what they are.
      if (outcome.kind === 'torn' || runtime === null || later)
        return await this.#commit(context, tornRound(context, quote), { proven: null, askAgain: false });
    }
    const round = judgeRound(context, evidence, { verified: outcome.evidence, proven, runtime });
    const renewed =
      evidence.newTlsPublicKey.length === 0
        ? null
        : await this.#services.issueClientCertificate(context.host.id, evidence.newTlsPublicKey);
    const input = withLogs(round, logs, { evidence, runtime });
    const delay = await this.#commit(context, input, { proven, askAgain: runtime.askAgain });
    if (renewed !== null && this.#fenced === 0)
      await this.#tell({ kind: 'renewal', renewal: { clientCertificate: renewed } });
    return delay;
  }

  async #commit(
    context: RoundContext,
    round: RoundInput,
    { proven, askAgain }: { readonly proven: KnownBoot | null; readonly askAgain: boolean },
  ): Promise<number> {
    const outcome: RoundOutcome = await this.#services.committer.commit(round);
    if (outcome.outcome === 'fenced') {
      this.#forget();
      this.#fenced += 1;
      return this.#fenced > MAX_FENCED ? MIN_INTERVAL : 0;
    }
    this.#fenced = 0;
    this.#accepted = true;
    // A change from outside that came while the round was written has made it forget: then the next round reads anew.
    if (this.#host !== null) this.#host = { ...this.#host, ...outcome.moved };
    const rebooted = isOtherBoot(context.host.clock, round.clock);
    // As the store keeps them: the logs of a boot stay with it, also over a resume.
    const ended = round.boot !== undefined || isReset(context.host.clock, round.clock);
    const left = rebooted ? this.#logs.filter(({ kind }) => !ended && kind !== 'ima') : this.#logs;
    this.#logs = grownLogs(left, round);
    this.#runtime = movedRuntime(this.#runtime, round.runtime);
    if (ended) this.#boot = (round.boot ?? null) === null ? null : proven;
    await this.#tell({ kind: 'result', result: outcome.result });
    const lost = !outcome.moved.banksProven || round.boot === null;
    const incomplete = lost && context.challenge.selection !== 'all';
    return incomplete || askAgain ? 0 : this.#interval(context);
  }

  #interval({ applicable }: RoundContext): number {
    const { interval } = quoteRequirementsOf(applicable);
    return Math.round(interval * (1 - (JITTER * this.#services.random(4).readUInt32BE()) / 0xffff_ffff));
  }

  async #takeLogs(evidence: RoundEvidence, held: HeldLogs): Promise<readonly LogPart[]> {
    using chunks = withinTime(() => this.#receiveChunk());
    return await collectLogs(evidence.logs, chunks.next, held);
  }

  async #receiveChunk(): Promise<LogChunk | null> {
    const arrival = await this.#dueBy(this.#now() + CHALLENGE_LIFETIME);
    if (arrival.kind === 'ended') return null;
    if (arrival.kind !== 'message') throw new AttestationError('CHALLENGE_EXPIRED', 'the logs did not arrive in time');
    if (arrival.message.kind !== 'chunk')
      throw new AttestationError('MESSAGE_UNEXPECTED', `a chunk of a log was due, not ${arrival.message.kind}`);
    return arrival.message.chunk;
  }

  /**
   * What the agent owes. A change from outside does not end the wait, for the fence decides on what was asked before it; a host
   * that was banned or deleted meanwhile, or has another key, is waited for no longer.
   */
  async #dueBy(deadline: number): Promise<Arrival> {
    for (;;) {
      const arrival = await this.#inbox.next({ timeout: deadline - this.#now(), wakeable: true });
      if (arrival.kind !== 'woken') return arrival;
      this.#check(await this.#services.store.getHost(this.#options.caller.hostId));
    }
  }

  /** False when the agent ended the stream. */
  async #waitForApproval(): Promise<boolean> {
    for (;;) {
      const arrival = await this.#inbox.next({ timeout: this.#options.caller.expires - this.#now(), wakeable: true });
      if (arrival.kind === 'ended') return false;
      if (arrival.kind === 'woken' || arrival.kind === 'timeout') {
        this.#host = null;
        return true;
      }
      if (arrival.message.kind !== 'wish')
        throw new AttestationError('MESSAGE_UNEXPECTED', `no ${arrival.message.kind} is due from a host that waits`);
    }
  }

  /** Waits for the interval, a wish or a change from outside. False when the agent ended the stream. */
  async #pause({ since, delay }: Pause): Promise<boolean> {
    this.#known?.ak.rest(delay);
    let until = Math.min(since + delay, this.#options.caller.expires);
    // The service may have begun to stop while evidence was due.
    while (this.#now() < until && !this.#options.draining.aborted) {
      const arrival = await this.#inbox.next({ timeout: until - this.#now(), wakeable: true });
      if (arrival.kind === 'ended') return false;
      if (arrival.kind === 'woken' || arrival.kind === 'timeout') return true;
      if (arrival.message.kind !== 'wish')
        throw new AttestationError('MESSAGE_UNEXPECTED', `no ${arrival.message.kind} is due before a challenge`);
      until = Math.min(until, since + MIN_INTERVAL);
    }
    return true;
  }

  #tell(message: ServiceMessage): Promise<void> {
    return this.#options.send(message);
  }

  #now(): number {
    return this.#services.store.now();
  }
}
