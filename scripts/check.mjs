// `npm run check`: all that CI checks, except the end-to-end tests. Runs every gate, also after one failed.
import { gates } from './gates.mjs';
import { main } from './process.mjs';
import { setUp } from './setup.mjs';
import { tool } from './tool.mjs';

const unitTests = { name: 'unit tests', run: () => tool('vitest', ['run', '--exclude', 'test/e2e/**']) };

await main(async () => {
  await setUp();
  const failed = [];
  for (const { name, run } of [...gates, unitTests]) {
    console.log(`== ${name}`);
    if ((await run()) !== 0) failed.push(name);
  }
  console.log(failed.length === 0 ? '== all hold' : `== failed: ${failed.join(', ')}`);
  process.exitCode = failed.length === 0 ? 0 : 1;
});
