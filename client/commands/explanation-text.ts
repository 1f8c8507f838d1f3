import { formatFields, formatTable, formatTime, idOf, statusCell } from '../output.ts';
import type { Cell, TableStyle } from '../output.ts';
import type { HostExplanation } from '../sdk/host-explanation.ts';

/** What judges a host, for people: the policy and why it, what it requires and what holds, what is missing. */
export function describeExplanation(explanation: HostExplanation, style: TableStyle): string {
  const { candidates, requirements, otherChecks, missing, inputs } = explanation;
  return [
    formatFields(summaryOf(explanation), style),
    ...(candidates.length === 0
      ? []
      : [
          formatTable(
            ['POLICY', 'VERSION', 'PRECEDENCE', 'SELECTS THE HOST', 'STANDING'],
            candidates.map(({ name, version, precedence, selects, standing }) => [
              idOf(name),
              String(version),
              String(precedence),
              selects ? 'yes' : 'no',
              STANDINGS[standing] ?? standing,
            ]),
            style,
          ),
        ]),
    ...(requirements.length === 0
      ? []
      : [formatTable(['HOLDS', 'REQUIREMENT', 'OBSERVED', 'EXPECTED'], requirements.map(requirementRow), style)]),
    ...(otherChecks.length === 0
      ? []
      : [
          formatTable(
            ['CHECK', 'ID', 'MESSAGE'],
            otherChecks.map(({ id, outcome, message }) => [statusCell(outcome), id, message]),
            style,
          ),
        ]),
    ...(missing.length === 0
      ? []
      : [
          formatTable(
            ['MISSING FOR AFFIRMING'],
            missing.map((sentence) => [sentence]),
            style,
          ),
        ]),
    formatTable(
      ['INPUT OF THE VERDICT', 'VERSION'],
      inputs.map(({ name, version }) => [name, String(version)]),
      style,
    ),
  ].join('\n');
}

const CHOICES: Readonly<Record<string, string>> = {
  NAMED: 'an operator named it for the host',
  SELECTED: 'its selector takes the host, and no other that does has a higher precedence',
  NONE: 'none: no selector takes the host',
  AMBIGUOUS: 'none: several of the highest precedence take the host',
  NAMED_MISSING: 'none: the policy that is named for the host does not exist, and selectors are not asked then',
};

const STANDINGS: Readonly<Record<string, string>> = {
  JUDGES: 'judges',
  OUTRANKED: 'outranked',
  TIED: 'tied: does not judge',
  NOT_ASKED: 'not asked',
};

function summaryOf(explanation: HostExplanation): readonly (readonly [string, Cell])[] {
  const { result, trustPolicy, trustPolicyVersion, choice } = explanation;
  return [
    ['host', explanation.host],
    ['node name', result.nodeName === '' ? '-' : result.nodeName],
    ['policy', trustPolicy === '' ? '-' : `${idOf(trustPolicy)}, version ${trustPolicyVersion}`],
    ['because', CHOICES[choice] ?? choice],
    ['status', statusCell(result.status)],
    ['connectivity', statusCell(result.connectivity)],
    ['valid until', formatTime(result.validUntil)],
    ['input digest', explanation.appraisalInputDigest],
  ];
}

function requirementRow({ description, check }: HostExplanation['requirements'][number]): readonly Cell[] {
  if (check === undefined) return [{ text: '-', colour: 'dim' }, description, '', ''];
  return [statusCell(check.outcome), description, check.observed, check.outcome === 'PASSED' ? '' : check.expected];
}
