import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { toPem } from '../../proto/tls-identity.ts';
import { issueClient, issueServer, makeTestAuthority } from '../../test/support/tls.ts';
import { Child } from '../child.ts';
import type { Caller } from '../load/commands.ts';

/** The bare grpc-js server as a process of its own. */
export class BareServer implements AsyncDisposable {
  readonly port: number;
  /** How its callers show who they are, PEM. */
  readonly caller: Caller;
  readonly #child: Child;
  readonly #directory: string;

  private constructor(
    child: Child,
    { port, caller, directory }: { readonly port: number; readonly caller: Caller; readonly directory: string },
  ) {
    this.#child = child;
    this.port = port;
    this.caller = caller;
    this.#directory = directory;
  }

  /** `messageBytes`: size of what it sends. */
  static async start(messageBytes: number): Promise<BareServer> {
    const directory = await mkdtemp(join(tmpdir(), 'assay-bare-'));
    const authority = await makeTestAuthority();
    const { certificateChain, privateKey } = await issueServer(authority);
    const client = await issueClient(authority, 'caller');
    const files = ['key.pem', 'certificate.pem', 'authority.pem'].map((name) => join(directory, name));
    const texts = [privateKey, certificateChain.map(toPem).join(''), toPem(authority.certificate)];
    await Promise.all(files.map((file, at) => writeFile(file, texts[at] ?? '')));
    const child = new Child([join(import.meta.dirname, 'server.ts'), ...files, String(messageBytes)]);
    const port = Number((await child.printed(/port (\d+)/))[1]);
    const caller = { key: client.privateKey, certificate: client.certificateChain.map(toPem).join('') };
    return new BareServer(child, { port, caller, directory });
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Sends so many messages on every open `Flow`; resolves when all are written. */
  async flow(rounds: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#child.onMessage(() => resolve());
    this.#child.send(rounds);
    await promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
    await rm(this.#directory, { recursive: true, force: true });
  }
}
