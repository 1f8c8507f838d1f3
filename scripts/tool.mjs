import { delimiter, join } from 'node:path';
import { root, run } from './process.mjs';

const folder = join(root, 'node_modules', '.bin');

/** Runs a program of `node_modules/.bin` and resolves to its exit code. Its `#!/usr/bin/env node` finds the pinned Node. */
export function tool(name, args) {
  return run(join(folder, name), args, { env: { ...process.env, PATH: `${folder}${delimiter}${process.env.PATH}` } });
}
