import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import pino from 'pino';
import { fetchAuthority } from '../proto/credentials.ts';
import { DEFAULT_LOG_PATHS } from './agent/collect.ts';
import { openHostTpm } from './agent/host-tpm.ts';
import { join } from './agent/join.ts';
import { makeNotifier } from './agent/notify.ts';
import { runAgent } from './agent/run.ts';
import { StateDirectory } from './agent/state.ts';
import { makeTlsKey, publicKeyDer } from './agent/tls-key.ts';
import type { AgentLog, World } from './agent/world.ts';
import type { Context, JoinOptions } from './commands/context.ts';
import { makeProgram } from './commands/program.ts';
import {
  absolutePath,
  exists,
  fileSize,
  listFiles,
  openFile,
  listFolder,
  readEnvironment,
  readPart,
  readStandardInput,
  readVersion,
  tryFile,
  writeSecretFile,
  writeTextFile,
} from './config.ts';
import type { Environment } from './config.ts';
import { describeFailure, EXIT } from './failure.ts';
import { makeHumanLog } from './log.ts';
import { sleep } from './sdk/backoff.ts';
import { connect } from './sdk/client.ts';
import { fetchJwks } from './sdk/jwks.ts';
import { parseAddress } from './sdk/profile.ts';

/** The `assay` program: puts the house together. Clock, randomness, files and processes enter here and are passed on. */

const now = (): Date => new Date();
const random = (): number => Math.random();
const ending = new AbortController();

async function main(): Promise<number> {
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => ending.abort());
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // Whoever read the output has seen enough, as in `assay result watch | head`.
    if (error.code === 'EPIPE') process.exit(EXIT.ok);
    throw error;
  });
  let exitCode: number = EXIT.ok;
  try {
    const context = makeContext(readEnvironment(), (code) => {
      exitCode = code;
    });
    await makeProgram(context).parseAsync(process.argv);
    return exitCode;
  } catch (error) {
    if (ending.signal.aborted) return EXIT.interrupted;
    const { exitCode: failed, lines } = describeFailure(error);
    for (const line of lines) process.stderr.write(`${line}\n`);
    return failed;
  }
}

function makeContext(environment: Environment, setExitCode: (code: number) => void): Context {
  const version = readVersion();
  const surroundings = { environment, version };
  return {
    version,
    write: (text) => void process.stdout.write(text),
    writeError: (text) => void process.stderr.write(text),
    style: {
      colours: process.stdout.isTTY && !environment.noColour,
      // A terminal that does not know its size says 0.
      ...(process.stdout.isTTY && process.stdout.columns > 0 ? { width: process.stdout.columns } : {}),
    },
    signal: ending.signal,
    defaults: { ...environment, logs: DEFAULT_LOG_PATHS },
    readFile: (path, limit) => (path === '-' ? readStandardInput(limit) : readPart(path, { offset: 0, limit })),
    files: { openFile, absolutePath, listFiles, unpackDeb },
    listFolder,
    exists,
    tryFile,
    writeSecretFile,
    writeTextFile,
    connect: (profile) => connect({ ...profile, now, random }),
    now,
    fetchJwks: (url, authority) => fetchJwks({ url, authority, now, signal: ending.signal }),
    makeKey: () => {
      const privateKey = makeTlsKey();
      return { privateKey, publicKey: publicKeyDer(privateKey) };
    },
    agent: {
      join: (options) =>
        withWorld(surroundings, { path: options.state, create: true }, (world) => joinService(world, options)),
      run: ({ state, wishPause }) =>
        withWorld(surroundings, { path: state, create: false }, (world) =>
          runAgent(world, ending.signal, { wishPause }),
        ),
    },
    setExitCode,
  };
}

function joinService(world: World, options: JoinOptions): ReturnType<typeof join> {
  const { server, serviceFingerprint, ...others } = options;
  const query = { ...parseAddress(server), fingerprint: serviceFingerprint, now, signal: ending.signal };
  return join(
    world,
    { ...others, server, pin: serviceFingerprint, fetchAuthority: () => fetchAuthority(query) },
    ending.signal,
  );
}

/** The real world of an agent, its state directory locked until the work is done. */
async function withWorld<T>(
  { environment, version }: { readonly environment: Environment; readonly version: string },
  { path, create }: { readonly path: string; readonly create: boolean },
  use: (world: World) => Promise<T>,
): Promise<T> {
  const log = makeLog(environment);
  const state = await StateDirectory.open(path, { create });
  try {
    return await use({
      state,
      openTpm: openHostTpm,
      connect: ({ server, authority, identity }) =>
        connect({ server, authority, certificate: identity.certificate, key: identity.privateKey, now, random }),
      read: readPart,
      fileSize,
      agentVersion: version,
      now,
      random,
      randomBytes: (size) => randomBytes(size),
      sleep,
      log,
      notifier: makeNotifier({
        systemdNotify: environment.notify ? systemdNotify : undefined,
        watchdogMicros: environment.watchdogMicros,
        signal: ending.signal,
        onError: (error) =>
          log.debug({ error: String(error) }, 'systemd-notify did not run: the service manager is told nothing'),
      }),
    });
  } finally {
    await state.close();
  }
}

/** Sentences where a person reads along, one JSON object a line for everything else. */
function makeLog({ logLevel }: Environment): AgentLog {
  if (process.stderr.isTTY) {
    return makeHumanLog({ level: logLevel, write: (text) => void process.stderr.write(text), now });
  }
  return pino(
    { level: logLevel, base: { program: 'assay' }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: process.stderr.fd, sync: true }),
  );
}

/** What a Debian package installs, as dpkg unpacks it. */
async function* unpackDeb(path: string): AsyncGenerator<Buffer> {
  const child = spawn('dpkg-deb', ['--fsys-tarfile', path], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.on('data', (text: Buffer) => void (said = (said + text.toString()).slice(0, 1000)));
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  });
  ended.catch(() => undefined);
  try {
    yield* child.stdout as AsyncIterable<Buffer>;
    const code = await ended;
    if (code !== 0) throw new Error(said.trim() === '' ? `dpkg-deb ended with code ${code}` : said.trim());
  } finally {
    child.kill();
  }
}

async function systemdNotify(assignments: readonly string[]): Promise<void> {
  await promisify(execFile)('systemd-notify', [...assignments], { timeout: 5000 });
}

process.exitCode = await main();
