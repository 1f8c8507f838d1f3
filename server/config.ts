import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';

import { LineCounter, isMap, isScalar, parseDocument } from 'yaml';
import type { Node, Pair } from 'yaml';

import type { Endpoint } from '../proto/endpoint.ts';
import { CONFIG_KEYS } from './config-keys.ts';
import { fileProblem } from './file-problem.ts';
import { isServerName, MAX_SERVER_NAMES } from './identity/ca.ts';
import type { SealingMaster } from './identity/seal.ts';
import { MAX_TOKEN_LIFETIME } from './identity/token-keys.ts';
import { isPolicyId } from './policy/policy.ts';
import type { Admission } from './store/records.ts';

export { CONFIG_KEYS } from './config-keys.ts';

/** The configuration of `assayd`, with every default resolved. Times in seconds. */
export interface Config {
  readonly listen: Endpoint;
  /** The HTTPS listener; null where there is none. */
  readonly webListen: Endpoint | null;
  readonly dataDirectory: string;
  /** DNS names and addresses by which agents and callers reach the service. */
  readonly serverNames: readonly string[];
  readonly rootKeyFile: string;
  readonly admission: readonly Admission[];
  /** Id of the trust policy that every enrolment must satisfy; empty where none must. */
  readonly admissionBootPolicy: string;
  readonly maxPendingHosts: number;
  readonly pendingHostLifetime: number;
  readonly agentCertificateLifetime: number;
  readonly akCertificateLifetime: number;
  readonly identityCertificateLifetime: number;
  readonly historyRetention: number;
  readonly maxTokenTtl: number;
  readonly maxConnectionsPerAddress: number;
  readonly reflection: boolean;
  readonly logLevel: string;
}

/** Every problem of a configuration file together. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

type Key = keyof typeof CONFIG_KEYS;
const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error'];
const ADMISSIONS: readonly string[] = ['certificate', 'inventory', 'approval'];

/** Reads and checks a configuration file. Throws {@link ConfigError} with all its problems. */
export function readConfig(file: string): Config {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const missing = 'assayd init writes a first one, and --config names another';
    throw new ConfigError([fileProblem(error, file, missing)]);
  }
  return parseConfig(text, file);
}

/** Checks a configuration text; `file` is named in problems and is what relative paths are relative to. */
export function parseConfig(text: string, file: string): Config {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const problems = document.errors.map(
    ({ message, pos }) => `${file}:${lines.linePos(pos[0]).line}: ${message.split('\n')[0] ?? ''}`,
  );
  const root = document.contents;
  const empty = root === null || (isScalar(root) && root.value === null);
  if (problems.length === 0 && !empty && !isMap(root)) problems.push(`${file}:1: is not a list of keys and values`);
  const reader = new KeyReader((node, problem) => {
    const line = node?.range === undefined || node.range === null ? 1 : lines.linePos(node.range[0]).line;
    problems.push(`${file}:${line}: ${problem}`);
  });
  const pairs = problems.length === 0 && isMap(root) ? root.items : [];
  const config = reader.read(pairs, dirname(resolve(file)));
  if (problems.length > 0) throw new ConfigError(problems);
  return config;
}

class KeyReader {
  readonly #report: (node: Node | null | undefined, problem: string) => void;
  readonly #given = new Map<string, Node | null>();
  readonly #bad = new Set<Key>();

  constructor(report: (node: Node | null | undefined, problem: string) => void) {
    this.#report = report;
  }

  read(pairs: readonly Pair<Node, Node | null>[], directory: string): Config {
    for (const { key, value } of pairs) {
      const name = isScalar(key) ? String(key.value) : '';
      if (!Object.hasOwn(CONFIG_KEYS, name))
        this.#report(
          key,
          `${JSON.stringify(name)} is not a known key; known are ${Object.keys(CONFIG_KEYS).join(', ')}`,
        );
      else this.#given.set(name, value);
    }
    const dataDirectory = resolve(directory, this.#text('data_directory'));
    const rootKeyFile = this.#text('root_key_file');
    return {
      listen: this.#listen('listen'),
      webListen: this.#text('web_listen') === '' ? null : this.#listen('web_listen'),
      dataDirectory,
      serverNames: this.#list('server_names', isServerName, 'a DNS name or an address'),
      rootKeyFile: rootKeyFile === '' ? resolve(dataDirectory, 'root.key') : resolve(directory, rootKeyFile),
      admission: this.#list(
        'admission',
        (name) => ADMISSIONS.includes(name),
        `one of ${ADMISSIONS.join(', ')}`,
      ) as readonly Admission[],
      admissionBootPolicy: this.#policy('admission_boot_policy'),
      maxPendingHosts: this.#count('max_pending_hosts', { min: 1, max: 1_000_000 }),
      pendingHostLifetime: this.#duration('pending_host_lifetime', { min: HOUR, max: 3650 * DAY }),
      agentCertificateLifetime: this.#duration('agent_certificate_lifetime', { min: 10 * MINUTE, max: 90 * DAY }),
      akCertificateLifetime: this.#duration('ak_certificate_lifetime', { min: 10 * MINUTE, max: 3650 * DAY }),
      identityCertificateLifetime: this.#duration('identity_certificate_lifetime', {
        min: 10 * MINUTE,
        max: 3650 * DAY,
      }),
      historyRetention: this.#duration('history_retention', { min: HOUR, max: 3650 * DAY }),
      maxTokenTtl: this.#duration('max_token_ttl', { min: 10, max: MAX_TOKEN_LIFETIME }),
      maxConnectionsPerAddress: this.#count('max_connections_per_address', { min: 1, max: 50_000 }),
      reflection: this.#flag('reflection'),
      logLevel: this.#choice('log_level', LOG_LEVELS),
    };
  }

  #value(key: Key): unknown {
    const node = this.#given.get(key);
    return node === undefined || node === null ? CONFIG_KEYS[key].default : (node.toJSON() as unknown);
  }

  /** The first problem of a key; what else is wrong with it follows from that. */
  #problem<T>(key: Key, problem: string, fallback: T): T {
    if (!this.#bad.has(key)) this.#report(this.#given.get(key), `${key}: ${problem}`);
    this.#bad.add(key);
    return fallback;
  }

  #text(key: Key): string {
    const value = this.#value(key);
    return typeof value === 'string' ? value : this.#problem(key, 'must be text', '');
  }

  #policy(key: Key): string {
    const value = this.#text(key);
    return value === '' || isPolicyId(value) ? value : this.#problem(key, 'must be the id of a trust policy', '');
  }

  #flag(key: Key): boolean {
    const value = this.#value(key);
    return typeof value === 'boolean' ? value : this.#problem(key, 'must be true or false', false);
  }

  #count(key: Key, { min, max }: { readonly min: number; readonly max: number }): number {
    const value = this.#value(key);
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    return this.#problem(key, `must be a whole number from ${min} to ${max}`, min);
  }

  #choice(key: Key, choices: readonly string[]): string {
    const value = this.#text(key);
    return choices.includes(value) ? value : this.#problem(key, `must be one of ${choices.join(', ')}`, value);
  }

  #list(key: Key, isGood: (entry: string) => boolean, meaning: string): readonly string[] {
    const value = this.#value(key);
    if (!Array.isArray(value) || value.length === 0 || value.length > MAX_SERVER_NAMES)
      return this.#problem(key, `must be a list of 1 to ${MAX_SERVER_NAMES} entries`, []);
    const entries = (value as unknown[]).map((entry) => (typeof entry === 'string' ? entry : ''));
    const bad = entries.findIndex((entry) => !isGood(entry));
    return bad === -1 ? [...new Set(entries)] : this.#problem(key, `entry ${bad + 1} must be ${meaning}`, []);
  }

  #duration(key: Key, { min, max }: { readonly min: number; readonly max: number }): number {
    const match = /^([0-9]{1,9})(s|m|h|d)$/.exec(this.#text(key));
    const unit = { s: 1, m: MINUTE, h: HOUR, d: DAY }[match?.[2] ?? ''] ?? Number.NaN;
    const seconds = Number(match?.[1]) * unit;
    if (seconds >= min && seconds <= max) return seconds;
    return this.#problem(key, `must be a time such as 90s, 10m, 24h or 30d, from ${min} s to ${max} s`, min);
  }

  #listen(key: 'listen' | 'web_listen'): Endpoint {
    const match = /^(?:\[([0-9a-fA-F:.%]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(this.#text(key));
    const host = match?.[1] ?? match?.[2] ?? '';
    const port = Number(match?.[3]);
    if (host !== '' && port <= 65_535) return { host, port };
    return this.#problem(key, 'must be HOST:PORT, such as 0.0.0.0:8443 or [::]:8443', {
      host: '127.0.0.1',
      port: 0,
    });
  }
}

const ROOT_KEY_BYTES = 32;

/** The key that seals every stored key: from ASSAYD_ROOT_KEY, or from its file (64 hex digits). Throws {@link ConfigError}. */
export function readRootKey(config: Config): SealingMaster {
  const given = process.env['ASSAYD_ROOT_KEY'];
  const text = given ?? readKeyFile(config.rootKeyFile);
  const secret = Buffer.from(text.trim(), 'hex');
  if (secret.length !== ROOT_KEY_BYTES || text.trim().length !== 2 * ROOT_KEY_BYTES) {
    const source = given === undefined ? config.rootKeyFile : 'ASSAYD_ROOT_KEY';
    throw new ConfigError([`${source}: must hold ${2 * ROOT_KEY_BYTES} hex digits`]);
  }
  return { version: 1, secret };
}

function readKeyFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const problem = fileProblem(error, file, 'put the right file back');
    throw new ConfigError([`the root key, without which the stored keys do not open, cannot be read: ${problem}`]);
  }
}

/**
 * Makes the root key of a new data directory where there is none: neither a file nor ASSAYD_ROOT_KEY. Where a store is already,
 * only the key that it was sealed with is of use, and a new one would hide that it is missing.
 */
export function makeRootKey(config: Config, random: (size: number) => Buffer): void {
  if (process.env['ASSAYD_ROOT_KEY'] !== undefined || isWritten(config.rootKeyFile)) return;
  // A half-written key beside its place is what a process left that was killed here: nothing was sealed with it.
  const left = existsSync(config.dataDirectory) ? readdirSync(config.dataDirectory) : [];
  if (left.some((name) => resolve(config.dataDirectory, name) !== besideOf(config.rootKeyFile))) return;
  writePrivateFile(config.rootKeyFile, `${random(ROOT_KEY_BYTES).toString('hex')}\n`);
}

/** Writes a file that only its owner may read; it must not be there yet. Throws {@link ConfigError}. */
export function writePrivateFile(file: string, content: string): void {
  writeNewFile(file, content, { mode: 0o600, folderMode: 0o700 });
}

function writeNewFile(
  file: string,
  content: string,
  modes: { readonly mode: number; readonly folderMode: number },
): void {
  try {
    mkdirSync(dirname(resolve(file)), { recursive: true, mode: modes.folderMode });
    placeNewFile(file, content, modes.mode);
  } catch (error) {
    throw new ConfigError([fileProblem(error, file)]);
  }
}

/**
 * The file is there as a whole or not at all, however this process or the machine ends, and it is on disk when this returns:
 * what is sealed with a root key must not outlive it.
 */
function placeNewFile(file: string, content: string, mode: number): void {
  const beside = besideOf(file);
  rmSync(beside, { force: true });
  try {
    const handle = openSync(beside, 'wx', mode);
    try {
      writeFileSync(handle, content);
      fsyncSync(handle);
    } finally {
      closeSync(handle);
    }
    // Fails where the file is there; a rename would take its place.
    linkSync(beside, file);
  } finally {
    rmSync(beside, { force: true });
  }
  const directory = openSync(dirname(resolve(file)), 'r');
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

/** Whether a file that is written once is there. The other name, which a killed process left it, goes. */
export function isWritten(file: string): boolean {
  const there = existsSync(file);
  if (there) rmSync(besideOf(file), { force: true });
  return there;
}

/** Takes back a file that was written and is worth nothing. */
export function removePrivateFile(file: string): void {
  rmSync(file, { force: true });
}

/** Where a file is written before it has its name. */
function besideOf(file: string): string {
  return `${file}.new`;
}

/** Writes a first configuration file with the given values; the other keys stand in it as comments. */
export function writeConfig(file: string, values: Partial<Record<Key, string | readonly string[]>>): void {
  const lines = (Object.keys(CONFIG_KEYS) as Key[]).flatMap((key) => {
    const { meaning } = CONFIG_KEYS[key];
    const value = values[key];
    const shown = JSON.stringify(value ?? CONFIG_KEYS[key].default);
    return [`# ${meaning}`, value === undefined ? `# ${key}: ${shown}` : `${key}: ${shown}`, ''];
  });
  const text = `# Configuration of assayd\n\n${lines.join('\n')}`;
  // Nothing is written that would have to be taken back by hand.
  parseConfig(text, file);
  writeNewFile(file, text, { mode: 0o666, folderMode: 0o777 });
}
