import type { Command } from 'commander';
import { EXIT, UsageError } from '../failure.ts';
import { formatJson, formatTable } from '../output.ts';
import { TRUST_STATUSES } from '../sdk/resources.ts';
import type { ResultFilter, TrustStatus } from '../sdk/resources.ts';
import { collect, collectLabel, collectText, collectWord, withService, writeJson } from './context.ts';
import type { Context, OperatorOptions } from './context.ts';
import { hostCommand, hostsOf, withHost } from './host-argument.ts';
import { noticeJson, noticeLine } from './notice.ts';
import { describeVerdict, VERDICT_HEADER, verdictRow } from './verdict.ts';

interface FilterOptions {
  readonly status?: TrustStatus[];
  readonly label?: Record<string, string>;
  readonly policy?: string[];
}

/** `assay result`. */
export function addResultCommands(context: Context, program: Command): void {
  const result = program.command('result').description('what is known of hosts');

  hostCommand(
    context,
    result,
    'get <host>',
    `show the verdict on one host; exit code ${EXIT.notAffirming} unless AFFIRMING`,
  ).action((named: string, options: OperatorOptions) =>
    withHost(context, options, named, async (client, host) => {
      const found = await client.results.get(host, { signal: context.signal });
      if (found.status !== 'AFFIRMING') context.setExitCode(EXIT.notAffirming);
      if (options.output === 'json') return writeJson(context, found.json);
      context.write(describeVerdict(found, context.style));
    }),
  );

  withFilter(hostCommand(context, result, 'list [hosts...]', 'list present verdicts'))
    .option('--history', 'every verdict on one host, newest first', false)
    .action((named: readonly string[], options: OperatorOptions & FilterOptions & { readonly history: boolean }) => {
      if (options.history && named.length !== 1) throw new UsageError('--history needs exactly one host');
      return withService(context, options, async (client) => {
        const { history } = options;
        const hosts = await hostsOf(context, client, named);
        const found = await collect(
          client.results.list(filterOf(hosts, options), { history }, { signal: context.signal }),
        );
        if (options.output === 'json') return writeJson(context, { results: found.map(({ json }) => json) });
        context.write(formatTable(VERDICT_HEADER, found.map(verdictRow), context.style));
      });
    });

  withFilter(hostCommand(context, result, 'watch [hosts...]', 'follow verdicts as they change'))
    .option('--resume <token>', 'go on behind this position, as a former watch printed it (--output json)', '')
    .option('--all', 'also show confirmations and bookmarks', false)
    .action(
      (
        named: readonly string[],
        options: OperatorOptions & FilterOptions & { readonly resume: string; readonly all: boolean },
      ) =>
        withService(context, options, async (client) => {
          const { signal } = context;
          const hosts = await hostsOf(context, client, named);
          const notices = client.results.watch(filterOf(hosts, options), { signal, resumeToken: options.resume });
          for await (const notice of notices) {
            if (options.output === 'json') context.write(`${formatJson(noticeJson(notice), { compact: true })}\n`);
            else context.write(noticeLine(notice, { ...context.style, all: options.all }));
          }
        }),
    );
}

function withFilter(command: Command): Command {
  return command
    .option(
      '--status <status>',
      `only this status (${TRUST_STATUSES.join(', ')}); may be repeated`,
      collectWord(TRUST_STATUSES),
    )
    .option('--label <key=value>', 'only hosts with this label; may be repeated', collectLabel)
    .option('--policy <policy>', 'only verdicts of this trust policy; may be repeated', collectText);
}

function filterOf(hosts: readonly string[], options: FilterOptions): ResultFilter {
  const { status = [], label = {}, policy = [] } = options;
  return { hosts, statuses: status, matchLabels: label, trustPolicies: policy };
}
