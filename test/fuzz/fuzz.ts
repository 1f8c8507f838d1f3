import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { Worker } from 'node:worker_threads';

import type { Target } from './target.ts';
import { allTargets } from './targets.ts';

const HANG = 15_000;
const MAX_HEAP_MIB = 768;
const SHOWN_BYTES = 512 * 1024;
const root = join(import.meta.dirname, '..', '..');

export type AllTargets = () => Promise<ReadonlyMap<string, () => Target | Promise<Target>>>;

export interface FuzzWork {
  /** Which exports `allTargets`. */
  readonly module: string;
  readonly names: readonly string[];
  readonly seed: number;
  /** For each target. */
  readonly millis: number;
  /** Tried alone, in place of the corpus and what is made of it. */
  readonly input?: Uint8Array;
  /** Count of inputs, length of the present one, the present one. */
  readonly shared: SharedArrayBuffer;
}

export type FuzzMessage =
  | { readonly kind: 'begun'; readonly name: string }
  | {
      readonly kind: 'done';
      readonly name: string;
      readonly corpus: number;
      readonly taken: number;
      readonly refused: number;
    }
  | { readonly kind: 'found'; readonly name: string; readonly what: string; readonly input: Uint8Array };

export interface FuzzOptions {
  /** All when left out. */
  readonly targets?: readonly string[];
  readonly seed: number;
  /** For each target. */
  readonly millis: number;
  readonly input?: Uint8Array;
  readonly tell?: (line: string) => void;
  /** Where inputs that fail are kept. */
  readonly directory?: string;
  /** Another module of targets than the one of this folder. */
  readonly module?: string;
  /** Milliseconds without an end of one input; default 15,000. */
  readonly hangMillis?: number;
}

export interface Find {
  readonly target: string;
  readonly what: string;
  /** What runs it again. */
  readonly command: string;
}

export interface FuzzReport {
  readonly inputs: number;
  readonly targets: number;
  readonly finds: readonly Find[];
}

export async function targetNames(): Promise<readonly string[]> {
  return [...(await allTargets()).keys()];
}

/** Fuzzes targets one after another. A target that failed is left; one that hangs or eats its memory does not stop the others. */
export async function runFuzz(options: FuzzOptions): Promise<FuzzReport> {
  const { seed, millis, input, tell = () => undefined } = options;
  const names = options.targets ?? (await targetNames());
  const finds: Find[] = [];
  let inputs = 0;
  let left = [...names];
  while (left.length > 0) {
    const shared = new SharedArrayBuffer(8 + SHOWN_BYTES);
    const module = options.module ?? new URL('./targets.ts', import.meta.url).href;
    const work = { names: left, seed, millis, shared, module, ...(input === undefined ? {} : { input }) };
    const run = new Run(work, options.hangMillis ?? HANG);
    for await (const message of run.messages()) {
      if (message.kind === 'begun') continue;
      left = left.slice(left.indexOf(message.name) + 1);
      if (message.kind === 'done') {
        inputs += message.taken + message.refused;
        const tried = `${message.taken + message.refused} inputs, ${message.taken} of them taken`;
        tell(`${message.name}: ${tried}, made of ${message.corpus}, in ${millis} ms, seed ${seed}`);
      } else {
        const command = keep(message, options);
        finds.push({ target: message.name, what: message.what, command });
        tell(`${message.name}: ${message.what}\n  again: ${command}`);
      }
    }
  }
  return { inputs, targets: names.length, finds };
}

/** One thread, until it has tried all its targets or has to be ended. */
class Run {
  readonly #worker: Worker;
  readonly #shared: SharedArrayBuffer;
  readonly #hang: number;
  readonly #queue: FuzzMessage[] = [];
  #present = '';
  #ended = false;
  #wake: () => void = () => undefined;

  constructor(work: FuzzWork, hang: number) {
    this.#hang = hang;
    this.#shared = work.shared;
    this.#present = work.names[0] ?? '';
    this.#worker = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData: work,
      resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MIB },
    });
    this.#worker.on('message', (message: FuzzMessage) => this.#put(message));
    this.#worker.on('error', (error: Error) => this.#fail(error.stack ?? error.message));
    void once(this.#worker, 'exit').then(() => this.#end());
  }

  async *messages(): AsyncGenerator<FuzzMessage, void, undefined> {
    const watch = this.#watch();
    try {
      for (;;) {
        const message = this.#queue.shift();
        if (message !== undefined) yield message;
        else if (this.#ended) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      clearInterval(watch);
      await this.#worker.terminate();
    }
  }

  /** An input that takes too long, and one that lets its thread do nothing else, look the same from here. */
  #watch(): NodeJS.Timeout {
    const count = new Int32Array(this.#shared, 0, 1);
    let seen = -1;
    let since = performance.now();
    return setInterval(() => {
      const now = Atomics.load(count, 0);
      if (now !== seen) {
        seen = now;
        since = performance.now();
      } else if (performance.now() - since > this.#hang) {
        since = Infinity;
        this.#fail(`no end after ${this.#hang} ms`);
        void this.#worker.terminate();
      }
    }, 250);
  }

  #put(message: FuzzMessage): void {
    if (message.kind === 'begun') this.#present = message.name;
    this.#queue.push(message);
    this.#wake();
  }

  #fail(what: string): void {
    const length = Atomics.load(new Int32Array(this.#shared, 4, 1), 0);
    const input = Uint8Array.from(new Uint8Array(this.#shared, 8, length));
    this.#put({ kind: 'found', name: this.#present, what, input });
  }

  #end(): void {
    this.#ended = true;
    this.#wake();
  }
}

/** Writes down the input; answers the command that tries it again. */
function keep({ name, input }: Extract<FuzzMessage, { kind: 'found' }>, { seed, directory }: FuzzOptions): string {
  const folder = directory ?? join(root, '.cache', 'fuzz');
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${name}-${seed}`);
  writeFileSync(file, input);
  return `npm run fuzz -- --target ${name} --input ${relative(root, file)}`;
}
