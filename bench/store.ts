import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { openSqliteStore } from '../server/store/sqlite.ts';
import type { RoundInput, Store } from '../server/store/store.ts';
import { ek, enrolled, round } from '../test/server/store/fixtures.ts';
import type { Benchmark } from './benchmark.ts';
import type { Figure } from './figure.ts';
import { percentile } from './measure.ts';

const BATCHES = [100, 500];
/** Bytes of an EK certificate. */
const CERTIFICATE_BYTES = 1_200;
const CHECKS = 14;

export const store: Benchmark = {
  name: 'store',
  about: 'rounds committed to the embedded store, flushed to disk',
  async run(scale) {
    const tiny = scale.tiny === true;
    const hosts = tiny ? 4 : (scale.hosts ?? 1_000);
    const directory = mkdtempSync(join(tmpdir(), 'assay-bench-store-'));
    const opened = await openSqliteStore({
      directory: join(directory, 'store'),
      wallClock: Date.now,
      monotonic: () => performance.now(),
      random: (size) => randomBytes(size),
    });
    try {
      scale.say(`enrolling ${hosts} hosts`);
      const inputs = await enrollAll(opened, hosts);
      await commitAll(opened, inputs, { batch: hosts, verdict: 'first' });
      const figures: Figure[] = [];
      for (const batch of tiny ? [2, 4] : BATCHES) {
        for (const kind of ['confirming', 'changing'] as const) {
          const samples = [];
          const repeats = tiny ? 1 : 10;
          for (let repeat = 0; repeat < repeats; repeat += 1) {
            const verdict = kind === 'confirming' ? `same in ${batch}` : `${repeat} in ${batch}`;
            // The first one changes what there was and is not counted.
            if (repeat === 0) await commitAll(opened, inputs, { batch, verdict });
            samples.push(
              await commitAll(opened, inputs, {
                batch,
                verdict: kind === 'confirming' ? verdict : `${verdict}, again`,
              }),
            );
          }
          const rows = samples.reduce((sum, sample) => sum + sample.rows, 0);
          const seconds = samples.reduce((sum, sample) => sum + sample.seconds, 0);
          const cpu = samples.reduce((sum, sample) => sum + sample.cpuMicros, 0);
          const millis = samples.flatMap((sample) => sample.millis);
          const name = `${kind} rounds in batches of ${batch}`;
          figures.push(
            { name, value: rows / seconds, unit: '/s' },
            { name: `${name}: CPU of a row, both threads`, value: cpu / rows, unit: 'us' },
            { name: `${name}: one batch, p99`, value: percentile(millis, 99), unit: 'ms' },
          );
        }
      }
      return figures;
    } finally {
      await opened.close();
      rmSync(directory, { recursive: true, force: true });
    }
  },
};

async function enrollAll(opened: Store, hosts: number): Promise<RoundInput[]> {
  const inputs: RoundInput[] = [];
  for (let index = 0; index < hosts; index += 1) {
    const name = `n${String(index).padStart(6, '0')}`;
    const eks = [ek(name, '30'.repeat(CERTIFICATE_BYTES))];
    const host = await enrolled(opened, name, { eks });
    inputs.push(await round(opened, host.id));
  }
  return inputs;
}

interface Sample {
  readonly rows: number;
  readonly seconds: number;
  readonly cpuMicros: number;
  readonly millis: readonly number[];
}

/** One round of every host, batch after batch; the inputs move on to the next round. */
async function commitAll(
  opened: Store,
  inputs: RoundInput[],
  { batch, verdict }: { readonly batch: number; readonly verdict: string },
): Promise<Sample> {
  const millis: number[] = [];
  const cpu = process.cpuUsage();
  const began = performance.now();
  for (let from = 0; from < inputs.length; from += Math.min(batch, 500)) {
    const part = inputs.slice(from, from + Math.min(batch, 500)).map((input) => judged(input, opened.now(), verdict));
    const posted = performance.now();
    const outcomes = await opened.commitRounds(part);
    millis.push(performance.now() - posted);
    for (const [position, outcome] of outcomes.entries()) {
      const input = part[position];
      if (outcome.outcome === 'fenced' || input === undefined) throw new Error('a round of the benchmark was fenced');
      inputs[from + position] = { ...input, fence: { ...input.fence, round: input.fence.round + 1 } };
    }
  }
  const { user, system } = process.cpuUsage(cpu);
  return { rows: inputs.length, seconds: (performance.now() - began) / 1000, cpuMicros: user + system, millis };
}

function judged(input: RoundInput, now: number, verdictDigest: string): RoundInput {
  const checks = Array.from({ length: CHECKS }, (_, index) => ({
    id: `pcr.sha256.${index}`,
    outcome: 'passed' as const,
    reason: 'OK',
    observed: '00'.repeat(32),
    expected: '',
    message: `PCR ${index} of the sha256 bank holds an allowed value.`,
  }));
  return { ...input, verdict: { ...input.verdict, checks }, verdictDigest, challengeTime: now };
}
