import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import { EXIT, UsageError } from '../failure.ts';
import { formatFields, formatLabels, formatTable, formatTime, idOf, statusCell } from '../output.ts';
import type { Cell } from '../output.ts';
import type {
  PlacementHost,
  PlacementOrder,
  PlacementRequirements,
  PlacementTier,
  RefusedHost,
  Selection,
  TokenRequest,
} from '../sdk/resources.ts';
import { collectLabel, collectText, withService, writeJson } from './context.ts';
import type { Context, OperatorOptions } from './context.ts';
import { hostCommand, hostsOf, isHostName } from './host-argument.ts';
import { tokenRequest, withTokenOptions } from './token.ts';
import type { TokenOptions } from './token.ts';

interface RequirementOptions extends TokenOptions {
  readonly token?: true;
  readonly tier: PlacementTier;
  readonly policy?: string;
  readonly policyVersion?: bigint;
  readonly maxAge?: number;
  readonly label?: Record<string, string>;
}

interface SelectOptions extends OperatorOptions, RequirementOptions {
  readonly count: number;
  readonly spreadBy: string;
  readonly order: PlacementOrder;
  readonly explain: number;
  readonly excludeHost?: string[];
  readonly excludeNode?: string[];
  readonly excludeLabel?: LabelValue[];
}

interface LabelValue {
  readonly key: string;
  readonly value: string;
}

const TIERS = ['AFFIRMING', 'WARNING'] as const;
const ORDERS = ['FRESHEST', 'LONGEST_VALID'] as const;

/** `assay placement`. */
export function addPlacementCommands(context: Context, program: Command): void {
  const placement = program.command('placement').description('where a workload may go');

  withRequirements(
    hostCommand(context, placement, 'select', `select hosts; exit code ${EXIT.notAffirming} when there is none`),
  )
    .option('--count <n>', 'at most so many hosts', positiveNumber, 1)
    .option('--spread-by <label>', 'as evenly as possible over the values of this label', '')
    .option('--order <order>', `which come first (${ORDERS.join(', ')})`, oneOf(ORDERS), 'FRESHEST' as const)
    .option('--exclude-host <host>', 'not this host; may be repeated', collectText)
    .option('--exclude-node <name>', 'not the host of this node name; may be repeated', collectText)
    .option('--exclude-label <key=value>', 'no host with this label; may be repeated', collectLabelValue)
    .option('--explain <n>', 'also tell why hosts were refused: at most so many', wholeNumber, 0)
    .action((options: SelectOptions) =>
      withService(context, options, async (client) => {
        const { count, spreadBy, order, explain } = options;
        const asked = { count, spreadBy, order, explain, ...tokenAskedFor(options) };
        const excludeHost = await hostsOf(context, client, options.excludeHost ?? []);
        const requirements = requirementsOf({ ...options, excludeHost });
        const selection = await client.placement.select(requirements, asked, { signal: context.signal });
        if (selection.hosts.length === 0) context.setExitCode(EXIT.notAffirming);
        if (options.output === 'json') return writeJson(context, selection.json);
        context.write(describeSelection(selection, context));
      }),
    );

  withRequirements(
    hostCommand(
      context,
      placement,
      'check <host>',
      `ask about one host, for the moment of binding; exit code ${EXIT.notAffirming} unless selectable`,
    ),
  ).action((host: string, options: OperatorOptions & RequirementOptions) =>
    withService(context, options, async (client) => {
      const named = isHostName(host) ? { host } : { nodeName: host };
      const settings = { signal: context.signal, ...tokenAskedFor(options) };
      const checked = await client.placement.check(named, requirementsOf(options), settings);
      if (!checked.selectable) context.setExitCode(EXIT.notAffirming);
      if (options.output === 'json') return writeJson(context, checked.json);
      context.write(
        formatFields(
          [
            ['host', checked.host.host],
            ['node name', checked.host.nodeName === '' ? '-' : checked.host.nodeName],
            ['selectable', checked.selectable ? { text: 'yes', colour: 'green' } : { text: 'no', colour: 'red' }],
            ['reasons', reasonsOf(checked)],
            ['status', statusCell(checked.host.status)],
            ['policy', policyOf(checked.host)],
            ['valid until', formatTime(checked.host.validUntil)],
          ],
          context.style,
        ),
      );
    }),
  );
}

function withRequirements(command: Command): Command {
  return withTokenOptions(command.option('--token', 'with each result as a signed token, in --output json'))
    .option(
      '--tier <status>',
      `the lowest status that is taken (${TIERS.join(', ')})`,
      oneOf(TIERS),
      'AFFIRMING' as const,
    )
    .option('--policy <policy>', 'only by the verdict of this trust policy')
    .option('--policy-version <n>', 'of at least this version', (text) => BigInt(wholeNumber(text)))
    .option('--max-age <seconds>', 'only by evidence whose challenge is at most so old', positiveNumber)
    .option('--label <key=value>', 'only hosts with this label; may be repeated', collectLabel);
}

/** A table has no room for a token. */
function tokenAskedFor(options: OperatorOptions & RequirementOptions): { readonly token?: TokenRequest } {
  const { token, audience, nonce, output } = options;
  if (token !== true) {
    if (audience !== undefined || nonce !== undefined) throw new UsageError('--audience and --nonce go with --token');
    return {};
  }
  if (output !== 'json') throw new UsageError('--token goes with --output json');
  return { token: tokenRequest(options) };
}

function requirementsOf(options: RequirementOptions & Partial<SelectOptions>): PlacementRequirements {
  const { tier, policy, policyVersion, maxAge, label } = options;
  return {
    minimumTier: tier,
    ...(policy === undefined ? {} : { trustPolicy: policy }),
    ...(policyVersion === undefined ? {} : { minimumPolicyVersion: policyVersion }),
    ...(maxAge === undefined ? {} : { maximumAgeMillis: maxAge * 1000 }),
    ...(label === undefined ? {} : { matchLabels: label }),
    exclude: {
      hosts: options.excludeHost ?? [],
      nodeNames: options.excludeNode ?? [],
      labels: options.excludeLabel ?? [],
    },
  };
}

function describeSelection(selection: Selection, { style }: Context): string {
  const { hosts, refused, refusalCounts, selectableCount } = selection;
  const selected = hosts.length === 0 ? '' : formatTable(HEADER, hosts.map(rowOf), style);
  const counted = hosts.length === 0 ? 'no host is selectable\n' : `${hosts.length} of ${selectableCount} selectable\n`;
  if (refusalCounts.length === 0) return `${selected}${counted}`;
  const counts = refusalCounts.map(({ reason, count }): readonly Cell[] => [reason, String(count)]);
  const rows = refused.map((each): readonly Cell[] => [...rowOf(each.host).slice(0, 3), reasonsOf(each)]);
  return [
    `${selected}${counted}`,
    formatTable(['REFUSED FOR', 'HOSTS'], counts, style),
    formatTable(['REFUSED', 'NODE NAME', 'STATUS', 'REASONS'], rows, style),
  ].join('\n');
}

const HEADER = ['HOST', 'NODE NAME', 'STATUS', 'POLICY', 'CHALLENGED', 'VALID UNTIL', 'LABELS'];

function rowOf(host: PlacementHost): readonly Cell[] {
  return [
    idOf(host.host),
    host.nodeName === '' ? '-' : host.nodeName,
    statusCell(host.status),
    policyOf(host),
    formatTime(host.challengeTime),
    formatTime(host.validUntil),
    formatLabels(host.labels),
  ];
}

function policyOf({ trustPolicy, trustPolicyVersion }: PlacementHost): string {
  return trustPolicy === '' ? '-' : `${idOf(trustPolicy)}@${trustPolicyVersion}`;
}

/** `STATUS_CONTRAINDICATED (PCR_MISMATCH)`; `-` for none. */
function reasonsOf({ reasons, checkReasons }: Pick<RefusedHost, 'reasons' | 'checkReasons'>): string {
  if (reasons.length === 0) return '-';
  return checkReasons.length === 0 ? reasons.join(',') : `${reasons.join(',')} (${checkReasons.join(',')})`;
}

function wholeNumber(text: string): number {
  if (!/^[0-9]{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

function positiveNumber(text: string): number {
  const number = wholeNumber(text);
  if (number === 0) throw new InvalidArgumentError('It must be more than zero.');
  return number;
}

function oneOf<W extends string>(words: readonly W[]): (text: string) => W {
  return (text) => {
    const word = words.find((candidate) => candidate === text.toUpperCase().replaceAll('-', '_'));
    if (word === undefined) throw new InvalidArgumentError(`It must be one of ${words.join(', ')}.`);
    return word;
  };
}

/** The same key may come with several values. */
function collectLabelValue(text: string, before: readonly LabelValue[] | undefined): LabelValue[] {
  const [[key, value] = ['', '']] = Object.entries(collectLabel(text, undefined));
  return [...(before ?? []), { key, value }];
}
