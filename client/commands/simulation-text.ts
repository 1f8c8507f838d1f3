import { formatFields, formatTable, idOf, statusCell } from '../output.ts';
import type { Cell, TableStyle } from '../output.ts';
import type { SimulatedVerdict, SimulationSummary } from '../sdk/simulation.ts';

/** A simulation for people: counts first, then whom it concerns, then each verdict that would be another. */
export function describeSimulation(
  { verdicts, summary }: { readonly verdicts: readonly SimulatedVerdict[]; readonly summary: SimulationSummary },
  style: TableStyle,
): string {
  const rows = verdicts.toSorted((left, right) => rankOf(left) - rankOf(right)).map(rowOf);
  const { transitions, judges, unlistedCount } = summary;
  return [
    formatFields(countsOf(summary), style),
    ...(transitions.length === 0
      ? []
      : [
          formatTable(
            ['FROM', 'TO', 'HOSTS'],
            transitions.map(({ from, to, assumed, hostCount }) => [
              statusCell(from),
              cellOf(to, assumed),
              String(hostCount),
            ]),
            style,
          ),
          formatTable(
            ['JUDGED BY', 'WOULD BE JUDGED BY', 'HOSTS'],
            judges.map(({ from, to, ambiguous, hostCount }) => [
              policyOf(from),
              ambiguous ? 'none: several of one precedence' : policyOf(to),
              String(hostCount),
            ]),
            style,
          ),
        ]),
    ...(rows.length === 0 ? [] : [formatTable(['HOST', 'NODE NAME', 'FROM', 'TO', 'BECAUSE'], rows, style)]),
    ...(unlistedCount === 0n ? [] : [`and ${unlistedCount} more hosts\n`]),
  ].join('\n');
}

function countsOf(summary: SimulationSummary): readonly (readonly [string, Cell])[] {
  const { hostCount, concernedCount, worseCount, betterCount, unknownCount, unknownTrustedCount, assumedCount } =
    summary;
  return [
    ['hosts', `${hostCount}, of which ${concernedCount} would be judged by another policy or version`],
    ['worse', worseCount === 0n ? '0' : { text: String(worseCount), colour: 'red' }],
    ['better', String(betterCount)],
    [
      'cannot be said',
      unknownCount === 0n
        ? '0'
        : { text: `${unknownCount}, of which ${unknownTrustedCount} are trusted now`, colour: 'yellow' },
    ],
    ...(assumedCount === 0n
      ? []
      : [
          [
            'with ?',
            `${assumedCount}: true only if PCRs that the last quote left out have not moved in this boot`,
          ] as const,
        ]),
  ];
}

const BEST_FIRST = ['AFFIRMING', 'WARNING', 'NONE', 'CONTRAINDICATED'];

/** What gets worse first, then what cannot be said, then what gets better. */
function rankOf({ fromStatus, outcome }: SimulatedVerdict): number {
  if (outcome.kind === 'unknown') return 1;
  return BEST_FIRST.indexOf(outcome.status) > BEST_FIRST.indexOf(fromStatus) ? 0 : 2;
}

function rowOf({ host, nodeName, fromStatus, outcome, ...verdict }: SimulatedVerdict): readonly Cell[] {
  const to = outcome.kind === 'unknown' ? undefined : outcome.status;
  return [
    idOf(host),
    nodeName === '' ? '-' : nodeName,
    statusCell(fromStatus),
    cellOf(to, outcome.kind === 'assumed'),
    becauseOf({ outcome, ...verdict }),
  ];
}

function becauseOf({
  outcome,
  checks,
  formerChecks,
}: Pick<SimulatedVerdict, 'outcome' | 'checks' | 'formerChecks'>): string {
  if (outcome.kind === 'unknown') return `${outcome.reason}: ${outcome.observed}`;
  const decides = checks.map(({ id, reason }) => `${id} ${reason}`);
  const ends = formerChecks
    .filter(({ id }) => !checks.some((check) => check.id === id))
    .map(({ id, reason }) => `no more ${id} ${reason}`);
  const assumes = outcome.kind === 'assumed' ? [`if unmoved: ${outcome.pcrs.join(', ')}`] : [];
  const why = [...decides, ...ends, ...assumes];
  return why.length === 0 ? '-' : why.join('; ');
}

function cellOf(status: string | undefined, assumed: boolean): Cell {
  if (status === undefined) return { text: 'cannot be said', colour: 'yellow' };
  return assumed ? { text: `${status}?`, colour: 'yellow' } : statusCell(status);
}

function policyOf(name: string): string {
  return name === '' ? '-' : idOf(name);
}
