// Builds the clients under examples/ by the very commands of docs/sdks.md, each once for a state of contract, example and commands.
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main, root, run } from './process.mjs';
import { say } from './setup.mjs';
import { hasGo, hasJava, hasPython, hasRust } from './toolchains.mjs';

const page = join('docs', 'sdks.md');
const cache = join(root, '.cache', 'examples');
const cargo = join(root, '.cache', 'cargo');

const examples = [
  { name: 'go', language: 'Go', isPossible: hasGo, takes: 'half a minute' },
  { name: 'python', language: 'Python', isPossible: hasPython, takes: 'a quarter of a minute' },
  { name: 'rust', language: 'Rust', isPossible: hasRust, takes: 'one to four minutes, 400 MB on disk' },
  { name: 'java', language: 'Java', isPossible: hasJava, takes: 'half a minute' },
];

/** What builds leave in an example's folder. */
const outputs = new Set(['gen', 'target', 'bin', '.venv', '__pycache__']);

/** Builds what is not current, where its language is; says so. A failure leaves that client's tests to be skipped. */
export async function setUpExamples() {
  mkdirSync(cache, { recursive: true });
  for (const { name, language, isPossible, takes } of examples) {
    const wanted = stateOf(name);
    const stamp = join(cache, name);
    if (readIfThere(stamp) === wanted) continue;
    // The tests run what has a stamp: an example that no longer builds must not leave its former self behind.
    rmSync(stamp, { force: true });
    if (!isPossible()) continue;
    say(`building the example in ${language} (once; ${takes} without caches)`);
    const code = await build(commandsOf(name));
    if (code === 0) writeFileSync(stamp, wanted);
    else say(`the example in ${language} could not be built (exit code ${code}); its tests are skipped`);
  }
}

/** The commands of the page, between its marks. */
function commandsOf(name) {
  const text = readFileSync(join(root, page), 'utf8');
  const found = new RegExp(`<!-- ${name}:begin -->\n\`\`\`sh\n(.*?)\`\`\`\n<!-- ${name}:end -->`, 's').exec(text);
  if (found === null) throw new TypeError(`${page} has no commands for ${name}`);
  return found[1];
}

/** As a person who pastes them, but for what would go into the person's own ~/.cargo. */
function build(commands) {
  const programs = [join(root, 'node_modules', '.bin'), join(cargo, 'bin'), process.env.PATH];
  const env = { ...process.env, PATH: programs.join(delimiter), CARGO_INSTALL_ROOT: cargo };
  return run('sh', ['-euc', commands], { env });
}

/** A digest over all that goes in: contract, example and commands. */
function stateOf(name) {
  const hash = createHash('sha256').update(commandsOf(name));
  for (const path of [...filesUnder(join('proto', 'assay')), ...filesUnder(join('examples', name))]) {
    hash.update(`\n${path}\n`).update(readFileSync(join(root, path)));
  }
  return hash.digest('hex');
}

function filesUnder(folder) {
  const entries = readdirSync(join(root, folder), { withFileTypes: true }).filter(({ name }) => !outputs.has(name));
  const paths = entries.map((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesUnder(path) : [path];
  });
  return paths.flat().sort();
}

function readIfThere(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(setUpExamples);
