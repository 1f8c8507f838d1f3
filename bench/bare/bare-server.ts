import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { toPem } from '../../proto/tls-identity.ts';
import { issueServer, makeTestAuthority } from '../../test/support/tls.ts';
import { Child } from '../child.ts';

/** The bare grpc-js server as a process of its own. */
export class BareServer implements AsyncDisposable {
  readonly port: number;
  readonly #child: Child;
  readonly #directory: string;

  private constructor(child: Child, port: number, directory: string) {
    this.#child = child;
    this.port = port;
    this.#directory = directory;
  }

  /** `messageBytes`: size of what it sends. */
  static async start(messageBytes: number): Promise<BareServer> {
    const directory = await mkdtemp(join(tmpdir(), 'assay-bare-'));
    const { certificateChain, privateKey } = await issueServer(await makeTestAuthority());
    const [keyFile, certificateFile] = [join(directory, 'key.pem'), join(directory, 'certificate.pem')];
    await writeFile(keyFile, privateKey);
    await writeFile(certificateFile, certificateChain.map(toPem).join(''));
    const child = new Child([join(import.meta.dirname, 'server.ts'), keyFile, certificateFile, String(messageBytes)]);
    const port = Number((await child.printed(/port (\d+)/))[1]);
    return new BareServer(child, port, directory);
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
