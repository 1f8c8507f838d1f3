import type { Figure } from './figure.ts';

/** How large a run is. Every benchmark ends by itself. */
export interface Scale {
  /** Hosts, streams or agents; undefined: what the benchmark has for this machine. */
  readonly hosts?: number | undefined;
  /** Seconds of measuring. */
  readonly seconds?: number | undefined;
  /** Milliseconds between two rounds of a host. */
  readonly interval?: number | undefined;
  readonly watchers?: number | undefined;
  /** The smallest run that still goes through everything. */
  readonly tiny?: boolean | undefined;
  /** Writes CPU profiles of the measured service there. */
  readonly profileDirectory?: string | undefined;
  /** Hears how far the run is. */
  readonly say: (line: string) => void;
}

/** How a process is left alone before its memory is read: collecting the garbage of many hosts takes seconds. */
export function settling({ tiny, hosts = 0 }: Scale): { readonly pauseMillis: number } {
  return { pauseMillis: tiny === true ? 100 : 1_500 + hosts / 4 };
}

export interface Benchmark {
  readonly name: string;
  /** One line for people. */
  readonly about: string;
  readonly run: (scale: Scale) => Promise<readonly Figure[]>;
}
