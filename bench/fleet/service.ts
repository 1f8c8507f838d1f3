/** `assayd` as it is installed, on a store in a temporary directory that has the hosts of a fleet already. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';

import { readConfig, readRootKey } from '../../server/config.ts';
import { loadServiceKeys } from '../../server/identity/service-keys.ts';
import { openSqliteStore } from '../../server/store/sqlite.ts';
import { freePort } from '../../test/support/programs.ts';
import { Child } from '../child.ts';
import { makeFleet } from './make-fleet.ts';
import type { FleetOptions } from './make-fleet.ts';

export class MeasuredService implements AsyncDisposable {
  readonly port: number;
  readonly fleetFile: string;
  readonly #directory: string;
  readonly #profileDirectory: string | undefined;
  #program: Child | undefined;

  private constructor(directory: string, port: number, profileDirectory: string | undefined) {
    this.#directory = directory;
    this.port = port;
    this.fleetFile = join(directory, 'fleet.json');
    this.#profileDirectory = profileDirectory;
  }

  /** Makes the store and its hosts; the service is not running yet. */
  static async prepare(
    options: FleetOptions & { readonly profileDirectory?: string | undefined },
  ): Promise<MeasuredService> {
    const directory = await mkdtemp(join(tmpdir(), 'assay-bench-'));
    const service = new MeasuredService(directory, await freePort(), options.profileDirectory);
    try {
      await service.#init(options);
      return service;
    } catch (error) {
      await service[Symbol.asyncDispose]();
      throw error;
    }
  }

  get pid(): number {
    return this.#running().pid;
  }

  /** What the service wrote last to its log. */
  get output(): string {
    return this.#running().output;
  }

  /** What its JavaScript heap held when it last collected garbage, kB. */
  get heapKilobytes(): number {
    return Number([...this.output.matchAll(/collected: heap of (\d+) kB/g)].at(-1)?.[1]);
  }

  async start(): Promise<void> {
    const args = ['server/main.ts', 'serve', '--config', this.#configFile];
    this.#program = new Child(args, { profileDirectory: this.#profileDirectory });
    await this.#program.printed(/"msg":"serving"/);
  }

  async stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    await this.#program?.stop(signal);
    this.#program = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A profile is written by a program that ends in good order only.
    await this.stop(this.#profileDirectory === undefined ? 'SIGKILL' : 'SIGTERM');
    await rm(this.#directory, { recursive: true, force: true });
  }

  get #configFile(): string {
    return join(this.#directory, 'assayd.yaml');
  }

  #running(): Child {
    if (this.#program === undefined) throw new Error('the service is not running');
    return this.#program;
  }

  async #init(options: FleetOptions): Promise<void> {
    const lines = [
      `listen: 127.0.0.1:${this.port}`,
      `data_directory: ${join(this.#directory, 'data')}`,
      // A fleet on a few addresses of one machine.
      'max_connections_per_address: 50000',
      '',
    ];
    await writeFile(this.#configFile, lines.join('\n'));
    await using init = new Child(['server/main.ts', 'init', '--config', this.#configFile]);
    await init.printed(/As the operator/);
    await init.stop('SIGTERM');
    const config = readConfig(this.#configFile);
    const random = (size: number): Buffer => randomBytes(size);
    const store = await openSqliteStore({
      directory: config.dataDirectory,
      wallClock: Date.now,
      monotonic: () => performance.now(),
      random,
    });
    try {
      const root = readRootKey(config);
      const { authority } = await loadServiceKeys({ store, root, random, serverNames: config.serverNames });
      await writeFile(this.fleetFile, JSON.stringify(await makeFleet(store, authority, options)));
    } finally {
      await store.close();
    }
  }
}
