import { expect, it } from 'vitest';

import { describeReport, runCrashTest } from './run.ts';

/** `npm run crash -- --kills N --seed N` is the same for as long as one likes. */
const KILLS = 25;

it('a service and agents that are killed at any moment lose nothing that anybody was told, and nothing looks better for it', async () => {
  const seed = Number(process.env['ASSAY_CRASH_SEED'] ?? Math.floor(Math.random() * 1_000_000));
  const report = await runCrashTest({ kills: KILLS, seed });
  process.stdout.write(`${describeReport(report, seed)}\n`);
  expect(report.problems, describeReport(report, seed)).toEqual([]);
  expect(Object.values(report.kills).reduce((sum, each) => sum + each, 0)).toBe(KILLS);
  // The run was about something: verdicts were committed and things were done between the kills.
  expect(report.revisions).toBeGreaterThan(KILLS);
  expect(report.acknowledged).toBeGreaterThan(KILLS / 2);
}, 600_000);
