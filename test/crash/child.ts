/** A process that is started to be killed. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const checkout = join(import.meta.dirname, '..', '..');

export interface ChildOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** User and group that it runs as. */
  readonly as?: number;
  /** Each message that it sends over its channel; without it there is none. */
  readonly onMessage?: (message: unknown) => void;
}

export class Child {
  readonly #process: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly #waiting = new Set<() => void>();
  #output = '';

  /** Runs a TypeScript file of the checkout, given by `args` as Node takes them. */
  constructor(args: readonly string[], options: ChildOptions = {}) {
    const channel = options.onMessage === undefined ? [] : (['ipc'] as const);
    // The kernel ends it with this process, even where that is killed and no handler runs.
    const user =
      options.as === undefined ? [] : ['--reuid', `${options.as}`, '--regid', `${options.as}`, '--clear-groups'];
    this.#process = spawn('setpriv', [...user, '--pdeathsig', 'KILL', '--', process.execPath, ...args], {
      cwd: checkout,
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe', ...channel],
      serialization: 'advanced',
    });
    this.#exited = once(this.#process, 'exit');
    const hear = (text: string): void => {
      this.#output += text;
      for (const wake of [...this.#waiting]) wake();
    };
    this.#process.stdout?.setEncoding('utf8').on('data', hear);
    this.#process.stderr?.setEncoding('utf8').on('data', hear);
    this.#process.on('exit', () => hear(''));
    this.#process.on('message', (message) => options.onMessage?.(message));
    // A message to a process that is gone is gone with it.
    this.#process.on('error', () => undefined);
  }

  /** What it wrote to standard output and standard error. */
  get output(): string {
    return this.#output;
  }

  get pid(): number {
    return this.#process.pid ?? -1;
  }

  get gone(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** How it ended. */
  get end(): { readonly code: number | null; readonly signal: string | null } {
    return { code: this.#process.exitCode, signal: this.#process.signalCode };
  }

  send(message: object): void {
    if (this.#process.connected) this.#process.send(message, () => undefined);
  }

  /** True once it has said this, false when it ended without. */
  async says(text: string): Promise<boolean> {
    while (!this.#output.includes(text) && !this.gone) await this.#news();
    return this.#output.includes(text);
  }

  /** True when it is gone within so many milliseconds. */
  async goneWithin(milliseconds: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), milliseconds);
    const gone = await Promise.race([this.#gone(), promise]);
    clearTimeout(timer);
    return gone;
  }

  async kill(signal: 'SIGKILL' | 'SIGTERM' = 'SIGKILL'): Promise<void> {
    this.#process.kill(signal);
    await this.#gone();
  }

  async #gone(): Promise<true> {
    if (!this.gone) await this.#exited;
    return true;
  }

  #news(): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake);
        resolve();
      };
      this.#waiting.add(wake);
    });
  }
}
