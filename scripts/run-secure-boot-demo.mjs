// `npm run demo:secure-boot`, in any checkout: sets up what is missing, then runs the demo under the right Node.
import { join } from 'node:path';
import { become, findNode, main, root } from './process.mjs';
import { setUpMachine } from './setup-machine.mjs';
import { setUpNode, setUpSystem } from './setup.mjs';

await main(async () => {
  await setUpSystem();
  await setUpMachine();
  await setUpNode();
  await become(findNode(), [join(root, 'scripts', 'demo-secure-boot.ts'), ...process.argv.slice(2)], { cwd: root });
});
