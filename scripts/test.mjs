// `npm test`, in any checkout: sets up what is missing, then runs vitest with the arguments given.
import { join } from 'node:path';
import { become, findNode, main, root } from './process.mjs';
import { setUpExamples } from './setup-examples.mjs';
import { setUpMachineForTests } from './setup-machine.mjs';
import { setUp } from './setup.mjs';

await main(async () => {
  await setUp();
  await setUpExamples();
  await setUpMachineForTests();
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  await become(findNode(), [vitest, 'run', ...process.argv.slice(2)], { cwd: root });
});
