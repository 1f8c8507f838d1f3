import { constants, readFileSync } from 'node:fs';
import { isUtf8 } from 'node:buffer';
import { access, mkdir, open, opendir, readdir, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { UsageError } from './failure.ts';

/** What the programs read of their surroundings, and the few files that commands read and write. */

export interface Environment {
  /** ASSAY_PROFILE, else ~/.config/assay/profile.json (XDG_CONFIG_HOME is honoured). */
  readonly profile: string;
  /** ASSAY_STATE, else /var/lib/assay/agent. */
  readonly state: string;
  /** ASSAY_TCTI, else device:/dev/tpmrm0. */
  readonly tcti: string;
  /** NO_COLOR (no-color.org) is set. */
  readonly noColour: boolean;
  /** ASSAY_LOG: debug, info (default), warn or error. */
  readonly logLevel: LogLevel;
  /** NOTIFY_SOCKET is set: a service manager listens (sd_notify(3)). */
  readonly notify: boolean;
  /** WATCHDOG_USEC, where the watchdog is meant for this process. */
  readonly watchdogMicros: number | undefined;
}

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Reads the environment. A level that does not exist is an error that names the variable. */
export function readEnvironment(env: NodeJS.ProcessEnv = process.env): Environment {
  const configHome = nonEmpty(env['XDG_CONFIG_HOME']) ?? join(homedir(), '.config');
  const watchdog = Number(env['WATCHDOG_USEC']);
  const watchdogPid = nonEmpty(env['WATCHDOG_PID']);
  const watched = Number.isSafeInteger(watchdog) && watchdog > 0;
  return {
    profile: nonEmpty(env['ASSAY_PROFILE']) ?? join(configHome, 'assay', 'profile.json'),
    state: nonEmpty(env['ASSAY_STATE']) ?? '/var/lib/assay/agent',
    tcti: nonEmpty(env['ASSAY_TCTI']) ?? 'device:/dev/tpmrm0',
    noColour: nonEmpty(env['NO_COLOR']) !== undefined,
    logLevel: logLevelOf(nonEmpty(env['ASSAY_LOG'])),
    notify: nonEmpty(env['NOTIFY_SOCKET']) !== undefined,
    watchdogMicros:
      watched && (watchdogPid === undefined || Number(watchdogPid) === process.pid) ? watchdog : undefined,
  };
}

/** Version of the package that this program stands in. */
export function readVersion(): string {
  const text = readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8');
  const { version } = JSON.parse(text) as { readonly version: string };
  return version;
}

/**
 * Reads a file from an offset on, at most `limit` bytes; more is an error with code EFBIG. Files of the kernel have no size
 * that could be asked for first.
 */
export async function readPart(
  path: string,
  { offset, limit }: { readonly offset: number; readonly limit: number },
): Promise<Buffer> {
  const file = await open(path, constants.O_RDONLY);
  try {
    const parts: Buffer[] = [];
    let total = 0;
    for (;;) {
      const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, limit - total + 1));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, offset + total);
      if (bytesRead === 0) return Buffer.concat(parts, total);
      total += bytesRead;
      if (total > limit) throw Object.assign(new Error(`${path} is larger than ${limit} bytes`), { code: 'EFBIG' });
      parts.push(buffer.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}

/** Bytes of a file; nothing is opened. Files of the kernel have none. */
export async function fileSize(path: string): Promise<number> {
  return (await stat(path)).size;
}

/** Reads standard input to its end, within a limit. */
export async function readStandardInput(limit: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let total = 0;
  for await (const part of process.stdin as AsyncIterable<Buffer>) {
    total += part.length;
    if (total > limit)
      throw Object.assign(new Error(`standard input is larger than ${limit} bytes`), { code: 'EFBIG' });
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/** Bytes of a file as they come; `-` is standard input. */
export async function openFile(path: string): Promise<AsyncIterable<Buffer>> {
  if (path === '-') return process.stdin as AsyncIterable<Buffer>;
  const file = await open(path, constants.O_RDONLY);
  if ((await file.stat()).isDirectory()) {
    await file.close();
    throw Object.assign(new Error(`${path} is a directory`), { code: 'EISDIR' });
  }
  // Closes the file when it ends, and when nobody goes on reading.
  return file.createReadStream({ highWaterMark: READ_BYTES }) as AsyncIterable<Buffer>;
}

/** From the working directory on. */
export function absolutePath(path: string): string {
  return resolve(path);
}

/**
 * The regular files below a directory in the order of their names, as absolute paths. Links are not followed, and other file
 * systems, such as /proc, not entered.
 */
export async function* listFiles(directory: string): AsyncGenerator<string> {
  const base = resolve(directory);
  yield* filesBelow(base, (await stat(base)).dev);
}

async function* filesBelow(base: string, device: number): AsyncGenerator<string> {
  if ((await stat(base)).dev !== device) return;
  const entries = await readdir(base, { withFileTypes: true, encoding: 'buffer' });
  for (const entry of entries.toSorted((a, b) => Buffer.compare(a.name, b.name))) {
    if (!isUtf8(entry.name)) throw new Error(`${base} holds a name that is not UTF-8`);
    const path = join(base, entry.name.toString('utf8'));
    if (entry.isDirectory()) yield* filesBelow(path, device);
    else if (entry.isFile()) yield path;
  }
}

/** Names in a folder, at most `limit`; more is an error with code EFBIG. */
export async function listFolder(path: string, limit: number): Promise<readonly string[]> {
  const names: string[] = [];
  for await (const { name } of await opendir(path)) {
    if (names.length >= limit) throw Object.assign(new Error(`${path} holds more than ${limit}`), { code: 'EFBIG' });
    names.push(name);
  }
  return names.toSorted();
}

/** Is there anything at this path that could be overwritten? */
export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Fails as {@link writeSecretFile} would, where that can be known before; leaves no file behind. */
export async function tryFile(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await needNoFolder(path);
  const temporary = `${path}.new`;
  await rm(temporary, { force: true });
  await (await open(temporary, 'wx', 0o600)).close();
  await rm(temporary, { force: true });
}

/** Writes a file that holds a key: mode 0600, flushed, replaced as a whole. Missing folders are made with mode 0700. */
export async function writeSecretFile(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await replaceFile(path, text, 0o600);
}

/** Writes a file that others may read, flushed, replaced as a whole; one that is there keeps its mode. */
export async function writeTextFile(path: string, text: string): Promise<void> {
  const mode = await stat(path).then(
    (found) => found.mode & 0o777,
    () => 0o644,
  );
  await replaceFile(path, text, mode);
}

async function replaceFile(path: string, text: string, mode: number): Promise<void> {
  await needNoFolder(path);
  const temporary = `${path}.new`;
  await rm(temporary, { force: true });
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function needNoFolder(path: string): Promise<void> {
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (isFolder) throw Object.assign(new Error(`${path} is a directory`), { code: 'EISDIR' });
}

const READ_BYTES = 256 * 1024;

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text === '' ? undefined : text;
}

function logLevelOf(text: string | undefined): LogLevel {
  if (text === undefined) return 'info';
  const level = LOG_LEVELS.find((candidate) => candidate === text);
  if (level === undefined) throw new UsageError(`ASSAY_LOG must be one of ${LOG_LEVELS.join(', ')}`);
  return level;
}
