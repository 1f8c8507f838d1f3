import { posix } from 'node:path';

import { CommanderError } from 'commander';
import type { Command } from 'commander';
import { DEFAULT_LOG_PATHS } from '../../../client/agent/collect.ts';
import { makeTlsKey, publicKeyDer } from '../../../client/agent/tls-key.ts';
import type { Context, JoinOptions } from '../../../client/commands/context.ts';
import { makeProgram } from '../../../client/commands/program.ts';
import { describeFailure } from '../../../client/failure.ts';
import type { AssayClient } from '../../../client/sdk/client.ts';
import { formatProfile } from '../../../client/sdk/profile.ts';
import { makeTestAuthority } from '../../support/tls.ts';
import type { TestAuthority } from '../../support/tls.ts';

/** A shell in which `assay` runs: without files, network or TPM; what it prints is kept. */
export class Shell {
  out = '';
  err = '';
  exitCode = 0;
  readonly files = new Map<string, string>();
  readonly binaries = new Map<string, Buffer>();
  /** Codes of the system by the path that it refuses to have written. */
  readonly refused = new Map<string, string>();
  readonly joined: JoinOptions[] = [];
  readonly ran: { readonly state: string; readonly wishPause: number | 'off' }[] = [];
  /** Present time. */
  time = new Date();
  /** Addresses of key sets that were fetched; what answers stands in {@link files} under the address. */
  readonly fetched: string[] = [];
  /** The parts of the client that a test needs. */
  client: { [Part in keyof AssayClient]?: unknown } = {};
  readonly authority: TestAuthority;

  private constructor(authority: TestAuthority) {
    this.authority = authority;
  }

  /** With an operator's profile at `/profile`, which is the default. */
  static async open(): Promise<Shell> {
    const authority = await makeTestAuthority();
    const shell = new Shell(authority);
    const identity = { kind: 'identity', deployment: 'd-aaaaaaaaaaaaaaaa', name: 'admin' } as const;
    const { certificate, privateKey } = await authority.issue({ profile: 'client', identity });
    const profile = { server: 'assay.example:9443', authority: authority.certificate, certificate, key: privateKey };
    shell.files.set('/profile', formatProfile(profile));
    return shell;
  }

  /** The tree of commands. */
  get program(): Command {
    return makeProgram(this.#context());
  }

  /** Runs the program as main.ts does and answers its exit code. */
  async assay(...args: readonly string[]): Promise<number> {
    this.exitCode = 0;
    try {
      await makeProgram(this.#context()).parseAsync(['node', 'assay', ...args]);
      return this.exitCode;
    } catch (error) {
      const failure = describeFailure(error);
      this.err += failure.lines.map((line) => `${line}\n`).join('');
      if (failure.lines.length === 0 && !(error instanceof CommanderError)) throw error;
      return failure.exitCode;
    }
  }

  #refuse(path: string): void {
    const code = this.refused.get(path);
    if (code !== undefined) throw Object.assign(new Error(`${code}: raw`), { code });
  }

  #file(path: string): AsyncIterable<Buffer> {
    const text = this.files.get(path);
    if (text === undefined) throw Object.assign(new Error('no'), { code: 'ENOENT' });
    return (async function* () {
      yield Buffer.from(text, 'latin1');
    })();
  }

  async *#below(directory: string): AsyncGenerator<string> {
    yield* [...this.files.keys()].filter((path) => path.startsWith(`${directory}/`)).toSorted();
  }

  #context(): Context {
    return {
      version: '1.2.3',
      write: (text) => void (this.out += text),
      writeError: (text) => void (this.err += text),
      style: { colours: false },
      signal: new AbortController().signal,
      defaults: { profile: '/profile', state: '/state', tcti: 'device:/dev/tpmrm0', logs: DEFAULT_LOG_PATHS },
      readFile: async (path) => {
        const bytes = this.binaries.get(path);
        if (bytes !== undefined) return bytes;
        const text = this.files.get(path);
        if (text === undefined) throw Object.assign(new Error('no'), { code: 'ENOENT' });
        return Buffer.from(text);
      },
      files: {
        openFile: async (path) => this.#file(path),
        absolutePath: (path) => posix.resolve('/', path),
        listFiles: (directory) => this.#below(directory),
        unpackDeb: (path) => this.#file(path),
      },
      listFolder: async (path) => {
        const names = [...this.files.keys(), ...this.binaries.keys()].flatMap((name) =>
          name.startsWith(`${path}/`) ? [name.slice(path.length + 1)] : [],
        );
        const isFile = this.files.has(path) || this.binaries.has(path);
        if (names.length === 0) throw Object.assign(new Error('no'), { code: isFile ? 'ENOTDIR' : 'ENOENT' });
        return names.toSorted();
      },
      exists: async (path) => this.files.has(path),
      tryFile: async (path) => this.#refuse(path),
      writeSecretFile: async (path, text) => {
        this.#refuse(path);
        this.files.set(path, text);
      },
      writeTextFile: async (path, text) => {
        this.#refuse(path);
        this.files.set(path, text);
      },
      connect: () => ({ close: () => undefined, ...this.client }) as unknown as AssayClient,
      now: () => this.time,
      fetchJwks: async (url) => {
        this.fetched.push(url.href);
        return Buffer.from(this.files.get(url.href) ?? '');
      },
      makeKey: () => {
        const privateKey = makeTlsKey();
        return { privateKey, publicKey: publicKeyDer(privateKey) };
      },
      agent: {
        join: async (options) => {
          this.joined.push(options);
          const none = Buffer.alloc(0);
          const certificates = { akCertificate: none, clientCertificate: none, authority: none };
          return { hostId: `h-${'a'.repeat(26)}`, state: 'PENDING', replacementPending: false, ...certificates };
        },
        run: async (options) => void this.ran.push(options),
      },
      setExitCode: (code) => void (this.exitCode = code),
    };
  }
}
