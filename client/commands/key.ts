import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import { formatTable, formatTime } from '../output.ts';
import type { Cell } from '../output.ts';
import type { TokenKey } from '../sdk/resources.ts';
import { operatorCommand, tell, tellDone, withService, writeJson } from './context.ts';
import type { Context, OperatorOptions } from './context.ts';

/** `assay key`. */
export function addKeyCommands(context: Context, program: Command): void {
  const key = program.command('key').description('keys that sign tokens');

  operatorCommand(context, key, 'list', 'list the keys whose tokens may still be good').action(
    (options: OperatorOptions) =>
      withService(context, options, async (client) => {
        const { keys } = await client.tokenKeys.list({ signal: context.signal });
        if (options.output === 'json') return writeJson(context, { tokenKeys: keys.map(({ json }) => json) });
        context.write(
          formatTable(['KEY', 'VERSION', 'STATE', 'MADE', 'PUBLISHED UNTIL'], keys.map(rowOf), context.style),
        );
      }),
  );

  operatorCommand(context, key, 'jwks', 'print the public keys as JSON Web Key Set, for checking offline').action(
    (options: OperatorOptions) =>
      withService(context, options, async (client) => {
        const { jwks } = await client.tokenKeys.list({ signal: context.signal });
        context.write(`${jwks}\n`);
      }),
  );

  operatorCommand(context, key, 'rotate', 'make a new key, which signs from now on').action(
    (options: OperatorOptions) =>
      withService(context, options, async (client) => {
        const { signal } = context;
        const [signing] = (await client.tokenKeys.list({ signal })).keys;
        const made = await client.tokenKeys.rotate(signing?.keyId ?? '', { signal });
        if (options.output === 'json') return writeJson(context, made.json);
        tell(context, options, `version ${made.version} signs from now on: ${made.keyId}`);
      }),
  );

  operatorCommand(
    context,
    key,
    'withdraw',
    'publish a former key no more, as when it was stolen: its tokens are refused, good ones too',
  )
    .argument('<key>', 'which one, as `assay key list` names it', parseKeyId)
    .allowUnknownOption()
    .action((keyId: string, options: OperatorOptions) =>
      withService(context, options, async (client) => {
        await client.tokenKeys.withdraw(keyId, { signal: context.signal });
        tellDone(context, options, `withdrawn: ${keyId}`);
      }),
    );
}

/** A thumbprint in base64url: one in 64 begins with `-`, as options do, so the command takes every word that it does not know. */
function parseKeyId(text: string): string {
  if (!/^[\w-]{43}$/.test(text))
    throw new InvalidArgumentError('It must be the 43 characters that `assay key list` shows.');
  return text;
}

function rowOf({ keyId, version, createTime, retireTime, publishEndTime }: TokenKey): readonly Cell[] {
  const state: Cell = retireTime === undefined ? { text: 'signs', colour: 'green' } : 'retired';
  return [keyId, version.toString(), state, formatTime(createTime), formatTime(publishEndTime)];
}
