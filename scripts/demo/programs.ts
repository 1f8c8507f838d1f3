import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

import { connect } from '../../client/sdk/client.ts';
import type { AssayClient } from '../../client/sdk/client.ts';
import { parseProfile } from '../../client/sdk/profile.ts';
import type { AttestationResult, Host } from '../../client/sdk/resources.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const READY_WITHIN = 20_000;
const KEPT_LINES = 12;

export interface Service {
  /** HOST:PORT */
  readonly server: string;
  readonly fingerprint: string;
}

interface ServiceOptions {
  /** By which it is reached; the first is for the operator. */
  readonly names?: readonly string[];
  /** Further lines of its configuration. */
  readonly configuration?: string;
}

/** The real programs of this checkout, as a person would start them. */
export class Programs {
  readonly directory: string;
  readonly profile: string;
  readonly agentState: string;
  readonly policyFile: string;
  readonly #children: ChildProcess[] = [];
  readonly #lines: string[] = [];
  #client: AssayClient | null = null;

  constructor(directory: string) {
    this.directory = directory;
    this.profile = join(directory, 'data', 'operator.json');
    this.agentState = join(directory, 'agent');
    this.policyFile = join(directory, 'approved-boot.yaml');
  }

  async startService({ names, configuration = '' }: ServiceOptions = {}): Promise<Service> {
    const port = await freePort();
    const config = join(this.directory, 'assayd.yaml');
    const made = await this.#run([
      'server/main.ts',
      'init',
      '-c',
      config,
      '--data',
      join(this.directory, 'data'),
      '--listen',
      `127.0.0.1:${port}`,
      ...(names === undefined ? [] : ['--name', ...names]),
    ]);
    const fingerprint = /sha256:[0-9a-f]{64}/.exec(made)?.[0];
    if (fingerprint === undefined) throw new Error('assayd init printed no fingerprint');
    await appendFile(config, configuration);
    await this.#start(['server/main.ts', 'serve', '-c', config], '"msg":"serving"');
    return { server: `localhost:${port}`, fingerprint };
  }

  async startAgent(): Promise<void> {
    await this.#start(['client/main.ts', 'agent', 'run', '--state', this.agentState], 'attesting to');
  }

  /** Runs `assay` as the operator; what it printed. `code` is the exit code that is right here. */
  assay(args: readonly string[], code = 0): Promise<string> {
    return this.#run(['client/main.ts', ...args], code);
  }

  async hosts(): Promise<readonly Host[]> {
    const client = await this.client();
    const hosts: Host[] = [];
    for await (const host of client.hosts.list()) hosts.push(host);
    return hosts;
  }

  /** Watches until the host has a status; its result then. */
  untilStatus(host: string, status: AttestationResult['status'], stopped: AbortSignal): Promise<AttestationResult> {
    return this.#until(host, { name: status, holds: (result) => result.status === status }, stopped);
  }

  /** Watches until a check says this of the host, such as `FILE_UNKNOWN` with `3: ` where that is observed; its result then. */
  untilReason(host: string, reason: string, stopped: AbortSignal, observed = ''): Promise<AttestationResult> {
    const says = ({ checks }: AttestationResult): boolean =>
      checks.some((check) => check.reason === reason && check.observed.startsWith(observed));
    return this.#until(host, { name: reason, holds: says }, stopped);
  }

  async #until(
    host: string,
    wanted: { readonly name: string; readonly holds: (result: AttestationResult) => boolean },
    stopped: AbortSignal,
  ): Promise<AttestationResult> {
    const client = await this.client();
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(READY_WITHIN)]);
    for await (const notice of client.results.watch({ hosts: [host] }, { signal })) {
      if (notice.kind === 'change' && wanted.holds(notice.result)) return notice.result;
    }
    throw new Error(`the verdict was not ${wanted.name} within ${READY_WITHIN / 1000} s`);
  }

  async client(): Promise<AssayClient> {
    if (this.#client === null) {
      const profile = parseProfile(await readFile(this.profile, 'utf8'));
      this.#client = connect({ ...profile, now: () => new Date(), random: Math.random });
    }
    return this.#client;
  }

  /** The last lines of the programs, for when something went wrong. */
  lastLines(): readonly string[] {
    return this.#lines;
  }

  /** The agent first, so that it says goodbye to a service that still listens. */
  async stop(): Promise<void> {
    this.#client?.close();
    for (const child of this.#children.toReversed()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      // Not referenced: what is left of the time must not hold up the end of this process.
      await Promise.race([exited, delay(8_000, undefined, { ref: false }).then(() => child.kill('SIGKILL'))]);
    }
  }

  async #start(args: readonly string[], ready: string): Promise<void> {
    const child = this.#spawn(args);
    this.#children.push(child);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (child.stderr === null) throw new TypeError('the program has no standard error');
    createInterface({ input: child.stderr }).on('line', (line) => {
      this.#keep(line);
      if (line.includes(ready)) resolve();
    });
    child.once('exit', (code) => reject(new Error(`${args.join(' ')} ended with exit code ${code}`)));
    const timer = setTimeout(() => reject(new Error(`${args.join(' ')} was not ready in time`)), READY_WITHIN);
    await promise;
    clearTimeout(timer);
  }

  async #run(args: readonly string[], right = 0): Promise<string> {
    const child = this.#spawn(args);
    let out = '';
    child.stdout?.on('data', (data: Buffer) => (out += data.toString('utf8')));
    child.stderr?.on('data', (data: Buffer) => this.#keep(data.toString('utf8').trimEnd()));
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== right) throw new Error(`${args.join(' ')} ended with exit code ${code}`);
    return out;
  }

  #spawn(args: readonly string[]): ChildProcess {
    const env = { ...process.env, ASSAY_PROFILE: this.profile };
    return spawn(process.execPath, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
  }

  #keep(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > KEPT_LINES) this.#lines.shift();
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
