/** Where and when the next process dies. A seed gives the same plan each time. */
import type { SeededRandom } from '../support/seeded-random.ts';

/** Moments of the service; crash-points.ts sees them. */
export const SERVICE_POINTS = [
  /** A transaction is open and nothing is written. */
  'begun',
  /** Everything is written and not committed. */
  'before-commit',
  /** The commit is under way. */
  'amid-commit',
  /** It is durable and nobody knows. */
  'committed',
  /** The store has told the rest of the service. */
  'answered',
  /** A message is about to go to a caller. */
  'before-send',
  /** It has most likely gone. */
  'sent',
] as const;

/** Moments of an agent; agents.ts sees them. */
export const AGENT_POINTS = [
  /** A new state is flushed to a file beside the present one. */
  'before-rename',
  /** It has taken its place; the directory is not flushed. */
  'renamed',
  /** Evidence or a proof is about to be sent. */
  'before-send',
  /** An answer of the service is there and nothing was done about it. */
  'received',
] as const;

/** Moments of `assayd init` besides those of the store. */
export const INIT_POINTS = [
  /** A file is flushed beside its place. */
  'before-link',
  /** It is in its place, and beside it still. */
  'linked',
] as const;

export type Point = (typeof SERVICE_POINTS | typeof AGENT_POINTS | typeof INIT_POINTS)[number];

export interface Crash {
  readonly point: Point;
  /** Which occurrence since the start of the process, from 1. */
  readonly count: number;
  /** Milliseconds. */
  readonly delay: number;
}

/** At a point, or so long after the process is ready. */
export type Death =
  | { readonly kind: 'point'; readonly crash: Crash }
  | { readonly kind: 'time'; readonly after: number };

/** Occurrences up to which a point is drawn: enough for a process to do something first, few enough to be reached soon. */
const REACH: Readonly<Record<Point, number>> = {
  'before-link': 2,
  linked: 2,
  begun: 14,
  'before-commit': 14,
  'amid-commit': 14,
  committed: 14,
  // Every read is answered, too.
  answered: 60,
  'before-send': 24,
  sent: 24,
  'before-rename': 4,
  renamed: 4,
  received: 8,
};

export function drawDeath(random: SeededRandom, points: readonly Point[]): Death {
  if (random.below(6) === 0) return { kind: 'time', after: random.below(900) };
  const point = random.pick(points);
  return { kind: 'point', crash: { point, count: 1 + random.below(REACH[point]), delay: random.below(20) / 10 } };
}

export function formatCrash({ point, count, delay }: Crash): string {
  return `${point}:${count}:${delay}`;
}

/** Null for an empty text: nothing dies. */
export function parseCrash(text: string): Crash | null {
  if (text === '') return null;
  const [name, count, delay] = text.split(':');
  const point = [...SERVICE_POINTS, ...AGENT_POINTS, ...INIT_POINTS].find((known) => known === name);
  if (point === undefined || !(Number(count) >= 1)) throw new TypeError(`no crash is called ${text}`);
  return { point, count: Number(count), delay: Number(delay ?? 0) };
}
