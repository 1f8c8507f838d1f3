import type { ProvenPcrValues } from '../../tpm/crypto/pcr.ts';
import type { Finding } from '../verifier/finding.ts';
import type { AppraisalInput } from './appraise.ts';

type Comparison<T> = (one: T, other: T) => boolean;

/** How each part of an input is compared. A part that it lacks does not compile. */
type Comparisons = { readonly [Part in keyof Required<AppraisalInput>]: Comparison<AppraisalInput[Part]> };

const identical = Object.is;

/** In doubt a part is another one: then the input is appraised. */
const COMPARISONS: Comparisons = {
  // The resolver makes another object whenever the policy or what it names has another version.
  applicable: identical,
  epochs: (one, other) => one.policy === other.policy && one.endorsement === other.endorsement,
  findings: (one, other) => sameItems(one, other, sameFinding),
  pcrs: (one, other) => one === other || (one !== null && other !== null && samePcrs(one, other)),
  // What is known of a boot is made once and replaced, never changed.
  boot: (one, other) => one === other || (one.kind === 'none' && other.kind === 'none'),
  // A list that goes on is judged anew, whatever it brought.
  runtime: (one, other) => one === null && other === null,
  banks: (one, other) => one === other || sameItems([...one], [...other], identical),
  banksProven: identical,
  endorsed: identical,
  revoked: identical,
  standing: (one, other) => sameItems(one, other, identical),
  akName: identical,
  firmwareVersion: identical,
  resetCount: identical,
  restartCount: identical,
  // Read with what a host is judged by, and again whenever something outside changes.
  facts: identical,
};

const PARTS = Object.keys(COMPARISONS) as readonly (keyof AppraisalInput)[];

/** Whether the appraisal of both inputs is one verdict: they differ in nothing but how far the TPM's clock went on. */
export function isSameInput(one: AppraisalInput, other: AppraisalInput): boolean {
  return PARTS.every((part) => isSamePart(part, one, other));
}

function isSamePart<Part extends keyof AppraisalInput>(
  part: Part,
  one: AppraisalInput,
  other: AppraisalInput,
): boolean {
  const compare: Comparison<AppraisalInput[Part]> = COMPARISONS[part];
  return compare(one[part], other[part]);
}

function sameItems<T>(one: readonly T[], other: readonly T[], same: (one: T, other: T) => boolean): boolean {
  return one.length === other.length && one.every((item, at) => same(item, other[at] as T));
}

/** The clock moves with every quote; that it did is no new verdict. */
function sameFinding(one: Finding, other: Finding): boolean {
  if (one === other) return true;
  return (
    one.id === other.id &&
    one.outcome === other.outcome &&
    one.reason === other.reason &&
    one.expected === other.expected &&
    one.message === other.message &&
    (one.observed === other.observed || (one.id === 'clock' && one.outcome === 'passed'))
  );
}

function samePcrs(one: ProvenPcrValues, other: ProvenPcrValues): boolean {
  if (one.size !== other.size) return false;
  for (const [bank, values] of one) {
    const others = other.get(bank);
    if (others?.size !== values.size) return false;
    for (const [index, value] of values) if (others.get(index)?.equals(value) !== true) return false;
  }
  return true;
}
