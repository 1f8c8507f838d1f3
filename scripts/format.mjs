// `npm run format`: writes every file in the form that the gate 'format' asks for.
import { main } from './process.mjs';
import { setUpNode } from './setup.mjs';
import { tool } from './tool.mjs';

await main(async () => {
  await setUpNode();
  const codes = [await tool('oxfmt', []), await tool('buf', ['format', '--write'])];
  process.exitCode = Math.max(...codes);
});
