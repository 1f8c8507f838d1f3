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
import { hostCommand, hostOf, withHost } from './host-argument.ts';

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

  hostCommand(context, host, 'get <host>', 'show one host').action((named: string, options: OperatorOptions) =>
    withHost(context, options, named, async (client, name) => {
      show(context, options, await client.hosts.get(name, { signal: context.signal }));
    }),
  );

  hostCommand(context, host, 'boot <host>', 'show what a host booted, and whether that is proven').action(
    (named: string, options: OperatorOptions) =>
      withHost(context, options, named, async (client, name) => {
        const report = await client.results.boot(name, { signal: context.signal });
        if (options.output === 'json') return writeJson(context, report.json);
        context.write(describeBoot(report, context.style));
      }),
  );

  hostCommand(
    context,
    host,
    'runtime <host>',
    'show what ran on a host since its boot, as far as that is proven',
  ).action((named: string, options: OperatorOptions) =>
    withHost(context, options, named, async (client, name) => {
      const report = await client.results.runtime(name, { signal: context.signal });
      if (options.output === 'json') return writeJson(context, report.json);
      context.write(describeRuntime(report, context.style));
    }),
  );

  hostCommand(context, host, 'label <host> <changes...>', 'set labels by KEY=VALUE, remove them by KEY-').action(
    (named: string, changes: readonly string[], options: OperatorOptions) => {
      const edit = parseLabelChanges(changes);
      return withHost(context, options, named, async (client, name) => {
        const { labels, etag } = await client.hosts.get(name, { signal: context.signal });
        show(
          context,
          options,
          await client.hosts.update(name, { labels: edit(labels), etag }, { signal: context.signal }),
        );
      });
    },
  );

  hostCommand(
    context,
    host,
    'name <host> [node-name]',
    "set the operator's name for a host; without one it is removed",
  ).action((named: string, nodeName: string | undefined, options: OperatorOptions) =>
    withHost(context, options, named, async (client, name) => {
      show(context, options, await client.hosts.update(name, { nodeName: nodeName ?? '' }, { signal: context.signal }));
    }),
  );

  hostCommand(
    context,
    host,
    'policy <host> [policy]',
    'set the trust policy of a host; without one selectors decide',
  ).action((named: string, policy: string | undefined, options: OperatorOptions) =>
    withHost(context, options, named, async (client, name) => {
      const trustPolicy = policy === undefined || policy.includes('/') ? (policy ?? '') : `trustPolicies/${policy}`;
      show(context, options, await client.hosts.update(name, { trustPolicy }, { signal: context.signal }));
    }),
  );

  hostCommand(context, host, 'approve <host>', 'approve a host, or its new attestation key, that waits')
    .option('--acknowledge', "also acknowledge the host's findings, such as AK_REPLACED", false)
    .option('--etag <etag>', 'only as it was when it was looked at (etag of `host get --output json`)')
    .action((named: string, options: OperatorOptions & { readonly acknowledge: boolean; readonly etag?: string }) =>
      withHost(context, options, named, async (client, name) => {
        const settings = { signal: context.signal };
        const etag = options.etag ?? (await client.hosts.get(name, settings)).etag;
        const approval = { etag, acknowledgeFindings: options.acknowledge };
        show(context, options, await client.hosts.approve(name, approval, settings));
      }),
    );

  hostCommand(context, host, 'revoke <host>', 'ban a host with every endorsement key that it proved')
    .option('--reason <text>', 'why, for the audit log', '')
    .action((named: string, options: OperatorOptions & { readonly reason: string }) =>
      withHost(context, options, named, async (client, name) => {
        show(context, options, await client.hosts.revoke(name, options.reason, { signal: context.signal }));
      }),
    );

  hostCommand(
    context,
    host,
    'replace <old> <new>',
    'put a host in the place of another: labels, name and policy move, and the old one is banned',
  )
    .option('--reason <text>', 'why, for the audit log', '')
    .action((named: string, replacement: string, options: OperatorOptions & { readonly reason: string }) =>
      withHost(context, options, named, async (client, name) => {
        const change = { replacement: await hostOf(context, client, replacement), reason: options.reason };
        show(context, options, await client.hosts.replace(name, change, { signal: context.signal }));
      }),
    );

  hostCommand(context, host, 'delete <host>', 'forget a host and its endorsement keys').action(
    (named: string, options: OperatorOptions) =>
      withHost(context, options, named, async (client, name) => {
        await client.hosts.delete(name, { signal: context.signal });
        tellDone(context, options, `deleted ${idOf(name)}`);
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
