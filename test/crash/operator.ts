/** An operator who does one thing after the other, keeps a journal of it, and never does twice what he does not know the end of. */
import { RpcError } from '../../proto/rpc-error.ts';
import type { AssayClient } from '../../client/sdk/client.ts';
import type { Host, JsonObject } from '../../client/sdk/resources.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import type { Deed } from './model/check-deeds.ts';
import { toldResult } from './tellings.ts';
import type { ToldResult } from './tellings.ts';

const POLICY = 'trustPolicies/base';
/** What the service says of a deed that it did not do. Anything else leaves open whether it did. */
const REFUSALS: ReadonlySet<string> = new Set(['NOT_FOUND', 'FAILED_PRECONDITION', 'ABORTED', 'ALREADY_EXISTS']);
/** A service that dies says one of these; the rest would be a fault of its own. */
const CUT_OFF: ReadonlySet<string> = new Set(['UNAVAILABLE', 'CANCELLED', 'DEADLINE_EXCEEDED']);
const TIMEOUT = 10_000;

export interface OperatorOptions {
  readonly random: SeededRandom;
  /** Host ids of the machines. */
  readonly hostIds: readonly string[];
  /** A client of a service that listens, once there is one. */
  readonly connect: () => Promise<AssayClient>;
}

export class Operator {
  readonly deeds: Deed[] = [];
  readonly told: ToldResult[] = [];
  /** What no crash explains. */
  readonly faults: string[] = [];
  readonly #options: OperatorOptions;
  #client: AssayClient | undefined;
  #mark = 0;

  constructor(options: OperatorOptions) {
    this.#options = options;
  }

  close(): void {
    this.#client?.close();
    this.#client = undefined;
  }

  /** One deed at random, or a look. */
  async act(): Promise<void> {
    const { random, hostIds } = this.#options;
    // A service that has just started may not have written yet what ran out while it was away.
    if (this.#client === undefined) for (const each of hostIds) await this.look(each);
    const hostId = random.pick(hostIds);
    const choice = random.below(20);
    if (choice < 4) return this.applyPolicy({ denies: random.below(6) === 0, validity: 2 + random.below(4) });
    if (choice < 7) return void (await this.look(hostId));
    const host = await this.find(hostId);
    if (host === undefined) return;
    if (choice < 13) return this.label(hostId, random.pick(['a', 'b']));
    if (host.state === 'REVOKED') return this.delete(hostId);
    if (choice < 18) return this.approve(host);
    if (choice < 19) return this.revoke(hostId);
    return this.delete(hostId);
  }

  /** A policy that wants PCR 16 as it is after a reset, or one that no machine satisfies. Validity in seconds. */
  applyPolicy({ denies, validity }: { readonly denies: boolean; readonly validity: number }): Promise<void> {
    const mark = this.#nextMark();
    const policy: JsonObject = {
      name: POLICY,
      description: mark,
      selector: { allHosts: true },
      quote: { interval: '1s', validity: `${validity}s`, disconnectGrace: '1s', allowUnendorsed: true },
      // The hosts must show what they run, and whatever they run is right.
      runtime: { list: {} },
      pcrRules: [{ bank: 'sha256', index: 16, allowed: [denies ? 'ff'.repeat(32) : '00'.repeat(32)] }],
    };
    return this.#do({ action: 'policy', target: POLICY, mark }, (client) => client.policies.apply(policy));
  }

  label(hostId: string, zone: string): Promise<void> {
    const mark = this.#nextMark();
    const labels = { zone, mark };
    return this.#do({ action: 'host.update', target: `hosts/${hostId}`, mark }, (client) =>
      client.hosts.update(hostId, { labels }, { timeoutMillis: TIMEOUT }),
    );
  }

  /** Lets in what waits, and acknowledges an AK that was replaced. */
  async approve({ name, etag, state, pendingAkName, findings }: Host): Promise<void> {
    const replaced = findings.includes('AK_REPLACED');
    if (state !== 'PENDING' && pendingAkName === '' && !replaced) return;
    await this.#do({ action: 'host.approve', target: name, mark: '' }, (client) =>
      client.hosts.approve(name, { etag, acknowledgeFindings: replaced }, { timeoutMillis: TIMEOUT }),
    );
  }

  revoke(hostId: string): Promise<void> {
    const mark = this.#nextMark();
    return this.#do({ action: 'host.revoke', target: `hosts/${hostId}`, mark }, (client) =>
      client.hosts.revoke(hostId, mark, { timeoutMillis: TIMEOUT }),
    );
  }

  delete(hostId: string): Promise<void> {
    return this.#do({ action: 'host.delete', target: `hosts/${hostId}`, mark: '' }, (client) =>
      client.hosts.delete(hostId, { timeoutMillis: TIMEOUT }),
    );
  }

  /** The host as it is; undefined where there is none, or no answer. */
  find(hostId: string): Promise<Host | undefined> {
    return this.#ask((client) => client.hosts.get(hostId, { timeoutMillis: TIMEOUT }));
  }

  /** Reads a result; what it says is held against the history later. */
  async look(hostId: string): Promise<ToldResult | undefined> {
    const askedAt = Date.now();
    const result = await this.#ask((client) => client.results.get(hostId, { timeoutMillis: TIMEOUT }));
    if (result === undefined) return undefined;
    const told = toldResult(result, { to: 'operator', askedAt, heardAt: Date.now() });
    this.told.push(told);
    return told;
  }

  /** PCR 10 of the sha256 bank as far as the list of a host is proven, hex. */
  async measured(hostId: string): Promise<string | undefined> {
    const report = await this.#ask((client) => client.results.runtime(hostId, { timeoutMillis: TIMEOUT }));
    return report?.checkpoint?.pcrs.find(({ bank, index }) => bank === 'sha256' && index === 10)?.value;
  }

  #nextMark(): string {
    this.#mark += 1;
    return `mark-${this.#mark}`;
  }

  async #do(deed: Omit<Deed, 'outcome'>, call: (client: AssayClient) => Promise<unknown>): Promise<void> {
    const client = await this.#connected();
    try {
      await call(client);
      this.deeds.push({ ...deed, outcome: 'acknowledged' });
    } catch (error) {
      const refused = error instanceof RpcError && REFUSALS.has(error.code);
      this.deeds.push({ ...deed, outcome: refused ? 'refused' : 'unknown' });
      if (!refused) this.#lost(error, `${deed.action} of ${deed.target}`);
    }
  }

  async #ask<T>(call: (client: AssayClient) => Promise<T>): Promise<T | undefined> {
    const client = await this.#connected();
    try {
      return await call(client);
    } catch (error) {
      if (!(error instanceof RpcError) || error.code !== 'NOT_FOUND') this.#lost(error, 'a look');
      return undefined;
    }
  }

  /** The connection is not used again: a new one finds a new service sooner than one that pauses between tries. */
  #lost(error: unknown, what: string): void {
    if (!(error instanceof RpcError) || !CUT_OFF.has(error.code)) this.faults.push(`${what} ended ${String(error)}`);
    this.close();
  }

  async #connected(): Promise<AssayClient> {
    this.#client ??= await this.#options.connect();
    return this.#client;
  }
}
