import { dirname, join } from 'node:path';
import type { LogPaths } from './collect.ts';
import type { World } from './world.ts';

/** Logs that grow after the boot. */
const GROWING = ['userspace', 'ima'] as const;
export type GrowingLog = (typeof GROWING)[number];

/** How far each log has grown, in entries or bytes; null where nobody can tell. */
export type Measured = Readonly<Record<GrowingLog, number | null>>;

/** The kernel's number of entries, beside its list: files of securityfs have no size. */
const COUNT_FILE = 'runtime_measurements_count';
const MAX_COUNT_BYTES = 64;

/** Tells how much was measured, without reading the logs. A log that cannot be looked at is said once. */
export class Gauge {
  readonly #world: Pick<World, 'read' | 'fileSize' | 'log'>;
  readonly #paths: LogPaths;
  readonly #told = new Set<GrowingLog>();

  constructor(world: Pick<World, 'read' | 'fileSize' | 'log'>, paths: LogPaths) {
    this.#world = world;
    this.#paths = paths;
  }

  /** Never rejects. */
  async read(): Promise<Measured> {
    const userspace = await this.#look('userspace', () => this.#size(this.#paths.userspace));
    const ima = await this.#look('ima', () => this.#entries(this.#paths.ima));
    return { userspace, ima };
  }

  async #look(log: GrowingLog, measure: () => Promise<number>): Promise<number | null> {
    try {
      return await measure();
    } catch (error) {
      if (!this.#told.has(log)) {
        this.#told.add(log);
        const fields = { event: 'not_watched', log, error: codeOf(error) };
        this.#world.log.info(fields, `the ${log} log cannot be watched: what it grows by is told with the interval`);
      }
      return null;
    }
  }

  async #entries(path: string): Promise<number> {
    const count = join(dirname(path), COUNT_FILE);
    const text = await unlessMissing(this.#world.read(count, { offset: 0, limit: MAX_COUNT_BYTES }));
    if (text === null) return this.#size(path);
    const [digits] = /^\d{1,15}(?=\n?$)/.exec(text.toString('latin1')) ?? [];
    if (digits === undefined) throw new Error(`${COUNT_FILE} is not a number`);
    return Number(digits);
  }

  /** A log that is not there holds nothing. */
  async #size(path: string): Promise<number> {
    return (await unlessMissing(this.#world.fileSize(path))) ?? 0;
  }
}

/** Which logs differ from what they were. One that cannot be looked at any more does not. */
export function movedLogs(before: Measured, after: Measured): readonly GrowingLog[] {
  return GROWING.filter((log) => after[log] !== null && after[log] !== before[log]);
}

async function unlessMissing<T>(found: Promise<T>): Promise<T | null> {
  try {
    return await found;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown';
}
