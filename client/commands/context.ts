import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import type { AkAlgorithm } from '../agent/host-tpm.ts';
import type { LogPaths } from '../agent/collect.ts';
import type { VerifiedAnswer } from '../agent/verify-service.ts';
import { UsageError } from '../failure.ts';
import { escapeText, formatJson } from '../output.ts';
import type { TableStyle } from '../output.ts';
import type { FileSource } from '../references/hash-files.ts';
import type { AssayClient } from '../sdk/client.ts';
import { parseProfile } from '../sdk/profile.ts';
import type { Profile } from '../sdk/profile.ts';
import type { JsonValue } from '../sdk/resources.ts';
import { SdkError } from '../sdk/sdk-error.ts';
import { fileReason, writeHint } from '../file-reason.ts';

/** What the commands need of the world around them; main.ts has the real one, tests have fakes. */
export interface Context {
  readonly version: string;
  /** To standard output. */
  readonly write: (text: string) => void;
  /** To standard error. */
  readonly writeError: (text: string) => void;
  /** How tables look on standard output. */
  readonly style: TableStyle;
  /** Aborts when the program is asked to end. */
  readonly signal: AbortSignal;
  readonly defaults: {
    readonly profile: string;
    readonly state: string;
    readonly tcti: string;
    readonly logs: LogPaths;
  };
  /** At most so many bytes; `-` is standard input. */
  readonly readFile: (path: string, limit: number) => Promise<Buffer>;
  /** Whole files, trees and packages, as they come. */
  readonly files: FileSource;
  /** Names in a folder, at most so many. */
  readonly listFolder: (path: string, limit: number) => Promise<readonly string[]>;
  readonly exists: (path: string) => Promise<boolean>;
  /** Fails as a file would that is written there. */
  readonly tryFile: (path: string) => Promise<void>;
  /** Writes a file of mode 0600. */
  readonly writeSecretFile: (path: string, text: string) => Promise<void>;
  /** Writes a file that others may read, replaced as a whole. */
  readonly writeTextFile: (path: string, text: string) => Promise<void>;
  readonly connect: (profile: Profile) => AssayClient;
  readonly now: () => Date;
  /** Fetches a key set from a service that is known by its CA (DER). */
  readonly fetchJwks: (url: URL, authority: Buffer) => Promise<Buffer>;
  /** A new P-256 key: PKCS#8 PEM, and its SubjectPublicKeyInfo (DER). */
  readonly makeKey: () => { readonly privateKey: string; readonly publicKey: Buffer };
  readonly agent: {
    readonly join: (options: JoinOptions) => Promise<VerifiedAnswer>;
    readonly run: (options: {
      readonly state: string;
      /** Milliseconds. */
      readonly wishPause: number | 'off';
    }) => Promise<void>;
  };
  /** The code that the program exits with, unless an error says another. */
  readonly setExitCode: (code: number) => void;
}

export interface JoinOptions {
  readonly server: string;
  readonly serviceFingerprint: string;
  readonly state: string;
  readonly tcti: string;
  readonly akAlgorithm: AkAlgorithm;
  readonly logs: LogPaths;
}

/** Options that every command of an operator has. */
export interface OperatorOptions {
  readonly profile: string;
  readonly output: 'table' | 'json';
}

const MAX_PROFILE_BYTES = 256 * 1024;

/** Gives a command `--profile` and `--output`. */
export function operatorCommand(context: Context, parent: Command, usage: string, description: string): Command {
  return parent
    .command(usage)
    .description(description)
    .addOption(profileOption().default(context.defaults.profile))
    .addOption(outputOption().default('table'));
}

export function profileOption(): Option {
  return new Option('--profile <file>', 'who calls which service');
}

export function outputOption(): Option {
  return new Option('--output <form>', 'for people or for scripts').choices(['table', 'json']);
}

/** Connects as the profile says and ends the connection when the work is done. */
export async function withService<T>(
  context: Context,
  options: OperatorOptions,
  use: (client: AssayClient, profile: Profile) => Promise<T>,
): Promise<T> {
  const profile = await readProfile(context, options.profile);
  const client = context.connect(profile);
  try {
    return await use(client, profile);
  } finally {
    client.close();
  }
}

export async function readProfile(context: Context, path: string): Promise<Profile> {
  const text = (await readNamedFile(context, path, MAX_PROFILE_BYTES, 'profile')).toString('utf8');
  try {
    return parseProfile(text);
  } catch (error) {
    if (error instanceof SdkError) throw new UsageError(`${path}: ${error.message}`, { cause: error });
    throw error;
  }
}

/** Reads a file that an option or argument names; what is wrong with it is wrong usage. */
export async function readNamedFile(context: Context, path: string, limit: number, what: string): Promise<Buffer> {
  try {
    return await context.readFile(path, limit);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    const hint = what === 'profile' && code === 'ENOENT' ? ['hint: name one by --profile or ASSAY_PROFILE'] : [];
    throw new UsageError(`${what} ${path}: ${fileReason(cause)}`, { cause, problems: hint });
  }
}

/** Writes a file that an option names, by one of the ways of {@link Context}; what is wrong with it is wrong usage. */
export async function writeNamedFile(
  path: string,
  write: (path: string) => Promise<void>,
  hints: readonly string[] = [],
): Promise<void> {
  try {
    await write(path);
  } catch (cause) {
    const problems = [...hints, `hint: ${writeHint(cause)}`];
    throw new UsageError(`${path} cannot be written: ${fileReason(cause)}`, { cause, problems });
  }
}

/** Writes JSON to standard output. */
export function writeJson(context: Context, value: JsonValue): void {
  context.write(`${formatJson(value)}\n`);
}

/** Writes a report that is made of nothing but what JSON has. */
export function writeReport(context: Context, report: object): void {
  writeJson(context, JSON.parse(JSON.stringify(report)) as JsonValue);
}

/** A line for a person, unless a script reads. */
export function tell(context: Context, options: Pick<OperatorOptions, 'output'>, sentence: string): void {
  if (options.output === 'table') context.write(`${escapeText(sentence)}\n`);
}

/** Says that something is done; a script reads the empty message that the service answered. */
export function tellDone(context: Context, options: Pick<OperatorOptions, 'output'>, sentence: string): void {
  if (options.output === 'json') writeJson(context, {});
  else tell(context, options, sentence);
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** An option that is given as `KEY=VALUE`, as often as needed. */
export function collectLabel(
  text: string,
  before: Readonly<Record<string, string>> | undefined,
): Record<string, string> {
  const separator = text.indexOf('=');
  if (separator < 1) throw new InvalidArgumentError('It must be KEY=VALUE.');
  return { ...before, [text.slice(0, separator)]: text.slice(separator + 1) };
}

/** An option that is given as `KEY=VALUE,…`, as often as needed. */
export function collectLabels(
  text: string,
  before: Readonly<Record<string, string>> | undefined,
): Record<string, string> {
  return text.split(',').reduce<Record<string, string>>((labels, label) => collectLabel(label, labels), { ...before });
}

/** An option of any text, as often as needed. */
export function collectText(text: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), text];
}

/** An option of given words, as often as needed; letter case and `-` for `_` do not matter. */
export function collectWord<W extends string>(words: readonly W[]): (text: string, before: W[] | undefined) => W[] {
  return (text, before) => {
    const word = words.find((candidate) => candidate === text.toUpperCase().replaceAll('-', '_'));
    if (word === undefined) throw new InvalidArgumentError(`It must be one of ${words.join(', ')}.`);
    return [...(before ?? []), word];
  };
}
