// `npm run generate`: TypeScript from the proto files, ours and the standard ones that npm packages carry.
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main, root } from './process.mjs';
import { setUpNode } from './setup.mjs';
import { tool } from './tool.mjs';

const committed = join('proto', 'gen');

/** Generates anew beside the checkout and compares: resolves to 0 where `proto/gen` is what the proto files yield. */
export async function checkGenerated() {
  const fresh = mkdtempSync(join(tmpdir(), 'assay-generated-'));
  try {
    const code = await tool('buf', ['generate', '--output', fresh]);
    if (code !== 0) return code;
    const differences = compare(filesUnder(join(root, committed)), filesUnder(join(fresh, committed)));
    for (const difference of differences) console.error(difference);
    if (differences.length > 0) console.error('run `npm run generate` and commit what it writes');
    return differences.length > 0 ? 1 : 0;
  } finally {
    rmSync(fresh, { recursive: true });
  }
}

/** Sentences for every file that is missing, superfluous or different. */
function compare(present, wanted) {
  const paths = [...new Set([...present.keys(), ...wanted.keys()])].sort();
  return paths.flatMap((path) => {
    const name = join(committed, path);
    if (!present.has(path)) return [`${name} is missing`];
    if (!wanted.has(path)) return [`${name} comes from no proto file`];
    return present.get(path) === wanted.get(path) ? [] : [`${name} is out of date`];
  });
}

function filesUnder(folder) {
  if (!existsSync(folder)) return new Map();
  const paths = readdirSync(folder, { recursive: true }).filter((path) => statSync(join(folder, path)).isFile());
  return new Map(paths.map((path) => [path, readFileSync(join(folder, path), 'utf8')]));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(async () => {
    await setUpNode();
    process.exitCode = await tool('buf', ['generate']);
  });
}
