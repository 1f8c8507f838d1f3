import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { become, findNode, root } from './process.mjs';

/** Runs one of the checkout's programs (`server/main.ts`, `client/main.ts`) with this process' arguments, under the right Node. */
export async function launch(program, entry) {
  const node = findNode();
  if (node === undefined || !existsSync(join(root, 'node_modules', '@bufbuild', 'protobuf'))) {
    process.stderr.write(`${program}: not set up yet: run \`npm ci\` in ${root}\n`);
    process.exitCode = 1;
    return;
  }
  await become(node, [join(root, entry), ...process.argv.slice(2)]);
}
