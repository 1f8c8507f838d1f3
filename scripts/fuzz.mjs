// `npm run fuzz -- --target NAME --seconds N --seed N`, in any checkout: sets up what is missing, then fuzzes under the right Node.
import { join } from 'node:path';
import { become, findNode, main, root } from './process.mjs';
import { setUpNode, setUpSystem } from './setup.mjs';

await main(async () => {
  await setUpSystem();
  await setUpNode();
  await become(findNode(), [join(root, 'test', 'fuzz', 'main.ts'), ...process.argv.slice(2)], { cwd: root });
});
