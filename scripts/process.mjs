// Runs other programs. Plain JavaScript without dependencies: it works under any Node >= 20, before anything is installed.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** What Assay runs on: types are stripped by Node itself, which Node 20 cannot. */
const neededMajor = 24;

/** The Node that `npm ci` brings. `sh` and npm may still hold the path of an older one, so it is always named in full. */
export const pinnedNode = join(root, 'node_modules', '.bin', 'node');

/** Path of a Node that can run TypeScript, or undefined where none is installed. */
export function findNode() {
  if (existsSync(pinnedNode)) return pinnedNode;
  return Number.parseInt(process.versions.node, 10) >= neededMajor ? process.execPath : undefined;
}

/** Path of an executable on PATH, or undefined. */
export function findProgram(name) {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder: the next may have it.
    }
  }
  return undefined;
}

/** What a program prints, or undefined where it is missing or fails. */
export function outputOf(command, args) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  return result.status === 0 ? result.stdout : undefined;
}

/**
 * Runs a program on this terminal and resolves to its exit code (128 + number where a signal ended it). Signals that
 * reach this process go on to the program, which decides what they mean; this process outlives it by no time.
 */
export function run(command, args, { env = process.env, cwd = root, stdio = 'inherit' } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd, env, stdio });
    const forward = (signal) => {
      // Ctrl-C at a terminal reaches the whole group already: sent twice, it would cut a graceful stop short.
      if (!(signal === 'SIGINT' && process.stdin.isTTY)) child.kill(signal);
    };
    const forwarded = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'];
    for (const signal of forwarded) process.on(signal, forward);
    child.once('error', reject);
    child.once('close', (code, signal) => {
      for (const name of forwarded) process.off(name, forward);
      resolve(code ?? 128 + osConstants.signals[signal]);
    });
  });
}

/** Becomes another program where this Node can (no process stays between it and its caller), else runs it and ends with it. */
export async function become(command, args, { env = process.env, cwd = process.cwd() } = {}) {
  if (process.execve !== undefined && process.platform !== 'win32') {
    process.chdir(cwd);
    process.execve(command, [command, ...args], env);
  }
  process.exitCode = await run(command, args, { env, cwd });
}

/** Ends a script with a sentence for the person at the terminal. */
export class SetUpError extends Error {}

/** Runs a script's main function; what it throws on purpose is printed without a stack. */
export async function main(body) {
  try {
    await body();
  } catch (error) {
    if (!(error instanceof SetUpError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}
