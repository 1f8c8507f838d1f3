import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import { RpcError } from '../../proto/rpc-error.ts';
import { UsageError } from '../failure.ts';
import { formatFields, formatTable, formatTime, idOf } from '../output.ts';
import { hashDeb, HASHES, hashTree } from '../references/hash-files.ts';
import type { HashName } from '../references/hash-files.ts';
import { SentLines } from '../references/sent-lines.ts';
import type { ReferenceSet } from '../sdk/convert-references.ts';
import type { ImportedSet, ReferenceFileFormat } from '../sdk/reference-sets.ts';
import { collect, operatorCommand, tell, tellDone, withService, writeJson } from './context.ts';
import type { Context, OperatorOptions } from './context.ts';
import { fileReason } from '../file-reason.ts';
import { hostCommand, withHost } from './host-argument.ts';
import { reasonsOf } from './verdict.ts';

interface ImportOptions extends OperatorOptions {
  readonly format: 'sha256sum' | 'tree' | 'deb' | 'rpm' | 'keylime';
  readonly hash: HashName;
  readonly root: string;
  readonly add?: boolean;
}

interface LearnCommandOptions extends OperatorOptions {
  readonly exclude?: readonly string[];
  readonly add?: boolean;
  readonly despiteFindings?: boolean;
}

/** How the service reads what each format sends. */
const FORMATS: Readonly<Record<ImportOptions['format'], ReferenceFileFormat>> = {
  sha256sum: 'digest_list',
  tree: 'digest_list',
  deb: 'digest_list',
  rpm: 'rpm_dump',
  keylime: 'keylime_policy',
};

/** `assay reference`. */
export function addReferenceCommands(context: Context, program: Command): void {
  const reference = program.command('reference').description('reference sets: the digests of files that may run');

  operatorCommand(
    context,
    reference,
    'import <set> <files...>',
    'make a set, or a new version of it; - is standard input',
  )
    .addOption(
      new Option(
        '--format <format>',
        'what the files are: lists of sha1sum … sha512sum, directories, packages, `rpm -qa --dump`, a Keylime runtime policy',
      )
        .choices(Object.keys(FORMATS))
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--hash <hash>', 'how trees and packages are hashed: as the hosts’ kernels do')
        .choices(HASHES)
        .default('sha256'),
    )
    .option('--root <directory>', 'a tree that stands below it is the root of the hosts', '/')
    .option('--add', 'keep what the set holds already')
    .action((set: string, files: readonly string[], options: ImportOptions) =>
      withService(context, options, async (client) => {
        if (options.format === 'keylime' && files.length > 1)
          throw new UsageError('a runtime policy of Keylime is imported by itself: name one file');
        const source = sourceOf(context, files, options);
        const format = FORMATS[options.format];
        const imported = await client.referenceSets
          .import(set, source.bytes(), { format, add: options.add ?? false, signal: context.signal })
          .catch((error: unknown) => {
            // A file that cannot be read breaks the call off; why it could not is what counts.
            throw source.failure() ?? placed(error, source.lines);
          });
        tellImported(context, options, { set, imported, verb: 'imported' });
      }),
    );

  hostCommand(
    context,
    reference,
    'learn <set> <host>',
    'make a set, or a new version of it, of what ran on a host that you trust, as far as its list is proven',
  )
    .option('--exclude <pattern...>', 'leave out files whose path fits; * stands for anything')
    .option('--add', 'keep what the set holds already')
    .option(
      '--despite-findings',
      'also from a host with findings other than files that are not allowed yet: look first',
    )
    .action((set: string, named: string, options: LearnCommandOptions) =>
      withHost(context, options, named, async (client, host) => {
        const { exclude: excludes = [], add = false, despiteFindings = false } = options;
        // Before: a set that judges this very host takes its verdict away.
        const result = await client.results.get(host, { signal: context.signal });
        const wanted = { excludes, add, despiteFindings, signal: context.signal };
        const imported = await client.referenceSets.learn(set, host, wanted).catch((error: unknown) => {
          throw advised(error, named);
        });
        tellImported(context, options, { set, imported, verb: 'learned' });
        if (result.status === 'AFFIRMING') return;
        const found = `${result.status} (${reasonsOf(result)})`;
        tell(context, options, `look at what was learned: the host is ${found}, and the set has all that ran on it`);
      }),
    );

  operatorCommand(context, reference, 'list', 'list sets').action((options: OperatorOptions) =>
    withService(context, options, async (client) => {
      const sets = await collect(client.referenceSets.list({ signal: context.signal }));
      if (options.output === 'json') return writeJson(context, { referenceSets: sets.map(({ json }) => json) });
      context.write(formatTable(['SET', 'VERSION', 'ENTRIES', 'MADE'], sets.map(rowOf), context.style));
    }),
  );

  addShowCommand(context, reference);

  operatorCommand(context, reference, 'remove <set>', 'withdraw digests: a new version without them')
    .requiredOption('--digest <hex...>', 'every path of each is withdrawn')
    .action((set: string, options: OperatorOptions & { readonly digest: readonly string[] }) =>
      withService(context, options, async (client) => {
        const answer = await client.referenceSets.removeEntries(set, options.digest, { signal: context.signal });
        const removedCount = answer.removedCount.toString();
        if (options.output === 'json') return writeJson(context, { referenceSet: answer.set.json, removedCount });
        tell(context, options, `withdrew ${removedCount} entries, version ${answer.set.version}`);
      }),
    );

  operatorCommand(context, reference, 'delete <set>', 'delete a set that no policy names').action(
    (set: string, options: OperatorOptions) =>
      withService(context, options, async (client) => {
        await client.referenceSets.delete(set, {}, { signal: context.signal });
        tellDone(context, options, `deleted ${idOf(set)}`);
      }),
  );
}

/** Where to look. */
function advised(error: unknown, host: string): unknown {
  if (!(error instanceof RpcError) || error.reason !== 'HOST_HAS_FINDINGS') return error;
  const look = `see assay policy explain ${host} and assay host runtime ${host}`;
  return error.reworded(`${error.message}; ${look}, then learn with --despite-findings`);
}

function tellImported(
  context: Context,
  options: OperatorOptions,
  { set, imported, verb }: { readonly set: string; readonly imported: ImportedSet; readonly verb: string },
): void {
  const { changed, readCount, notImported } = imported;
  if (options.output === 'json') {
    return writeJson(context, {
      referenceSet: imported.set.json,
      changed,
      readCount: readCount.toString(),
      notImported: [...notImported],
    });
  }
  const what = `version ${imported.set.version}, ${imported.set.entryCount} entries`;
  tell(context, options, changed ? `${verb} ${idOf(set)}, ${what}` : `${idOf(set)} held this already: ${what}`);
  for (const part of notImported) tell(context, options, `not imported, without effect: ${part}`);
}

interface ShowOptions extends OperatorOptions {
  readonly version?: bigint;
  readonly entries?: boolean;
  readonly digest?: string;
  readonly path?: string;
}

function addShowCommand(context: Context, reference: Command): void {
  operatorCommand(context, reference, 'show <set>', 'show a set, and its entries where they are asked for')
    .option('--version <number>', 'an older version', parseVersion)
    .option('--entries', 'all entries')
    .addOption(new Option('--digest <hex>', 'entries of this digest').conflicts('path'))
    .option('--path <prefix>', 'entries whose path begins so')
    .action((set: string, options: ShowOptions) =>
      withService(context, options, async (client) => {
        const { signal } = context;
        const shown = await client.referenceSets.get(set, versionOf(options.version), { signal });
        const wanted = options.entries === true || options.digest !== undefined || options.path !== undefined;
        const filter = {
          version: shown.version,
          ...(options.digest === undefined ? {} : { digest: options.digest }),
          ...(options.path === undefined ? {} : { pathPrefix: options.path }),
        };
        const entries = wanted ? await collect(client.referenceSets.entries(set, filter, { signal })) : [];
        if (options.output === 'json') {
          return writeJson(context, {
            referenceSet: shown.json,
            ...(wanted ? { entries: entries.map(({ json }) => json) } : {}),
          });
        }
        const rows = entries.map(({ algorithm, digest, path }) => [algorithm, digest, path]);
        if (wanted) return context.write(formatTable(['HASH', 'DIGEST', 'PATH'], rows, context.style));
        context.write(
          formatFields(
            [
              ['set', idOf(shown.name)],
              ['version', shown.version.toString()],
              ['entries', shown.entryCount.toString()],
              ['made', formatTime(shown.createTime)],
            ],
            context.style,
          ),
        );
      }),
    );
}

interface Source {
  readonly bytes: () => AsyncGenerator<Buffer>;
  readonly lines: SentLines;
  readonly failure: () => UsageError | undefined;
}

/** What the named files come to, one behind the other, and why they could not be read where they could not. */
function sourceOf(context: Context, files: readonly string[], options: ImportOptions): Source {
  const lines = new SentLines();
  let failure: UsageError | undefined;
  const bytes = async function* (): AsyncGenerator<Buffer> {
    for (const file of files) {
      lines.begin(file);
      try {
        for await (const part of bytesOf(context, file, options)) {
          lines.count(part);
          yield part;
        }
      } catch (cause) {
        failure = new UsageError(`${file}: ${fileReason(cause)}`, { cause });
        throw failure;
      }
    }
  };
  return { bytes, lines, failure: () => failure };
}

/** The service has seen one file, and has counted through. */
function placed(error: unknown, lines: SentLines): unknown {
  if (!(error instanceof RpcError)) return error;
  const message = lines.locate(error.message);
  return message === undefined ? error : error.reworded(message);
}

async function* bytesOf(context: Context, file: string, options: ImportOptions): AsyncGenerator<Buffer> {
  const { format, hash, root } = options;
  if (format === 'tree') yield* hashTree(context.files, file, { hash, root });
  else if (format === 'deb') yield* hashDeb(context.files, file, hash);
  else yield* await context.files.openFile(file);
  // A list that does not end with a line break must not run into the next one.
  if (format !== 'keylime') yield Buffer.from('\n');
}

function rowOf({ name, version, entryCount, createTime }: ReferenceSet): readonly string[] {
  return [idOf(name), version.toString(), entryCount.toString(), formatTime(createTime)];
}

export function versionOf(version: bigint | undefined): { readonly version?: bigint } {
  return version === undefined ? {} : { version };
}

export function parseVersion(text: string): bigint {
  if (!/^[1-9]\d{0,18}$/.test(text)) throw new InvalidArgumentError('It must be a positive number.');
  return BigInt(text);
}
