// `npm run bench`, in any checkout: sets up what is missing, then measures under the right Node. bench/README.md explains.
import { join } from 'node:path';
import { become, findNode, main, root } from './process.mjs';
import { setUpNode } from './setup.mjs';

await main(async () => {
  await setUpNode();
  await become(findNode(), [join(root, 'bench', 'main.ts'), ...process.argv.slice(2)], { cwd: root });
});
