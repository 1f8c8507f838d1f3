/** A service that runs, with the operator who uses it, and hosts with a TPM and an agent each. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { connect } from '../../client/sdk/client.ts';
import type { AssayClient } from '../../client/sdk/client.ts';
import { parseProfile } from '../../client/sdk/profile.ts';
import type { AttestationResult, JsonObject, Selection } from '../../client/sdk/resources.ts';
import { RpcError } from '../../proto/rpc-error.ts';
import { eventually, freePort, run, start } from './programs.ts';
import type { Ended, RunningProgram } from './programs.ts';

export interface DeploymentOptions {
  /** Default `certificate`. */
  readonly admission?: readonly string[];
  /** Further lines of the configuration file. */
  readonly configuration?: readonly string[];
}

/** `assayd` in a temporary directory of its own, on a port that stays the same over restarts. */
export class Deployment implements AsyncDisposable {
  readonly directory: string;
  readonly port: number;
  /** What agents pin. */
  readonly fingerprint: string;
  #service: RunningProgram | undefined;
  #operator: AssayClient | undefined;

  private constructor(directory: string, port: number, fingerprint: string) {
    this.directory = directory;
    this.port = port;
    this.fingerprint = fingerprint;
  }

  /** `assayd init`, and `assayd serve` until it listens. */
  static async start(options: DeploymentOptions = {}): Promise<Deployment> {
    const directory = await mkdtemp(join(tmpdir(), 'assay-service-'));
    const port = await freePort();
    const file = join(directory, 'assayd.yaml');
    await writeFile(
      file,
      [
        `listen: 127.0.0.1:${port}`,
        `data_directory: ${join(directory, 'data')}`,
        `admission: [${(options.admission ?? ['certificate']).join(', ')}]`,
        ...(options.configuration ?? []),
        '',
      ].join('\n'),
    );
    const init = await run('assayd', ['init', '--config', file]);
    const fingerprint = /sha256:[0-9a-f]{64}/.exec(init.stdout)?.[0];
    if (init.code !== 0 || fingerprint === undefined) throw new Error(`assayd init failed: ${init.stderr}`);
    const deployment = new Deployment(directory, port, fingerprint);
    try {
      await deployment.serve();
      return deployment;
    } catch (error) {
      await deployment[Symbol.asyncDispose]();
      throw error;
    }
  }

  get server(): string {
    return `localhost:${this.port}`;
  }

  get configuration(): string {
    return join(this.directory, 'assayd.yaml');
  }

  /** The operator's profile that `assayd init` wrote. */
  get profile(): string {
    return join(this.directory, 'data', 'operator.json');
  }

  get service(): RunningProgram {
    if (this.#service === undefined) throw new Error('the service is not running');
    return this.#service;
  }

  /** The operator, by the SDK. */
  get operator(): AssayClient {
    if (this.#operator === undefined) throw new Error('the service is not running');
    return this.#operator;
  }

  async serve(): Promise<void> {
    this.#service = start('assayd', ['serve', '--config', this.configuration]);
    await this.#service.logged(({ msg }) => msg === 'serving', 'a service that listens');
    this.#operator = await this.connectAs(this.profile);
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<Ended> {
    this.#operator?.close();
    const ended = await this.service.stop(signal);
    this.#service = undefined;
    return ended;
  }

  async connectAs(profile: string): Promise<AssayClient> {
    const text = await readFile(profile, 'utf8');
    return connect({ ...parseProfile(text), now: () => new Date(), random: Math.random });
  }

  /** An operator's command. */
  assay(...args: readonly string[]): Promise<Ended> {
    return run('assay', args, { env: { ASSAY_PROFILE: this.profile } });
  }

  /** A file in the deployment's directory; answers its path. */
  async file(name: string, content: string): Promise<string> {
    const path = join(this.directory, name);
    await writeFile(path, content);
    return path;
  }

  async trust(authorities: readonly { readonly pem: string }[]): Promise<void> {
    for (const { pem } of authorities) await this.operator.endorsements.importAnchors(Buffer.from(pem));
  }

  /** Waits until the present result of a host is as wanted. */
  async result(host: string, what: string, wanted: (result: AttestationResult) => boolean): Promise<AttestationResult> {
    let last: AttestationResult | undefined;
    return eventually(
      what,
      async () => {
        last = await this.operator.results.get(host);
        return wanted(last) ? last : undefined;
      },
      () => JSON.stringify(last?.json, undefined, 1),
    );
  }

  /** Waits until placement knows that these hosts are selectable: its index is a moment behind. */
  async selectable(hosts: readonly string[]): Promise<void> {
    await eventually('selectable hosts', async () => {
      const { hosts: selected } = await this.operator.placement.select({}, { count: 100 }).catch(noneWhileStale);
      return hosts.every((id) => selected.some(({ host }) => host === `hosts/${id}`)) ? true : undefined;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#operator?.close();
    await this.#service?.[Symbol.asyncDispose]();
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** An index that is older than a second, as it may be where the machine is busy, selects nobody: whoever asks comes again. */
export function noneWhileStale(error: unknown): Pick<Selection, 'hosts' | 'refused'> {
  if (error instanceof RpcError && error.reason === 'PLACEMENT_INDEX_STALE') return { hosts: [], refused: [] };
  throw error;
}

/** A policy that lets PCR 16, which is zero from a reset on, hold nothing but that; asked for every second. */
export function policy(id: string, settings: JsonObject = {}): JsonObject {
  return {
    name: `trustPolicies/${id}`,
    selector: { allHosts: true },
    quote: { interval: '1s', validity: '30s' },
    pcrRules: [{ bank: 'sha256', index: 16, allowed: ['00'.repeat(32)] }],
    ...settings,
  };
}

/** Reason codes of the checks that did not pass. */
export function reasons({ checks }: AttestationResult): readonly string[] {
  return checks.filter(({ outcome }) => outcome !== 'PASSED').map(({ reason }) => reason);
}
