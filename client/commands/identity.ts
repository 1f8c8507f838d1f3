import type { Command } from 'commander';
import { UsageError } from '../failure.ts';
import { formatLabels, formatTable, formatTime, idOf } from '../output.ts';
import type { Cell } from '../output.ts';
import { formatProfile } from '../sdk/profile.ts';
import { ISSUABLE_ROLES } from '../sdk/resources.ts';
import type { Identity, IssuableRole, Scope } from '../sdk/resources.ts';
import {
  collect,
  collectLabels,
  collectWord,
  operatorCommand,
  tell,
  withService,
  writeJson,
  writeNamedFile,
} from './context.ts';
import type { Context, OperatorOptions } from './context.ts';

interface IssueOptions extends OperatorOptions {
  readonly role: IssuableRole[];
  readonly out: string;
  readonly force: boolean;
  readonly scope?: Record<string, string>;
  readonly allHosts: boolean;
}

/** `assay identity`. */
export function addIdentityCommands(context: Context, program: Command): void {
  const identity = program.command('identity').description('people and programs that use the service');

  operatorCommand(context, identity, 'issue <name>', 'issue a client certificate and write a profile for it')
    .requiredOption(
      '--role <role>',
      `what it may do (${ISSUABLE_ROLES.join(', ')}); may be repeated`,
      collectWord(ISSUABLE_ROLES),
    )
    .requiredOption(
      '--out <file>',
      'where to write the profile; it holds the private key, which is made here and sent nowhere',
    )
    .option(
      '--scope <key=value,...>',
      'it sees only hosts with these labels; left out, an operator or auditor sees every host, and a known name keeps its scope',
      collectLabels,
    )
    .option('--all-hosts', 'it sees every host', false)
    .option('--force', 'overwrite the file', false)
    .action(async (name: string, options: IssueOptions) => {
      const scope = scopeOf(options);
      // Before anything is issued: a certificate whose key could not be written is of no use to anybody.
      if (!options.force && (await context.exists(options.out))) {
        throw new UsageError(`${options.out} exists: name another file, or give --force`);
      }
      await writeNamedFile(options.out, context.tryFile);
      await withService(context, options, async (client, { server }) => {
        const { privateKey, publicKey } = context.makeKey();
        const request = { roles: options.role, publicKey, ...(scope === undefined ? {} : { scope }) };
        const issued = await client.identities.issue(name, request, { signal: context.signal });
        const { certificate, authority } = issued;
        const profile = formatProfile({ server, authority, certificate, key: privateKey });
        const lost = `${idOf(issued.identity.name)} was issued all the same, and its key is lost: issue it anew`;
        await writeNamedFile(options.out, (path) => context.writeSecretFile(path, profile), [lost]);
        if (options.output === 'json') return writeJson(context, issued.identity.json);
        const until = formatTime(issued.identity.expireTime);
        tell(
          context,
          options,
          `issued ${idOf(issued.identity.name)} (${issued.identity.roles.join(', ')}) until ${until}: ${options.out}`,
        );
      });
    });

  operatorCommand(context, identity, 'list', 'list identities').action((options: OperatorOptions) =>
    withService(context, options, async (client) => {
      const identities = await collect(client.identities.list({ signal: context.signal }));
      if (options.output === 'json') return writeJson(context, { identities: identities.map(({ json }) => json) });
      context.write(
        formatTable(['IDENTITY', 'ROLES', 'SCOPE', 'STATE', 'MADE', 'EXPIRES'], identities.map(rowOf), context.style),
      );
    }),
  );

  operatorCommand(context, identity, 'revoke <name>', 'end an identity at once').action(
    (name: string, options: OperatorOptions) =>
      withService(context, options, async (client) => {
        const revoked = await client.identities.revoke(name, { signal: context.signal });
        if (options.output === 'json') return writeJson(context, revoked.json);
        tell(context, options, `revoked ${idOf(revoked.name)}`);
      }),
  );
}

function scopeOf({ scope, allHosts }: IssueOptions): Scope | undefined {
  if (scope === undefined) return allHosts ? 'EVERY_HOST' : undefined;
  if (allHosts) throw new UsageError('--scope and --all-hosts exclude each other');
  return { matchLabels: scope };
}

function rowOf({ name, roles, scope, revoked, createTime, expireTime }: Identity): readonly Cell[] {
  const state: Cell = revoked ? { text: 'REVOKED', colour: 'red' } : 'valid';
  const hosts = scope === 'EVERY_HOST' ? 'every host' : formatLabels(scope.matchLabels);
  return [idOf(name), roles.join(','), hosts, state, formatTime(createTime), formatTime(expireTime)];
}
