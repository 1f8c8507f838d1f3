import { matchesLabels } from '../store/attachment.ts';
import type { Labels, PlacementRecord } from '../store/records.ts';

/** NONE and CONTRAINDICATED are never selectable. */
export type PlacementTier = 'affirming' | 'warning';

/** What a host must be. */
export interface PlacementRequirements {
  /** The lowest status that is taken. */
  readonly minimumTier: PlacementTier;
  /** '' for whichever policy judges the host. */
  readonly policyId: string;
  readonly minimumPolicyVersion: number;
  /** How long ago the challenge may be, milliseconds; null: as long as the verdict is valid. */
  readonly maximumAge: number | null;
  readonly matchLabels: Labels;
  /** Any one match excludes. */
  readonly excluded: {
    readonly hostIds: ReadonlySet<string>;
    readonly nodeNames: ReadonlySet<string>;
    readonly labels: readonly { readonly key: string; readonly value: string }[];
  };
}

/** Why a host is refused (docs/reasons.md); a reason is the bit of its position. */
export const REFUSALS = [
  'STATUS_CONTRAINDICATED',
  'STATUS_NONE',
  'STATUS_WARNING',
  'POLICY_DIFFERS',
  'POLICY_VERSION_OLD',
  'EVIDENCE_TOO_OLD',
  'LABELS_DIFFER',
  'HOST_EXCLUDED',
] as const;

export type Refusal = (typeof REFUSALS)[number];

const BIT = Object.fromEntries(REFUSALS.map((refusal, position) => [refusal, 1 << position])) as Readonly<
  Record<Refusal, number>
>;

/** What the labels, id and name of a host say of it. */
interface Selected {
  readonly matches: boolean;
  readonly excluded: boolean;
}

/**
 * Why a host is refused at a time, as bits; 0 when it is selectable. The one place that decides it.
 * @param selected where it is known already, as of many hosts at once
 */
export function refusalBits(
  host: PlacementRecord,
  requirements: PlacementRequirements,
  now: number,
  selected: Selected = selectedBy(host, requirements),
): number {
  return (
    statusBit(host, requirements.minimumTier, now) |
    policyBit(host, requirements) |
    (host.challengeTime < oldestChallenge(requirements, now) ? BIT.EVIDENCE_TOO_OLD : 0) |
    (selected.matches ? 0 : BIT.LABELS_DIFFER) |
    (selected.excluded ? BIT.HOST_EXCLUDED : 0)
  );
}

function selectedBy(host: PlacementRecord, { matchLabels, excluded }: PlacementRequirements): Selected {
  return { matches: matchesLabels(host.labels, matchLabels), excluded: isExcluded(host, excluded) };
}

export function refusalsOf(bits: number): readonly Refusal[] {
  return REFUSALS.filter((refusal) => (bits & BIT[refusal]) !== 0);
}

/** The earliest challenge that is recent enough, milliseconds. */
export function oldestChallenge({ maximumAge }: PlacementRequirements, now: number): number {
  return maximumAge === null ? -Infinity : now - maximumAge;
}

function statusBit({ status, validUntil }: PlacementRecord, minimum: PlacementTier, now: number): number {
  if (status === 'contraindicated') return BIT.STATUS_CONTRAINDICATED;
  // What is over counts for nothing, whether or not that was written already.
  if (status === 'none' || validUntil === null || validUntil <= now) return BIT.STATUS_NONE;
  return status === 'warning' && minimum === 'affirming' ? BIT.STATUS_WARNING : 0;
}

function policyBit({ policyId, policyVersion }: PlacementRecord, requirements: PlacementRequirements): number {
  if (requirements.policyId === '') return 0;
  if (policyId !== requirements.policyId) return BIT.POLICY_DIFFERS;
  return policyVersion < requirements.minimumPolicyVersion ? BIT.POLICY_VERSION_OLD : 0;
}

function isExcluded(
  { hostId, nodeName, labels }: PlacementRecord,
  { hostIds, nodeNames, labels: unwanted }: PlacementRequirements['excluded'],
): boolean {
  if (hostIds.has(hostId) || nodeNames.has(nodeName)) return true;
  return unwanted.some(({ key, value }) => Object.hasOwn(labels, key) && labels[key] === value);
}
