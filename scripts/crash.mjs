// `npm run crash -- --kills N --seed N`, in any checkout: sets up what is missing, then runs the crash test under the right Node.
import { join } from 'node:path';
import { become, findNode, main, root } from './process.mjs';
import { setUpNode, setUpSystem } from './setup.mjs';

await main(async () => {
  await setUpSystem();
  await setUpNode();
  await become(findNode(), [join(root, 'test', 'crash', 'main.ts'), ...process.argv.slice(2)], { cwd: root });
});
