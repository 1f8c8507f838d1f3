/** Tries inputs on targets, one after another. The thread that started it watches: this one may hang or run out of memory. */
import { parentPort, workerData } from 'node:worker_threads';

import { SeededRandom } from '../support/seeded-random.ts';
import type { Target } from './target.ts';
import type { AllTargets, FuzzMessage, FuzzWork } from './fuzz.ts';

/** No input of 256 KiB needs more. */
const MAX_ALLOCATION = 96 * 1024 * 1024;
/** Inputs of each target at least, however slow the machine is. */
const MIN_INPUTS = 25;
/** Milliseconds for one input. */
const MAX_TIME = 5_000;

const work = workerData as FuzzWork;
const tell = (message: FuzzMessage): void => parentPort?.postMessage(message);
const state = new Int32Array(work.shared, 0, 2);
const shown = new Uint8Array(work.shared, 8);

/** Leaves the input where the other thread finds it, whatever becomes of this one. */
function show(input: Buffer): void {
  shown.set(input.subarray(0, shown.length));
  Atomics.store(state, 1, Math.min(input.length, shown.length));
  Atomics.add(state, 0, 1);
}

function inUse(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

async function tryOne(target: Target, input: Buffer): Promise<'taken' | 'refused'> {
  show(input);
  const began = performance.now();
  const before = inUse();
  const outcome = await target.run(input);
  const grown = inUse() - before;
  if (grown > MAX_ALLOCATION) throw new Error(`took ${Math.round(grown / 1024 / 1024)} MiB`);
  const took = performance.now() - began;
  if (took > MAX_TIME) throw new Error(`took ${Math.round(took)} ms`);
  return outcome;
}

async function fuzz(name: string, open: () => Target | Promise<Target>): Promise<void> {
  const random = new SeededRandom(work.seed);
  await using target = await open();
  const counts = { taken: 0, refused: 0 };
  const end = performance.now() + work.millis;
  const given = work.input === undefined ? target.corpus : [Buffer.from(work.input)];
  let input: Buffer = Buffer.alloc(0);
  const attempt = async (next: Buffer): Promise<void> => {
    input = next;
    counts[await tryOne(target, next)] += 1;
  };
  try {
    for (const each of given) await attempt(each);
    if (work.input === undefined) {
      for (let tried = 0; tried < MIN_INPUTS || performance.now() < end; tried += 1) await attempt(target.next(random));
    }
    tell({ kind: 'done', name, corpus: target.corpus.length, ...counts });
  } catch (error) {
    const what = error instanceof Error ? (error.stack ?? error.message) : String(error);
    tell({ kind: 'found', name, what, input });
  }
}

const { allTargets } = (await import(work.module)) as { readonly allTargets: AllTargets };
const targets = await allTargets();
for (const name of work.names) {
  const open = targets.get(name);
  if (open === undefined) throw new TypeError(`no target ${name}`);
  tell({ kind: 'begun', name });
  await fuzz(name, open);
}
