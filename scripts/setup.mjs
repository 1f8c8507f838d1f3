// Brings a fresh checkout to the point where everything runs: system packages, npm packages (the right Node among them), grpcurl,
// and Python packages for the agent in another language.
import { copyFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SetUpError, findNode, findProgram, main, outputOf, root, run } from './process.mjs';
import { hasGo, hasPython } from './toolchains.mjs';

/** What the end-to-end tests and the demo need of the system. Looked for by what it is, so that a self-built one counts. */
const systemPackages = [
  { apt: 'swtpm', what: 'swtpm, a software TPM 2.0', isHere: () => findProgram('swtpm') !== undefined },
  { apt: 'swtpm-tools', what: 'swtpm_setup, swtpm_localca', isHere: () => findProgram('swtpm_setup') !== undefined },
  {
    // It depends on every library of the TSS by whatever name the release gives them.
    apt: 'libtss2-dev',
    what: 'the libraries of tpm2-tss',
    isHere: () => ['libtss2-esys', 'libtss2-mu', 'libtss2-tctildr', 'libtss2-rc'].every(hasLibrary),
  },
  // Nothing depends on it: a TCTI is found by its name at run time.
  { apt: 'libtss2-tcti-swtpm0', what: 'the swtpm TCTI of tpm2-tss', isHere: () => hasLibrary('libtss2-tcti-swtpm') },
  {
    apt: 'tpm2-tools',
    what: 'tpm2-tools',
    isHere: () => ['tpm2_getcap', 'tpm2_eventlog', 'tpm2_checkquote'].every((name) => findProgram(name) !== undefined),
  },
];

/** grpcurl comes from source and only where Go is; without it `buf curl` speaks the same protocol. */
const grpcurl = {
  module: 'github.com/fullstorydev/grpcurl/cmd/grpcurl',
  version: 'v1.9.3',
  // Named by version, so that another pin builds anew; `vitest.config.ts` tells the tests of it.
  folder: join(root, '.cache', 'grpcurl-v1.9.3'),
};

/** A virtual environment for the agent in another language; without it that agent's tests are skipped. */
const python = {
  requirements: join(root, 'test', 'other-language', 'python', 'requirements.txt'),
  folder: join(root, '.cache', 'python'),
};

/** Installs all that is missing and says so; where all is there it prints nothing. Throws SetUpError with what to do by hand. */
export async function setUp() {
  await setUpSystem();
  await setUpNode();
  await setUpGrpcurl();
  await setUpPython();
}

let libraries;

function hasLibrary(name) {
  // ldconfig stands in a folder that a plain user's PATH may lack.
  libraries ??= outputOf('/sbin/ldconfig', ['-p']) ?? '';
  return libraries.includes(`${name}.so.`);
}

/** A software TPM, the TSS and the TPM tools, by apt. */
export async function setUpSystem() {
  await installPackages(systemPackages, "Assay's tests need");
}

/** Installs what is missing of some system packages by apt; on other systems it says what that is. */
export async function installPackages(packages, whoNeeds) {
  const missing = packages.filter((candidate) => !candidate.isHere());
  if (missing.length === 0) return;
  if (findProgram('apt-get') === undefined) {
    const list = missing.map(({ what, apt: name }) => `  ${what} (Debian: ${name})`).join('\n');
    throw new SetUpError(`${whoNeeds} these from your system; install them and run this again:\n${list}`);
  }
  const names = missing.map((candidate) => candidate.apt);
  say(`installing system packages: ${names.join(' ')}`);
  await apt('update', '-q');
  await apt('install', '-y', '-q', '--no-install-recommends', ...names);
  libraries = undefined;
  const still = missing.filter((candidate) => !candidate.isHere()).map(({ what }) => what);
  if (still.length > 0) throw new SetUpError(`apt-get succeeded, yet this is still missing: ${still.join(', ')}`);
}

export async function apt(...args) {
  const command = ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args];
  if (process.getuid() !== 0) {
    if (findProgram('sudo') === undefined) {
      throw new SetUpError(`not root and no sudo; run as root:\n  apt-get ${args.join(' ')}`);
    }
    command.unshift('sudo');
  }
  const code = await run(command[0], command.slice(1));
  if (code !== 0)
    throw new SetUpError(`apt-get ${args[0]} failed (exit code ${code}); run by hand: apt-get ${args.join(' ')}`);
}

/** `node_modules` as the lock file has it, the right Node in it. */
export async function setUpNode() {
  if (nodePackagesAreCurrent()) return;
  say('installing npm packages by `npm ci`, Node among them (once, about 560 MB on disk)');
  const [command, ...args] = npmCommand();
  const code = await run(command, [...args, 'ci', '--no-fund', '--no-audit', '--loglevel=error']);
  if (code !== 0) throw new SetUpError(`npm ci failed (exit code ${code})`);
  if (findNode() === undefined) {
    throw new SetUpError(
      'npm ci brought no Node: the `node` package needs its install script. ' +
        'Run `npm rebuild --ignore-scripts=false node`, or start this with Node 24 or newer',
    );
  }
}

/** Is what npm wrote down of node_modules what the lock file asks for? Packages for other platforms may be absent. */
function nodePackagesAreCurrent() {
  const wanted = readPackages(join(root, 'package-lock.json'));
  const installed = readPackages(join(root, 'node_modules', '.package-lock.json'));
  if (installed === undefined || findNode() === undefined) return false;
  const present = Object.entries(wanted).filter(
    ([path, entry]) => path !== '' && !(entry.optional && !installed[path]),
  );
  return (
    present.every(([path, entry]) => installed[path]?.integrity === entry.integrity && existsSync(join(root, path))) &&
    Object.keys(installed).every((path) => wanted[path] !== undefined)
  );
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The npm that started this, run by its own Node: the one under node_modules is about to be replaced. */
function npmCommand() {
  const { npm_execpath: npm, npm_node_execpath: node } = process.env;
  if (npm?.endsWith('npm-cli.js') && node !== undefined && existsSync(node) && !node.startsWith(root))
    return [node, npm];
  return ['npm'];
}

async function setUpGrpcurl() {
  if (existsSync(grpcurlPath) || !hasGo()) return;
  say(`building grpcurl ${grpcurl.version} by \`go install\` (once, one or two minutes)`);
  mkdirSync(grpcurl.folder, { recursive: true });
  const env = { ...process.env, GOBIN: grpcurl.folder };
  const code = await run('go', ['install', `${grpcurl.module}@${grpcurl.version}`], { env });
  if (code === 0) return;
  say(`grpcurl could not be built (exit code ${code}); the tests call \`buf curl\` alone`);
}

/** Where the built grpcurl lies; the file is absent where Go was. */
export const grpcurlPath = join(grpcurl.folder, 'grpcurl');

async function setUpPython() {
  // Copied there last: another pin, or a set-up that broke off, makes a new one. So does a Python that the system replaced.
  const done = join(python.folder, 'requirements.txt');
  const wanted = readFileSync(python.requirements, 'utf8');
  const isCurrent = existsSync(done) && readFileSync(done, 'utf8') === wanted;
  if (isCurrent && outputOf(pythonPath, ['-c', 'import grpc_tools']) !== undefined) return;
  if (!hasPython()) return;
  say('making a Python environment by `python3 -m venv` and `pip install` (once, about 80 MB on disk)');
  const quiet = ['--quiet', '--disable-pip-version-check', '--no-input'];
  // Wheels alone: building grpcio from source takes an hour where a Python has none.
  const install = ['-m', 'pip', 'install', ...quiet, '--only-binary=:all:', '--requirement', python.requirements];
  const code = (await run('python3', ['-m', 'venv', '--clear', python.folder])) || (await run(pythonPath, install));
  if (code === 0) copyFileSync(python.requirements, done);
  else
    say(`the Python environment could not be made (exit code ${code}); the tests of the client in Python are skipped`);
}

/** The environment's Python; its folder holds requirements.txt once all of them are installed. */
const pythonPath = join(python.folder, 'bin', 'python');

export function say(text) {
  process.stdout.write(`set-up: ${text}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(setUp);
