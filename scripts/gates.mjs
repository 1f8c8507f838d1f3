// What a change must hold, besides its tests. `node scripts/gates.mjs` lists the gates, `node scripts/gates.mjs NAME` runs one.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkGenerated } from './generate.mjs';
import { root } from './process.mjs';
import { tool } from './tool.mjs';

/** The contract as the last release had it: `buf build --output` of that commit. Absent before the first release. */
const releasedContract = join('proto', 'released.binpb');

/** Each gate resolves to an exit code and prints what is wrong. */
export const gates = [
  { name: 'types hold', run: () => tool('tsc', ['-p', '.']) },
  { name: 'lint', run: () => tool('oxlint', []) },
  { name: 'format', run: () => tool('oxfmt', ['--check']) },
  { name: 'import arrows hold', run: () => tool('vitest', ['run', 'test/architecture.test.ts']) },
  { name: 'buf lint', run: () => tool('buf', ['lint']) },
  { name: 'buf format', run: () => tool('buf', ['format', '--diff', '--exit-code']) },
  { name: 'buf breaking', run: checkBreaking },
  { name: 'generated code is current', run: checkGenerated },
];

async function checkBreaking() {
  if (existsSync(join(root, releasedContract))) return tool('buf', ['breaking', '--against', releasedContract]);
  console.log(`no release yet: there is no ${releasedContract} to compare the contract with`);
  return 0;
}

async function runOne(name) {
  const gate = gates.find((candidate) => candidate.name === name);
  if (gate === undefined) throw new TypeError(`no gate is called '${name}'`);
  return gate.run();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const name = process.argv[2];
  if (name === undefined) console.log(gates.map((gate) => gate.name).join('\n'));
  else process.exitCode = await runOne(name);
}
