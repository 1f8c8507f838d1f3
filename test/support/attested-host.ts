/** A machine with a TPM and an agent. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Tpm } from '../../tpm/device/tpm.ts';
import { TPM_ALG_SHA256 } from '../../tpm/structures/constants.ts';
import type { Deployment } from './deployment.ts';
import { run, start } from './programs.ts';
import type { Ended, ProgramOptions, RunningProgram } from './programs.ts';
import { startSwtpm } from './swtpm.ts';
import type { Swtpm, SwtpmOptions } from './swtpm.ts';

/** A file that is not there. */
const NO_LOG = '/nonexistent/log';

export class AttestedHost implements AsyncDisposable {
  /** The agent's state directory. */
  readonly state: string;
  readonly #directory: string;
  #tpm: Swtpm;
  #agent: RunningProgram | undefined;
  #id = '';

  private constructor(directory: string, tpm: Swtpm) {
    this.#directory = directory;
    this.state = join(directory, 'agent');
    this.#tpm = tpm;
  }

  /** A host with a new TPM; nobody knows it yet. */
  static async start(options?: SwtpmOptions): Promise<AttestedHost> {
    const tpm = await startSwtpm(options);
    return new AttestedHost(await mkdtemp(join(tmpdir(), 'assay-host-')), tpm);
  }

  /** A host whose TPM the service trusts, that has joined; its agent does not run yet. */
  static async enrolled(deployment: Deployment, options?: SwtpmOptions): Promise<AttestedHost> {
    const host = await AttestedHost.start(options);
    try {
      await deployment.trust(host.tpm.caCertificates);
      const { code, stderr } = await host.join(deployment);
      if (code !== 0) throw new Error(`the host did not join: ${stderr}`);
      return host;
    } catch (error) {
      await host[Symbol.asyncDispose]();
      throw error;
    }
  }

  get tpm(): Swtpm {
    return this.#tpm;
  }

  /** `h-…`, once it has joined. */
  get id(): string {
    return this.#id;
  }

  get agent(): RunningProgram {
    if (this.#agent === undefined) throw new Error('the agent is not running');
    return this.#agent;
  }

  async join(deployment: Deployment, ...options: readonly string[]): Promise<Ended> {
    const { server, fingerprint } = deployment;
    const ended = await run('assay', [
      ...['agent', 'join', '--server', server, '--service-fingerprint', fingerprint],
      // A software TPM has not measured the boot of this machine.
      ...['--state', this.state, '--tcti', this.#tpm.tcti, '--boot-log', NO_LOG, '--userspace-log', NO_LOG, ...options],
    ]);
    this.#id = /h-[a-z2-7]{26}/.exec(ended.stdout)?.[0] ?? this.#id;
    return ended;
  }

  runAgent(options?: ProgramOptions): RunningProgram {
    this.#agent = start('assay', ['agent', 'run', '--state', this.state], options);
    return this.#agent;
  }

  async stopAgent(signal?: 'SIGTERM' | 'SIGKILL'): Promise<Ended> {
    const ended = await this.agent.stop(signal);
    this.#agent = undefined;
    return ended;
  }

  /** Something is measured into PCR 16 that the policy does not know. */
  async tamper(): Promise<void> {
    await using tpm = await Tpm.open({ tcti: this.#tpm.tcti });
    await tpm.pcrExtend(16, [{ hash: TPM_ALG_SHA256, digest: Buffer.alloc(32, 0x11) }]);
  }

  /** Edits the agent's state document, as a disk that lost something would. */
  async editState(edit: (state: Record<string, unknown>) => void): Promise<void> {
    const path = join(this.state, 'state.json');
    const state = JSON.parse(await readFile(path, 'utf8')) as Record<string, unknown>;
    edit(state);
    await writeFile(path, JSON.stringify(state));
  }

  /** Another TPM takes the place of the present one; the agent's state names it from then on. */
  async replaceTpm(): Promise<void> {
    const former = this.#tpm;
    this.#tpm = await startSwtpm();
    await former.stop();
    await this.editState((state) => (state['tcti'] = this.#tpm.tcti));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent?.[Symbol.asyncDispose]();
    await this.#tpm.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
