import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { runFuzz, targetNames } from './fuzz.ts';

/** `npm run fuzz -- --seconds N --seed N` is the same for as long as one likes. */
const MILLIS = 150;
const SEED = Number(process.env['ASSAY_FUZZ_SEED'] ?? Math.floor(Math.random() * 1_000_000));

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'assay-fuzz-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

describe('whatever reads what others wrote', () => {
  it('refuses it by an error of its own, in bounded time and memory', async () => {
    const tell = (line: string): void => void process.stdout.write(`${line}\n`);
    const report = await runFuzz({ seed: SEED, millis: MILLIS, tell });
    process.stdout.write(`${report.inputs} inputs on ${report.targets} targets, seed ${SEED}\n`);
    expect(report.finds).toEqual([]);
    expect(report.targets).toBe((await targetNames()).length);
    expect(report.inputs).toBeGreaterThanOrEqual(25 * report.targets);
  });
});

describe('fuzzing', () => {
  it('finds an exception, a hang and memory without bound, keeps the input and goes on', async () => {
    const module = new URL('./faulty-targets.ts', import.meta.url).href;
    const targets = ['throws', 'hangs', 'allocates', 'fills', 'sound'];
    const report = await runFuzz({ targets, module, directory, seed: 1, millis: 200, hangMillis: 2_000 });
    expect(report.finds.map(({ target }) => target)).toEqual(['throws', 'hangs', 'allocates', 'fills']);
    const [thrown, hung, allocated, filled] = report.finds;
    expect(thrown?.what).toContain('RangeError: out of range');
    expect(hung?.what).toContain('no end after 2000 ms');
    expect(allocated?.what).toContain('took 200 MiB');
    expect(filled?.what).toMatch(/out of memory|memory limit|no end/i);
    for (const { target, command } of report.finds) {
      expect(command).toContain(`--target ${target} --input `);
      const input = await readFile(join(directory, `${target}-1`));
      expect(input.toString()).not.toBe('a sound input');
    }
    expect(report.inputs).toBeGreaterThan(10);
  });
});
