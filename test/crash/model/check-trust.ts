/** Whether no host ever looked better than its evidence. */
import type { Change, PolicyRecord, ResultRecord } from '../../../server/store/records.ts';
import type { History, Ledgers, Signed } from './history.ts';

/** What of a policy's body this check reads; times in milliseconds. */
interface PolicyBody {
  readonly quote: { readonly validity: number };
  readonly pcrRules: readonly { readonly index: number; readonly allowed: readonly string[] }[];
}

const WATCHED_PCR = 16;
const GOOD_VALUE = '00'.repeat(32);

export function checkTrust(history: History, ledgers: Ledgers): readonly string[] {
  const hostIds = new Set(history.changes.map(({ hostId }) => hostId));
  return [...hostIds].flatMap((hostId) => {
    const changes = history.changes.filter((change) => change.hostId === hostId);
    return [
      ...changes.flatMap((change) => checkVerdict(change, history, ledgers.get(hostId) ?? new Map())),
      ...checkCourse(changes, ledgers.get(hostId) ?? new Map()),
    ];
  });
}

/** An affirming revision stands on a good quote of this host, under the policy of its time, for as long as that policy says. */
function checkVerdict(
  { result, revision }: Change,
  { policies }: History,
  ledger: ReadonlyMap<string, Signed>,
): readonly string[] {
  if (result.status !== 'affirming') return [];
  const problems: string[] = [];
  const wrong = (text: string): void => void problems.push(`revision ${revision} of ${result.hostId} affirms ${text}`);
  const signed = ledger.get(result.evidenceDigest);
  if (signed === undefined) wrong('on evidence that its TPM did not sign');
  else {
    if (!signed.good) wrong('on evidence of tampering');
    if (signed.resetCount !== result.resetCount) wrong('a boot that the evidence is not of');
    if (signed.akName !== result.akName) wrong('by another key than signed');
    if (signed.time < result.challengeTime) wrong('on evidence that is older than the challenge');
  }
  const policy = policies.find(({ id, version }) => id === result.policyId && version === result.policyVersion);
  if (policy === undefined) wrong('under a policy that is not there');
  else {
    if (!allowsGoodValue(policy)) wrong('under a policy that allows nothing');
    if (result.validUntil === null) wrong('for ever');
    else if (result.validUntil > result.challengeTime + bodyOf(policy).quote.validity)
      wrong('for longer than its policy says');
  }
  const newer = policies.find(
    ({ id, version, createTime }) =>
      id === result.policyId && version > result.policyVersion && createTime < result.revisionTime,
  );
  if (newer !== undefined) wrong(`under version ${result.policyVersion} when ${newer.version} was there`);
  return problems;
}

/** Evidence counts in the order in which it was signed; a ban and a replaced key hold until an operator ends them. */
function checkCourse(changes: readonly Change[], ledger: ReadonlyMap<string, Signed>): readonly string[] {
  const problems: string[] = [];
  let newest = -1;
  let held: 'revoked' | 'ak_replaced' | null = null;
  for (const { cause, result, revision } of changes) {
    if (cause === 'revoked') held = 'revoked';
    else if (cause === 'ak_replaced') held = 'ak_replaced';
    else if (cause === 'deleted' || (cause === 'approved' && held === 'ak_replaced')) held = null;
    else if (result.status === 'affirming' && held !== null)
      problems.push(`revision ${revision} of ${result.hostId} affirms although it is ${held}`);
    if (cause === 'deleted' || cause === 'ak_replaced') continue;
    const order = ledger.get(result.evidenceDigest)?.order ?? newest;
    if (order < newest) problems.push(`revision ${revision} of ${result.hostId} goes back to older evidence`);
    newest = Math.max(newest, order);
  }
  return problems;
}

/** Whether a result that somebody was told affirms by evidence that is good; the history may only have its successor. */
export function affirmsBy(
  result: Pick<ResultRecord, 'status' | 'evidenceDigest'>,
  ledger: ReadonlyMap<string, Signed> | undefined,
): boolean {
  return result.status !== 'affirming' || ledger?.get(result.evidenceDigest)?.good === true;
}

function bodyOf({ body }: PolicyRecord): PolicyBody {
  return JSON.parse(body) as PolicyBody;
}

function allowsGoodValue(policy: PolicyRecord): boolean {
  return bodyOf(policy).pcrRules.some(({ index, allowed }) => index === WATCHED_PCR && allowed.includes(GOOD_VALUE));
}
