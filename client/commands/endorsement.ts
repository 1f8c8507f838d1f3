import type { Command } from 'commander';
import { formatTable, formatTime, idOf } from '../output.ts';
import type { Cell } from '../output.ts';
import type { NamedFile } from '../inspect/trust-anchors.ts';
import type { RevocationList, TrustAnchor } from '../sdk/resources.ts';
import { collect, operatorCommand, readNamedFile, tell, tellDone, withService, writeJson } from './context.ts';
import type { Context, OperatorOptions } from './context.ts';
import { readFolder } from './folder.ts';
import { addHistoryCommand, describeAnchor, describeRevocationList } from './endorsement-versions.ts';
import { MAX_INVENTORY_BYTES, parseInventoryFile } from './inventory-file.ts';
import { parseVersion, versionOf } from './reference.ts';

const MEBIBYTE = 1024 * 1024;
const FOLDER = { maxFiles: 2048, maxBytes: 64 * MEBIBYTE } as const;
const CERTIFICATE_FILES = { bounds: { ...FOLDER, maxFileBytes: MEBIBYTE }, what: 'certificate file' } as const;
const REVOCATION_LIST_FILES = { bounds: { ...FOLDER, maxFileBytes: 4 * MEBIBYTE }, what: 'revocation list' } as const;
/** The service takes at most so many entries at once. */
const INVENTORY_BATCH = 1000;

interface ImportOptions extends OperatorOptions {
  readonly anchor?: boolean;
}

interface ShowOptions extends OperatorOptions {
  readonly version?: bigint;
}

interface RemoveOptions extends OperatorOptions {
  readonly etag?: string;
}

/** `assay endorsement`. */
export function addEndorsementCommands(context: Context, program: Command): void {
  const endorsement = program.command('endorsement').description('what says that a TPM is genuine');

  operatorCommand(
    context,
    endorsement,
    'import <paths...>',
    'add CA certificates of TPM manufacturers (PEM or DER, files or folders)',
  )
    .option('--anchor', 'trust them as given, also those that another CA issued')
    .action((paths: readonly string[], options: ImportOptions) =>
      withService(context, options, async (client) => {
        const added: TrustAnchor[] = [];
        let known = 0;
        for (const { bytes } of await readAll(context, paths, CERTIFICATE_FILES)) {
          const answer = await client.endorsements.importAnchors(bytes, {
            asAnchors: options.anchor ?? false,
            signal: context.signal,
          });
          added.push(...answer.added);
          known += answer.known;
        }
        if (options.output === 'json') return writeJson(context, { added: added.map(({ json }) => json), known });
        if (added.length > 0) context.write(formatTable(ANCHOR_HEADER, added.map(anchorRow), context.style));
        tell(context, options, `${added.length} added, ${known} known already`);
      }),
    );

  operatorCommand(context, endorsement, 'list', 'list CA certificates').action((options: OperatorOptions) =>
    withService(context, options, async (client) => {
      const anchors = await collect(client.endorsements.anchors({ signal: context.signal }));
      if (options.output === 'json') return writeJson(context, { trustAnchors: anchors.map(({ json }) => json) });
      context.write(formatTable(ANCHOR_HEADER, anchors.map(anchorRow), context.style));
    }),
  );

  operatorCommand(context, endorsement, 'show <sha256>', 'show a CA certificate, as PEM too')
    .option('--version <number>', 'an older version, also of one that was removed', parseVersion)
    .action((anchor: string, options: ShowOptions) =>
      withService(context, options, async (client) => {
        const shown = await client.endorsements.anchor(anchor, versionOf(options.version), { signal: context.signal });
        if (options.output === 'json') return writeJson(context, shown.json);
        context.write(describeAnchor(shown, context.style));
      }),
    );

  operatorCommand(context, endorsement, 'remove <sha256>', 'remove a CA certificate')
    .option('--etag <etag>', 'only as it was when it was looked at (etag of `endorsement show --output json`)')
    .action((anchor: string, { etag = '', ...options }: RemoveOptions) =>
      withService(context, options, async (client) => {
        await client.endorsements.removeAnchor(anchor, { etag, signal: context.signal });
        tellDone(context, options, `removed ${idOf(anchor)}`);
      }),
    );

  addHistoryCommand(context, endorsement);
  addRevocationListCommands(context, endorsement);
  addInventoryCommands(context, endorsement);
}

/** The files that paths name, with those of folders; all are read before the first is sent. */
async function readAll(
  context: Context,
  paths: readonly string[],
  options: Parameters<typeof readFolder>[2],
): Promise<readonly NamedFile[]> {
  const read: NamedFile[] = [];
  for (const path of paths) read.push(...(await readFolder(context, path, options)));
  return read;
}

function addRevocationListCommands(context: Context, endorsement: Command): void {
  const crl = endorsement.command('crl').description('certificate revocation lists of TPM manufacturers');

  operatorCommand(
    context,
    crl,
    'import <paths...>',
    'add revocation lists (PEM or DER, files or folders); newer ones replace',
  ).action((paths: readonly string[], options: OperatorOptions) =>
    withService(context, options, async (client) => {
      const added: RevocationList[] = [];
      let known = 0;
      for (const { bytes } of await readAll(context, paths, REVOCATION_LIST_FILES)) {
        const answer = await client.endorsements.importRevocationLists(bytes, { signal: context.signal });
        added.push(...answer.added);
        known += answer.known;
      }
      if (options.output === 'json') return writeJson(context, { added: added.map(({ json }) => json), known });
      if (added.length > 0) context.write(formatTable(LIST_HEADER, added.map(listRow), context.style));
      tell(context, options, `${added.length} added, ${known} known already`);
    }),
  );

  operatorCommand(context, crl, 'list', 'list revocation lists').action((options: OperatorOptions) =>
    withService(context, options, async (client) => {
      const lists = await collect(client.endorsements.revocationLists({ signal: context.signal }));
      if (options.output === 'json') return writeJson(context, { revocationLists: lists.map(({ json }) => json) });
      context.write(formatTable(LIST_HEADER, lists.map(listRow), context.style));
    }),
  );

  operatorCommand(context, crl, 'show <id>', 'show a revocation list, as PEM too')
    .option('--version <number>', 'an older version, also of one that was removed', parseVersion)
    .action((list: string, options: ShowOptions) =>
      withService(context, options, async (client) => {
        const settings = { signal: context.signal };
        const shown = await client.endorsements.revocationList(list, versionOf(options.version), settings);
        const { revocationList, der } = shown;
        if (options.output === 'json') {
          return writeJson(context, { ...revocationList.json, list: der.toString('base64') });
        }
        context.write(describeRevocationList(revocationList, der, context.style));
      }),
    );

  operatorCommand(context, crl, 'remove <id>', 'remove a revocation list')
    .option('--etag <etag>', 'only as it was when it was looked at (etag of `crl show --output json`)')
    .action((list: string, { etag = '', ...options }: RemoveOptions) =>
      withService(context, options, async (client) => {
        await client.endorsements.removeRevocationList(list, { etag, signal: context.signal });
        tellDone(context, options, `removed ${idOf(list)}`);
      }),
    );
}

function addInventoryCommands(context: Context, endorsement: Command): void {
  const inventory = endorsement.command('inventory').description('endorsement keys that are known beforehand');

  operatorCommand(
    context,
    inventory,
    'import <file>',
    'register endorsement keys: lines of FINGERPRINT [GROUP [COMMENT]], or JSON as `inventory list` prints it',
  ).action(async (file: string, options: OperatorOptions) => {
    const text = await readNamedFile(context, file, MAX_INVENTORY_BYTES, 'inventory file');
    const items = parseInventoryFile(file, text.toString('utf8'));
    await withService(context, options, async (client) => {
      const total = { added: 0, updated: 0 };
      for (let start = 0; start < items.length; start += INVENTORY_BATCH) {
        const batch = items.slice(start, start + INVENTORY_BATCH);
        const { added, updated } = await client.endorsements.importInventory(batch, { signal: context.signal });
        total.added += added;
        total.updated += updated;
      }
      if (options.output === 'json') return writeJson(context, total);
      tell(context, options, `${total.added} added, ${total.updated} overwritten`);
    });
  });

  operatorCommand(context, inventory, 'list', 'list registered endorsement keys').action((options: OperatorOptions) =>
    withService(context, options, async (client) => {
      const entries = await collect(client.endorsements.inventory({ signal: context.signal }));
      if (options.output === 'json') return writeJson(context, { entries: entries.map(({ json }) => json) });
      const rows = entries.map(({ name, group, comment, createTime }) => [
        idOf(name),
        dash(group),
        formatTime(createTime),
        comment,
      ]);
      context.write(formatTable(['FINGERPRINT', 'GROUP', 'REGISTERED', 'COMMENT'], rows, context.style));
    }),
  );

  operatorCommand(context, inventory, 'remove <fingerprint>', 'remove an endorsement key from the inventory').action(
    (fingerprint: string, options: OperatorOptions) =>
      withService(context, options, async (client) => {
        await client.endorsements.removeInventoryEntry(fingerprint, { signal: context.signal });
        tellDone(context, options, `removed ${idOf(fingerprint)}`);
      }),
  );
}

const ANCHOR_HEADER = ['SHA256', 'KIND', 'VERSION', 'NOT AFTER', 'SUBJECT'];

function anchorRow({ name, anchor, version, notAfter, subject }: TrustAnchor): readonly Cell[] {
  return [idOf(name), anchor ? 'anchor' : 'intermediate', version.toString(), formatTime(notAfter), subject];
}

const LIST_HEADER = ['ID', 'VERSION', 'ENTRIES', 'NUMBER', 'ISSUED', 'NEXT UPDATE', 'ISSUER'];

function listRow(list: RevocationList): readonly Cell[] {
  const { name, version, entryCount, number, thisUpdateTime, nextUpdateTime, issuer } = list;
  return [
    idOf(name),
    version.toString(),
    String(entryCount),
    dash(number),
    formatTime(thisUpdateTime),
    formatTime(nextUpdateTime),
    issuer,
  ];
}

function dash(text: string): string {
  return text === '' ? '-' : text;
}
