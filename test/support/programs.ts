/** The two programs as a person starts them: a process each, spoken to by arguments, files, output and signals. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const checkout = join(import.meta.dirname, '..', '..');
const node = join(checkout, 'node_modules', '.bin', 'node');

const MAINS = { assay: 'client/main.ts', assayd: 'server/main.ts' } as const;
export type ProgramName = keyof typeof MAINS;

/** How long a test waits for what must happen, milliseconds: far more than it takes on a machine that is busy. */
const WITHIN = 120_000;
const POLL = 25;

export interface ProgramOptions {
  /** Added to the environment of the test; undefined removes. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Standard input; empty when absent. */
  readonly input?: string;
}

/** How a program ended. */
export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** One line of a structured log. */
export type LogFields = Readonly<Record<string, unknown>>;

/** A program that runs until it is ended. */
export class RunningProgram implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  #stdout = '';
  #stderr = '';

  constructor(command: string, args: readonly string[], options: ProgramOptions = {}) {
    // The kernel ends the program with this process, even where a test run is killed and no handler runs.
    const dying = ['--pdeathsig', 'KILL', '--', command, ...args];
    this.#child = spawn('setpriv', dying, { cwd: checkout, env: { ...process.env, ...options.env }, stdio: 'pipe' });
    this.#closed = once(this.#child, 'close');
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.#stdout += text));
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    // A program that does not read its input may be gone by now.
    this.#child.stdin?.on('error', () => undefined);
    this.#child.stdin?.end(options.input ?? '');
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  get ended(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** The structured log so far. */
  get log(): readonly LogFields[] {
    const lines = this.#stderr.split('\n').slice(0, -1);
    return lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as LogFields);
  }

  /** The objects that were printed one a line. */
  get objects(): readonly unknown[] {
    return this.#stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as unknown);
  }

  /** Waits for a line of the log behind the first `after` ones. */
  async logged(wanted: (fields: LogFields) => boolean, what: string, after = 0): Promise<LogFields> {
    return eventually(
      what,
      () => {
        const found = this.log.slice(after).find(wanted);
        if (found === undefined && this.ended) throw new Error(`it ended without ${what}:\n${this.#stderr}`);
        return found;
      },
      () => this.#stderr,
    );
  }

  /** Waits until it has ended by itself. */
  async end(): Promise<Ended> {
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), WITHIN);
    await this.#closed;
    clearTimeout(timer);
    return { code: this.#child.exitCode, stdout: this.#stdout, stderr: this.#stderr };
  }

  /** Asks it to end, and waits. */
  async stop(signal: 'SIGTERM' | 'SIGINT' | 'SIGKILL' = 'SIGTERM'): Promise<Ended> {
    this.#child.kill(signal);
    return this.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL');
  }
}

/** Starts one of the programs. */
export function start(name: ProgramName, args: readonly string[], options?: ProgramOptions): RunningProgram {
  return new RunningProgram(node, [MAINS[name], ...args], options);
}

/** Runs one of the programs to its end. */
export function run(name: ProgramName, args: readonly string[], options?: ProgramOptions): Promise<Ended> {
  return start(name, args, options).end();
}

/** Asks again and again until there is an answer; fails with what the last answer lacked. */
export async function eventually<T>(
  what: string,
  ask: () => T | undefined | Promise<T | undefined>,
  describe: () => string = () => '',
): Promise<T> {
  const end = Date.now() + WITHIN;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > end) throw new Error(`still no ${what}\n${describe()}`);
    await delay(POLL);
  }
}

/** Each worker of a run has ports of its own: who looks for one must not take that of a service that is down for a moment. */
const PORTS = 2_000;
const FIRST_PORT = 20_000 + (Number(process.env['VITEST_POOL_ID'] ?? 0) % 6) * PORTS;
const given = new Set<number>();

/**
 * A port that nobody listens on. It lies below the ports that the system gives to callers: one who calls a server that is
 * down would else meet, now and then, himself.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORTS);
    if (given.has(port)) continue;
    const probe = createServer();
    const bound = new Promise<boolean>((resolve) => {
      probe.once('error', () => resolve(false));
      probe.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!(await bound)) continue;
    await new Promise((resolve) => probe.close(resolve));
    given.add(port);
    return port;
  }
}
