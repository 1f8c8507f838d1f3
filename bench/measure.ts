/** What is read of a process from outside, so that nothing has to be built into the program that is measured. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** User and system time that a process and its threads have used, milliseconds (proc(5), /proc/PID/stat fields 14 and 15). */
export function cpuMillis(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The name of the program may hold blanks and brackets; what counts stands behind its last bracket.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / ticksPerSecond;
}

/** Resident set of a process, kB. */
export function residentKilobytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
}

const MIN_COLLECTIONS = 2;
const MAX_COLLECTIONS = 12;
/** What is left is given back over several collections: it has settled when one gives back less than this part. */
const SETTLED = 0.003;

/** RSS once a process that was started with `collect-on-signal.ts` has collected its garbage and given back what that left. */
export async function settledKilobytes(pid: number, { pauseMillis = 1_500 } = {}): Promise<number> {
  let last = Infinity;
  for (let round = 1; ; round += 1) {
    process.kill(pid, 'SIGUSR2');
    await delay(pauseMillis);
    const resident = residentKilobytes(pid);
    if (round === MAX_COLLECTIONS || (round >= MIN_COLLECTIONS && resident > last * (1 - SETTLED))) return resident;
    last = Math.min(last, resident);
  }
}

export function median(values: readonly number[]): number {
  return percentile(values, 50);
}

/** Nearest rank. NaN for no values. */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN;
}

/** Microseconds of CPU for one call of `act`: the median of `rounds` samples of `count` calls, after one to warm up. */
export function microsPerCall(
  act: () => void,
  { rounds, count }: { readonly rounds: number; readonly count: number },
): number {
  const samples: number[] = [];
  for (let round = -1; round < rounds; round += 1) {
    const before = process.cpuUsage();
    for (let call = 0; call < count; call += 1) act();
    const { user, system } = process.cpuUsage(before);
    if (round >= 0) samples.push((user + system) / count);
  }
  return median(samples);
}
