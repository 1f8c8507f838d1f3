// `npm run demo`, in any checkout: sets up what is missing, then runs the demo under the right Node.
import { join } from 'node:path';
import { become, findNode, main, root } from './process.mjs';
import { grpcurlPath, setUpNode, setUpSystem } from './setup.mjs';

await main(async () => {
  await setUpSystem();
  await setUpNode();
  // Not built for the demo, but shown where the tests have built it.
  process.env.ASSAY_GRPCURL ??= grpcurlPath;
  await become(findNode(), [join(root, 'scripts', 'demo.ts'), ...process.argv.slice(2)], { cwd: root });
});
