import { appraisal } from './appraisal.ts';
import type { Benchmark } from './benchmark.ts';
import { crowd } from './crowd.ts';
import { evidence } from './evidence.ts';
import { idle } from './idle.ts';
import { placement } from './placement.ts';
import { reconnect } from './reconnect.ts';
import { rounds } from './rounds.ts';
import { runtime } from './runtime.ts';
import { simulation } from './simulation.ts';
import { store } from './store.ts';
import { watch } from './watch.ts';

/** In the order in which they run: what needs no network first. */
export const benchmarks: readonly Benchmark[] = [
  appraisal,
  runtime,
  store,
  evidence,
  placement,
  simulation,
  rounds,
  idle,
  crowd,
  reconnect,
  watch,
];
