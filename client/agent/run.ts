import { RpcError } from '../../proto/rpc-error.ts';
import { Backoff } from '../sdk/backoff.ts';
import type { AttestationResult } from '../sdk/resources.ts';
import { adviceFor } from './advice.ts';
import { attest } from './attest.ts';
import type { Attester, StreamEnd, StreamEvents } from './attest.ts';
import { collectFacts, collectLogs } from './collect.ts';
import { enrollHost, isEnrolled, issuedIdentities } from './enroll-host.ts';
import { Gauge } from './gauge.ts';
import { makeRenewer, promoteRenewal } from './renew.ts';
import type { TlsIdentity } from './state-document.ts';
import { tlsKeySha256 } from './tls-key.ts';
import { TpmSession } from './tpm-session.ts';
import type { ReadyTpm } from './tpm-session.ts';
import { DEFAULT_WISH_PAUSE_MS, MeasurementWatch } from './watch.ts';
import type { World } from './world.ts';

/** How one try ended that did not fail. */
type TryEnd = StreamEnd | 'replacement_pending' | 'unauthenticated';

export interface AgentOptions {
  /** Between two wishes for a challenge after new measurements, at least, milliseconds; without it 5 s. */
  readonly wishPause?: number | 'off';
}

/**
 * Attests the host until the signal aborts: enrols where that is due, holds one stream, and comes back after whatever happens
 * to the service, the network or the TPM.
 * @throws AgentError `state_absent`; an error that no other try can change
 */
export async function runAgent(world: World, signal: AbortSignal, options: AgentOptions = {}): Promise<void> {
  const agent = new Agent(world, options.wishPause ?? DEFAULT_WISH_PAUSE_MS);
  const { server } = world.state.joined;
  world.log.info({ event: 'started', server }, `attesting to ${server}`);
  world.notifier.ready();
  try {
    while (!signal.aborted) {
      const waitMillis = await agent.tryOnce(signal);
      if (!signal.aborted && waitMillis > 0) await world.sleep(waitMillis, signal);
    }
  } finally {
    world.notifier.stopping();
    await agent.close();
  }
}

class Agent {
  readonly #world: World;
  readonly #tpm: TpmSession;
  readonly #backoff: Backoff;
  readonly #watch: MeasurementWatch | undefined;
  #enrollAnew = false;
  #renewed: Date | undefined;
  #lastStatus: string | undefined;

  constructor(world: World, wishPause: number | 'off') {
    this.#world = world;
    this.#tpm = new TpmSession(world);
    this.#backoff = new Backoff(world.random);
    if (wishPause !== 'off') {
      const gauge = new Gauge(world, world.state.joined.logs);
      this.#watch = new MeasurementWatch(gauge, { sleep: world.sleep, pauseMillis: wishPause });
    }
  }

  close(): Promise<void> {
    return this.#tpm.close();
  }

  /** One try from wherever the agent stands. Answers how long to wait before the next. */
  async tryOnce(signal: AbortSignal): Promise<number> {
    try {
      return this.#afterEnd(await this.#attempt(signal));
    } catch (error) {
      if (signal.aborted) return 0;
      return await this.#afterFailure(error);
    }
  }

  async #attempt(signal: AbortSignal): Promise<TryEnd> {
    const ready = await this.#tpm.ready();
    if (this.#enrollAnew || !isEnrolled(this.#world.state.joined, ready)) {
      const { hostId, state, replacementPending } = await enrollHost(this.#world, ready, signal);
      if (replacementPending) return 'replacement_pending';
      this.#enrollAnew = false;
      this.#world.log.info({ event: 'enrolled', host: hostId, state }, `enrolled as ${hostId} (${state})`);
    }
    for (const identity of issuedIdentities(this.#world)) {
      try {
        return await this.#stream(ready, identity, signal);
      } catch (error) {
        if (!(error instanceof RpcError) || error.code !== 'UNAUTHENTICATED') throw error;
        this.#world.log.warn(
          { event: 'unauthenticated', reason: error.reason },
          `the service refuses a certificate: ${error.message}`,
        );
      }
    }
    return 'unauthenticated';
  }

  async #stream(ready: ReadyTpm, identity: TlsIdentity, signal: AbortSignal): Promise<StreamEnd> {
    const { server, authority, enrolled, logs } = this.#world.state.joined;
    if (enrolled === undefined) throw new TypeError('a host that is not enrolled has no identity');
    const attester: Attester = {
      tpm: ready.tpm,
      ak: ready.ak,
      hostId: enrolled.hostId,
      tlsKeySha256: tlsKeySha256(identity.privateKey),
      agentVersion: this.#world.agentVersion,
      collectFacts: () => collectFacts(this.#world.read, this.#world.agentVersion),
      collectLogs: (requests) => collectLogs(this.#world.read, logs, requests),
      renewer: makeRenewer(this.#world.state, { ...this.#world, renewed: this.#renewed }),
      watch: this.#watch,
    };
    const connection = this.#world.connect({ server, authority, identity });
    try {
      return await attest(attester, connection.attestation, { events: this.#events(identity), signal });
    } finally {
      connection.close();
    }
  }

  #events(identity: TlsIdentity): StreamEvents {
    const { log, notifier, state } = this.#world;
    return {
      accepted: async () => {
        if (state.joined.renewal?.privateKey === identity.privateKey) await promoteRenewal(state);
        log.debug({ event: 'connected' }, 'the service took the connection');
      },
      result: (result) => this.#tellResult(result),
      pending: (message) => {
        this.#backoff.reset();
        notifier.status('waiting for an operator to approve this host');
        log.info({ event: 'pending', message }, `the host waits for approval: ${message}`);
      },
      torn: (reason, attempt) => {
        log.info({ event: 'torn', reason, attempt }, 'PCRs moved while evidence was made; another challenge follows');
      },
      wished: (logs) => {
        log.debug({ event: 'wished', logs }, 'something new was measured; the service is asked for a challenge');
      },
    };
  }

  #tellResult(result: AttestationResult): void {
    this.#backoff.reset();
    const { log, notifier } = this.#world;
    const { status, revision, validUntil, trustPolicy } = result;
    const fields = {
      event: 'result',
      status,
      revision: revision.toString(),
      policy: trustPolicy,
      validUntil: validUntil?.toISOString(),
    };
    notifier.status(`${status}${validUntil === undefined ? '' : ` until ${validUntil.toISOString()}`}`);
    const changed = status !== this.#lastStatus;
    this.#lastStatus = status;
    if (changed) log.info(fields, `the service's verdict is ${status}`);
    else log.debug(fields, `the verdict ${status} was confirmed`);
  }

  #afterEnd(end: TryEnd): number {
    const { log, notifier } = this.#world;
    switch (end) {
      case 'renewed':
        this.#renewed = this.#world.now();
        log.info({ event: 'renewed' }, 'the client certificate was renewed; coming back under the new key');
        return 0;
      case 'ended':
        return this.#retry('ended', 'the service ended the stream', this.#backoff.next());
      case 'replacement_pending':
        notifier.status('waiting for an operator to approve the new attestation key');
        return this.#retry('replacement_pending', 'the new attestation key waits for approval', this.#backoff.next());
      case 'unauthenticated':
        this.#enrollAnew = true;
        return this.#retry(
          'unauthenticated',
          'no valid client certificate is left: enrolling anew',
          this.#backoff.next(),
        );
    }
  }

  async #afterFailure(error: unknown): Promise<number> {
    const advice = adviceFor(error);
    if (advice.act === 'give_up') throw error;
    if (advice.act === 'reopen_tpm') await this.#tpm.close();
    if (advice.act === 'enroll_anew') this.#enrollAnew = true;
    const wait = Math.max(
      this.#backoff.next(advice.retryDelayMillis),
      advice.leastWaitMillis * (1 + this.#world.random() / 5),
    );
    this.#world.notifier.status(advice.sentence);
    return this.#retry(advice.event, advice.sentence, wait);
  }

  #retry(event: string, sentence: string, waitMillis: number): number {
    const wait = Math.round(waitMillis);
    this.#world.log.warn({ event, retryMillis: wait }, `${sentence}; next try in ${Math.ceil(wait / 1000)} s`);
    return wait;
  }
}
