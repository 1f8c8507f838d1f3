/** `npm run fuzz -- --target NAME --seconds N --seed N`: fuzzing for as long as one likes. */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { runFuzz, targetNames } from './fuzz.ts';

const USAGE = 'usage: npm run fuzz -- [--target NAME]... [--seconds N] [--seed N] [--input FILE]\n';

const { values } = parseArgs({
  options: {
    target: { type: 'string', multiple: true },
    seconds: { type: 'string', default: '10' },
    seed: { type: 'string' },
    input: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
const names = await targetNames();
const seconds = Number(values.seconds);
const seed = values.seed === undefined ? Math.floor(Math.random() * 1_000_000) : Number(values.seed);
const targets = values.target ?? names;
const unknown = targets.filter((name) => !names.includes(name));
if (values.help) {
  process.stdout.write(`${USAGE}targets: ${names.join(', ')}\n`);
  process.exit(0);
}
if (
  !(seconds > 0) ||
  !Number.isSafeInteger(seed) ||
  unknown.length > 0 ||
  (values.input !== undefined && targets.length !== 1)
) {
  process.stderr.write(`${USAGE}targets: ${names.join(', ')}\n`);
  process.exit(2);
}
process.stdout.write(`seed ${seed}, ${targets.length} targets, ${seconds} s each\n`);
const report = await runFuzz({
  targets,
  seed,
  millis: seconds * 1000,
  tell: (line) => process.stdout.write(`${line}\n`),
  ...(values.input === undefined ? {} : { input: readFileSync(values.input) }),
});
process.stdout.write(`${report.inputs} inputs, ${report.finds.length} finds\n`);
process.exitCode = report.finds.length === 0 ? 0 : 1;
