/** `npm run crash -- --kills N --seed N`: the crash test for as long as one likes. */
import { parseArgs } from 'node:util';

import { describeReport, runCrashTest } from './run.ts';

const { values } = parseArgs({ options: { kills: { type: 'string', default: '300' }, seed: { type: 'string' } } });
const kills = Number(values.kills);
const seed = values.seed === undefined ? Math.floor(Math.random() * 1_000_000) : Number(values.seed);
if (!Number.isSafeInteger(kills) || kills < 1 || !Number.isSafeInteger(seed)) {
  process.stderr.write('usage: npm run crash -- [--kills N] [--seed N]\n');
  process.exit(2);
}
process.stdout.write(`seed ${seed}, ${kills} kills\n`);
const report = await runCrashTest({ kills, seed, tell: (text) => process.stdout.write(`${text}\n`) });
process.stdout.write(`${describeReport(report, seed)}\n`);
process.exitCode = report.problems.length === 0 ? 0 : 1;
