/** `assayd` in a directory of its own, on a port that stays, started and killed as often as a test likes. */
import { copyFileSync, existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { makeTlsKey, publicKeyDer } from '../../client/agent/tls-key.ts';
import { connect } from '../../client/sdk/client.ts';
import type { AssayClient } from '../../client/sdk/client.ts';
import { parseProfile } from '../../client/sdk/profile.ts';
import type { Profile } from '../../client/sdk/profile.ts';
import { freePort } from '../support/programs.ts';
import { Child } from './child.ts';
import { formatCrash } from './plan.ts';
import type { Crash } from './plan.ts';

const MAIN = 'server/main.ts';
const CRASH_POINTS = join(import.meta.dirname, 'crash-points.ts');

export interface StartOptions {
  readonly crash?: Crash;
  /** Loaded into the process ahead of its own code. */
  readonly preload?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** User and group that it runs as. */
  readonly as?: number;
}

export class CrashingService implements AsyncDisposable {
  readonly directory: string;
  readonly port: number;
  /** What agents pin. */
  pin = '';
  #child: Child | undefined;

  private constructor(directory: string, port: number) {
    this.directory = directory;
    this.port = port;
  }

  /** A configuration and nothing else. */
  static async make(configuration: readonly string[] = []): Promise<CrashingService> {
    const service = new CrashingService(await mkdtemp(join(tmpdir(), 'assay-crash-')), await freePort());
    const lines = [
      `listen: 127.0.0.1:${service.port}`,
      `data_directory: ${service.data}`,
      // Watchers and operators who lose their connections together come back together, and all from one address.
      'max_connections_per_address: 20000',
      ...configuration,
      '',
    ];
    await writeFile(service.configuration, lines.join('\n'));
    return service;
  }

  /** The same after `assayd init`. */
  static async init(configuration: readonly string[] = []): Promise<CrashingService> {
    const service = await CrashingService.make(configuration);
    const init = await service.run(['init']);
    service.pin = /sha256:[0-9a-f]{64}/.exec(init.output)?.[0] ?? '';
    if (init.end.code !== 0) throw new Error(`assayd init failed: ${init.output}`);
    return service;
  }

  get data(): string {
    return join(this.directory, 'data');
  }

  get configuration(): string {
    return join(this.directory, 'assayd.yaml');
  }

  get profile(): string {
    return join(this.data, 'operator.json');
  }

  get server(): string {
    return `localhost:${this.port}`;
  }

  /** The process that was started last. */
  get child(): Child {
    if (this.#child === undefined) throw new Error('the service was never started');
    return this.#child;
  }

  /** A command to its end. */
  async run(command: readonly [string, ...string[]], options: StartOptions = {}): Promise<Child> {
    const child = this.#start(command, options);
    await child.goneWithin(60_000);
    return child;
  }

  /** `assayd serve`; false where it ended before it listened. */
  async serve(options: StartOptions = {}): Promise<boolean> {
    this.#child = this.#start(['serve'], options);
    return this.#child.says('"serving"');
  }

  /** The operator, or whoever has the profile. */
  async client(profile?: Profile): Promise<AssayClient> {
    const caller = profile ?? parseProfile(await readFile(this.profile, 'utf8'));
    return connect({ ...caller, now: () => new Date(), random: Math.random });
  }

  /** A client of the service once it listens. */
  async clientWhenUp(profile?: Profile): Promise<AssayClient> {
    while (!this.#listens()) await delay(20);
    return this.client(profile);
  }

  /** Somebody who sees the hosts with these labels alone. */
  async issueReader(name: string, matchLabels: Readonly<Record<string, string>>): Promise<Profile> {
    const client = await this.clientWhenUp();
    const key = makeTlsKey();
    const request = { roles: ['RELYING_PARTY'] as const, publicKey: publicKeyDer(key), scope: { matchLabels } };
    const { certificate, authority } = await client.identities.issue(name, request);
    client.close();
    return { server: this.server, authority, certificate, key };
  }

  /** The store as a dead process has left it, to be looked at without repairing it. */
  async copyStore(): Promise<string> {
    const copy = await mkdtemp(join(this.directory, 'copy-'));
    for (const name of ['assay.db', 'assay.db-wal']) {
      if (existsSync(join(this.data, name))) copyFileSync(join(this.data, name), join(copy, name));
    }
    return copy;
  }

  async removeCopy(copy: string): Promise<void> {
    await rm(copy, { recursive: true, force: true });
  }

  /** Kills the process that was started last, where it runs. */
  async stop(): Promise<void> {
    await this.#child?.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.directory, { recursive: true, force: true });
  }

  #listens(): boolean {
    return this.#child !== undefined && !this.#child.gone && this.#child.output.includes('"serving"');
  }

  #start([command, ...rest]: readonly [string, ...string[]], options: StartOptions): Child {
    const preload = [...(options.crash === undefined ? [] : [CRASH_POINTS]), ...(options.preload ?? [])];
    const args = [...preload.flatMap((file) => ['--import', file]), MAIN, command, '--config', this.configuration];
    const env = {
      NODE_COMPILE_CACHE: join(this.directory, 'compiled'),
      ...options.env,
      ...(options.crash === undefined ? {} : { ASSAY_CRASH: formatCrash(options.crash) }),
    };
    return new Child([...args, ...rest], { env, ...(options.as === undefined ? {} : { as: options.as }) });
  }
}
