import type { Command } from 'commander';
import { UsageError } from '../failure.ts';
import { formatFields, formatLabels, formatTable, formatTime, idOf, statusCell } from '../output.ts';
import type { Cell } from '../output.ts';
import { HOST_STATES } from '../sdk/resources.ts';
import type { Host, HostState } from '../sdk/resources.ts';
import { describeBoot } from './boot.ts';
import { describeRuntime } from './runtime.ts';
import { collect, collectLabel, collectWord, operatorCommand, tellDone, withService, writeJson } from './context.ts';
import type { Context, OperatorOptions } from './context.ts';

/** `assay host`. */
export function addHostCommands(context: Context, program: Command): void {
  const host = program.command('host').description('enrolled hosts');

  operatorCommand(context, host, 'list', 'list hosts')
    .option(
      '--state <state>',
      `only hosts in this state (${HOST_STATES.join(', ')}); may be repeated`,
      collectWord(HOST_STATES),
    )
    .option('--label <key=value>', 'only hosts with this label; may be repeated', collectLabel)
    .action((options: OperatorOptions & { readonly state?: HostState[]; readonly label?: Record<string, string> }) =>
      withService(context, options, async (client) => {
        const filter = { states: options.state ?? [], matchLabels: options.label ?? {} };
        const hosts = await collect(client.hosts.list(filter, { signal: context.signal }));
        if (options.output === 'json') return writeJson(context, { hosts: hosts.map(({ json }) => json) });
        const header = ['HOST', 'NODE NAME', 'STATE', 'ADMISSION', 'POLICY', 'ENROLLED', 'FINDINGS', 'LABELS'];
        context.write(formatTable(header, hosts.map(rowOf), context.style));
      }),
    );

  operatorCommand(context, host, 'get <host>', 'show one host').action((id: string, options: OperatorOptions) =>
    withService(context, options, async (client) => {
      show(context, options, await client.hosts.get(id, { signal: context.signal }));
    }),
  );

  operatorCommand(context, host, 'boot <host>', 'show what a host booted, and whether that is proven').action(
    (id: string, options: OperatorOptions) =>
      withService(context, options, async (client) => {
        const report = await client.results.boot(id, { signal: context.signal });
        if (options.output === 'json') return writeJson(context, report.json);
        context.write(describeBoot(report, context.style));
      }),
  );

  operatorCommand(
    context,
    host,
    'runtime <host>',
    'show what ran on a host since its boot, as far as that is proven',
  ).action((id: string, options: OperatorOptions) =>
    withService(context, options, async (client) => {
      const report = await client.results.runtime(id, { signal: context.signal });
      if (options.output === 'json') return writeJson(context, report.json);
      context.write(describeRuntime(report, context.style));
    }),
  );

  operatorCommand(context, host, 'label <host> <changes...>', 'set labels by KEY=VALUE, remove them by KEY-').action(
    (id: string, changes: readonly string[], options: OperatorOptions) => {
      const edit = parseLabelChanges(changes);
      return withService(context, options, async (client) => {
        const { labels, etag } = await client.hosts.get(id, { signal: context.signal });
        show(
          context,
          options,
          await client.hosts.update(id, { labels: edit(labels), etag }, { signal: context.signal }),
        );
      });
    },
  );

  operatorCommand(
    context,
    host,
    'name <host> [node-name]',
    "set the operator's name for a host; without one it is removed",
  ).action((id: string, nodeName: string | undefined, options: OperatorOptions) =>
    withService(context, options, async (client) => {
      show(context, options, await client.hosts.update(id, { nodeName: nodeName ?? '' }, { signal: context.signal }));
    }),
  );

  operatorCommand(
    context,
    host,
    'policy <host> [policy]',
    'set the trust policy of a host; without one selectors decide',
  ).action((id: string, policy: string | undefined, options: OperatorOptions) =>
    withService(context, options, async (client) => {
      const trustPolicy = policy === undefined || policy.includes('/') ? (policy ?? '') : `trustPolicies/${policy}`;
      show(context, options, await client.hosts.update(id, { trustPolicy }, { signal: context.signal }));
    }),
  );

  operatorCommand(context, host, 'approve <host>', 'approve a host, or its new attestation key, that waits')
    .option('--acknowledge', "also acknowledge the host's findings, such as AK_REPLACED", false)
    .option('--etag <etag>', 'only as it was when it was looked at (etag of `host get --output json`)')
    .action((id: string, options: OperatorOptions & { readonly acknowledge: boolean; readonly etag?: string }) =>
      withService(context, options, async (client) => {
        const settings = { signal: context.signal };
        const etag = options.etag ?? (await client.hosts.get(id, settings)).etag;
        const approval = { etag, acknowledgeFindings: options.acknowledge };
        show(context, options, await client.hosts.approve(id, approval, settings));
      }),
    );

  operatorCommand(context, host, 'revoke <host>', 'ban a host with every endorsement key that it proved')
    .option('--reason <text>', 'why, for the audit log', '')
    .action((id: string, options: OperatorOptions & { readonly reason: string }) =>
      withService(context, options, async (client) => {
        show(context, options, await client.hosts.revoke(id, options.reason, { signal: context.signal }));
      }),
    );

  operatorCommand(
    context,
    host,
    'replace <old> <new>',
    'put a host in the place of another: labels, name and policy move, and the old one is banned',
  )
    .option('--reason <text>', 'why, for the audit log', '')
    .action((id: string, replacement: string, options: OperatorOptions & { readonly reason: string }) =>
      withService(context, options, async (client) => {
        const change = { replacement, reason: options.reason };
        show(context, options, await client.hosts.replace(id, change, { signal: context.signal }));
      }),
    );

  operatorCommand(context, host, 'delete <host>', 'forget a host and its endorsement keys').action(
    (id: string, options: OperatorOptions) =>
      withService(context, options, async (client) => {
        await client.hosts.delete(id, { signal: context.signal });
        tellDone(context, options, `deleted ${idOf(id)}`);
      }),
  );
}

/** `KEY=VALUE` sets, `KEY-` removes; the changes apply in their order. */
function parseLabelChanges(changes: readonly string[]): (labels: Host['labels']) => Record<string, string> {
  const steps = changes.map((change): ((labels: Map<string, string>) => void) => {
    const separator = change.indexOf('=');
    if (separator > 0) return (labels) => void labels.set(change.slice(0, separator), change.slice(separator + 1));
    if (separator === -1 && change.length > 1 && change.endsWith('-'))
      return (labels) => void labels.delete(change.slice(0, -1));
    throw new UsageError(`${JSON.stringify(change)} is neither KEY=VALUE nor KEY-`);
  });
  return (labels) => {
    const edited = new Map(Object.entries(labels));
    for (const step of steps) step(edited);
    return Object.fromEntries(edited);
  };
}

function rowOf(host: Host): readonly Cell[] {
  return [
    idOf(host.name),
    host.nodeName === '' ? '-' : host.nodeName,
    statusCell(host.state),
    host.admission,
    host.trustPolicy === '' ? '-' : idOf(host.trustPolicy),
    formatTime(host.enrollTime),
    host.findings.length === 0 ? '-' : { text: host.findings.join(','), colour: 'yellow' },
    formatLabels(host.labels),
  ];
}

function show(context: Context, options: OperatorOptions, host: Host): void {
  if (options.output === 'json') return writeJson(context, host.json);
  const keys = host.endorsementKeys.map((ek): readonly [string, Cell] => [
    'endorsement key',
    [
      ek.algorithm,
      ek.fingerprint,
      ek.certified ? `certified ${ek.manufacturer} ${ek.model}`.trim() : 'not certified',
      ...ek.deviations,
    ].join('  '),
  ]);
  const claimed = Object.entries(host.claimed).map(([name, value]): readonly [string, Cell] => [
    `claimed ${name}`,
    value,
  ]);
  const pending = host.pendingAkName === '' ? [] : [['new ak waits', host.pendingAkName] as const];
  context.write(
    formatFields(
      [
        ['host', host.name],
        ['state', statusCell(host.state)],
        ['node name', host.nodeName === '' ? '-' : host.nodeName],
        ['labels', formatLabels(host.labels)],
        ['policy', host.trustPolicy === '' ? '-' : host.trustPolicy],
        ['admission', host.admission],
        ['findings', host.findings.length === 0 ? '-' : host.findings.join(', ')],
        ['ak name', host.akName],
        ...pending,
        ...keys,
        ['created', formatTime(host.createTime)],
        ['enrolled', formatTime(host.enrollTime)],
        ...claimed,
      ],
      context.style,
    ),
  );
}
