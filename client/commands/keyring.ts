import type { Command } from 'commander';
import { formatTable, formatTime, idOf } from '../output.ts';
import type { Cell } from '../output.ts';
import type { Keyring, KeyringKey } from '../sdk/convert-references.ts';
import { collect, operatorCommand, readNamedFile, tell, tellDone, withService, writeJson } from './context.ts';
import type { Context, OperatorOptions } from './context.ts';
import { parseVersion, versionOf } from './reference.ts';

const MAX_KEYS_BYTES = 1024 * 1024;

/** `assay keyring`. */
export function addKeyringCommands(context: Context, program: Command): void {
  const keyring = program.command('keyring').description('keyrings: the keys whose signatures on files count');

  operatorCommand(
    context,
    keyring,
    'import <keyring> <file>',
    'make a keyring of certificates and public keys, or a new version of it (PEM or DER)',
  )
    .option('--add', 'keep what the keyring holds already')
    .action((name: string, file: string, options: OperatorOptions & { readonly add?: boolean }) =>
      withService(context, options, async (client) => {
        const keys = await readNamedFile(context, file, MAX_KEYS_BYTES, 'key file');
        const add = options.add ?? false;
        const answer = await client.keyrings.import(name, keys, { add, signal: context.signal });
        const { changed } = answer;
        if (options.output === 'json') return writeJson(context, { keyring: answer.keyring.json, changed });
        const what = `version ${answer.keyring.version}, ${answer.keyring.keyCount} keys`;
        tell(
          context,
          options,
          changed ? `imported ${idOf(name)}, ${what}` : `${idOf(name)} held this already: ${what}`,
        );
      }),
    );

  operatorCommand(context, keyring, 'list', 'list keyrings').action((options: OperatorOptions) =>
    withService(context, options, async (client) => {
      const keyrings = await collect(client.keyrings.list({ signal: context.signal }));
      if (options.output === 'json') return writeJson(context, { keyrings: keyrings.map(({ json }) => json) });
      context.write(formatTable(['KEYRING', 'VERSION', 'KEYS', 'MADE'], keyrings.map(rowOf), context.style));
    }),
  );

  operatorCommand(context, keyring, 'show <keyring>', 'show the keys of a keyring')
    .option('--version <number>', 'an older version', parseVersion)
    .action((name: string, options: OperatorOptions & { readonly version?: bigint }) =>
      withService(context, options, async (client) => {
        const shown = await client.keyrings.get(name, versionOf(options.version), { signal: context.signal });
        if (options.output === 'json') return writeJson(context, shown.json);
        context.write(formatTable(KEY_HEADER, shown.keys.map(keyRow), context.style));
      }),
    );

  operatorCommand(
    context,
    keyring,
    'remove-key <keyring> <fingerprint>',
    'withdraw a key: a new version without it',
  ).action((name: string, fingerprint: string, options: OperatorOptions) =>
    withService(context, options, async (client) => {
      const left = await client.keyrings.removeKey(name, fingerprint, { signal: context.signal });
      if (options.output === 'json') return writeJson(context, left.json);
      tell(context, options, `withdrew ${fingerprint}, version ${left.version}`);
    }),
  );

  operatorCommand(context, keyring, 'delete <keyring>', 'delete a keyring that no policy names').action(
    (name: string, options: OperatorOptions) =>
      withService(context, options, async (client) => {
        await client.keyrings.delete(name, {}, { signal: context.signal });
        tellDone(context, options, `deleted ${idOf(name)}`);
      }),
  );
}

function rowOf({ name, version, keyCount, createTime }: Keyring): readonly string[] {
  return [idOf(name), version.toString(), keyCount.toString(), formatTime(createTime)];
}

const KEY_HEADER = ['FINGERPRINT', 'KEY IDS', 'ALGORITHM', 'NOT AFTER', 'SUBJECT'];

function keyRow({ fingerprint, keyIds, algorithm, notAfter, subject }: KeyringKey): readonly Cell[] {
  return [
    fingerprint,
    keyIds.join(','),
    algorithm,
    formatTime(notAfter),
    subject === '' ? '-' : subject.replaceAll('\n', ', '),
  ];
}
