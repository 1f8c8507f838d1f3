/** The processes of a benchmark: each ends with it, however it ends. */
import { spawn } from 'node:child_process';
import type { ChildProcess, Serializable } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

import type { CommandName, Commands } from './load/commands.ts';

const checkout = join(import.meta.dirname, '..');
const STOP_WITHIN = 30_000;
const collector = join(import.meta.dirname, 'fleet', 'collect-on-signal.ts');

export interface ChildOptions {
  /** Where to write CPU profiles of the process; none when left out. */
  readonly profileDirectory?: string | undefined;
}

/** A TypeScript program under this Node. */
export class Child implements AsyncDisposable {
  readonly #child: ChildProcess;
  #output = '';

  constructor(args: readonly string[], { profileDirectory }: ChildOptions = {}) {
    const profile = profileDirectory === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', profileDirectory];
    const flags = ['--expose-gc', '--import', collector, ...profile];
    // setpriv becomes the program: the process is the one that is measured, and dies with this one.
    const dying = ['--pdeathsig', 'KILL', '--', process.execPath, ...flags, ...args];
    this.#child = spawn('setpriv', dying, { cwd: checkout, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    const keep = (text: string): void => {
      this.#output = (this.#output + text).slice(-100_000);
    };
    this.#child.stdout?.setEncoding('utf8').on('data', keep);
    this.#child.stderr?.setEncoding('utf8').on('data', keep);
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the process did not start');
    return this.#child.pid;
  }

  /** The end of what it has printed. */
  get output(): string {
    return this.#output;
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** The first match in what it prints. */
  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.#output);
      if (match !== null) return match;
      if (this.ended) throw new Error(`a process ended early:\n${this.#output}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  send(message: Serializable): void {
    this.#child.send(message);
  }

  onMessage(listener: (message: unknown) => void): void {
    this.#child.on('message', listener);
  }

  onEnd(listener: () => void): void {
    this.#child.once('exit', listener);
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    if (this.ended) return;
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_WITHIN);
    this.#child.kill(signal);
    await once(this.#child, 'exit');
    clearTimeout(timer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL');
  }
}

/** The load generator, in a process of its own. */
export class LoadGenerator implements AsyncDisposable {
  readonly #child = new Child([join(import.meta.dirname, 'load', 'generator.ts')]);
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #nextId = 1;

  constructor() {
    this.#child.onMessage((message) => {
      const { id, answer, error } = message as {
        readonly id: number;
        readonly answer: unknown;
        readonly error?: string;
      };
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(answer);
      else waiting?.reject(new Error(`the load generator: ${error}`));
    });
    this.#child.onEnd(() => {
      for (const { reject } of this.#waiting.values())
        reject(new Error(`the load generator ended:\n${this.#child.output}`));
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  async command<N extends CommandName>(name: N, request: Commands[N]['request']): Promise<Commands[N]['answer']> {
    const waiting = Promise.withResolvers<unknown>();
    const id = this.#nextId++;
    this.#waiting.set(id, waiting);
    // Whoever gave up on it, because something else failed, is not told that it failed too.
    waiting.promise.catch(() => undefined);
    this.#child.send({ id, name, request });
    // The generator answers what the table says.
    return (await waiting.promise) as Commands[N]['answer'];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child[Symbol.asyncDispose]();
  }
}
