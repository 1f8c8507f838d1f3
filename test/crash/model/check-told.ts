/** Whether all that anybody was told is in the history: what was published is never lost and never was something else. */
import type { Change } from '../../../server/store/records.ts';
import type { ToldEnrollment, ToldResult } from '../tellings.ts';
import type { Heard } from './check-watch.ts';
import { affirmsBy } from './check-trust.ts';
import type { History, Ledgers } from './history.ts';

export function checkResults(history: History, told: readonly ToldResult[], ledgers: Ledgers): readonly string[] {
  return told.flatMap((each) => {
    const problems: string[] = [];
    const { hostId, revision, status, to } = each;
    const wrong = (text: string): void =>
      void problems.push(`${to} was told revision ${revision} of ${hostId} (${status}), ${text}`);
    const change = history.changes[revision - 1];
    if (change === undefined || change.hostId !== hostId) wrong('which is not in the history');
    else checkResult(each, change, wrong);
    if (!affirmsBy(each, ledgers.get(hostId))) wrong('which rests on no good evidence');
    if (status === 'affirming' && each.validUntil !== null && each.validUntil <= each.askedAt)
      wrong('which was over when it was asked for');
    return problems;
  });
}

/** The revision as it stood then: confirmations have moved it since, and an expiry reads as none. */
function checkResult(told: ToldResult, { result }: Change, wrong: (text: string) => void): void {
  const ended = result.validUntil !== null && result.validUntil <= told.heardAt;
  if (told.status !== result.status) {
    if (told.status !== 'none' || !ended) wrong(`where the history has ${result.status}`);
    return;
  }
  if (told.confirmations > result.confirmations)
    wrong(`with ${told.confirmations} confirmations, of which the history has ${result.confirmations}`);
  if (told.challengeTime > result.challengeTime) wrong('with a challenge that is later than that of the history');
  const same = told.confirmations === result.confirmations;
  if (same && told.validUntil !== result.validUntil) wrong('with another validity than the history');
  if ((told.validUntil ?? 0) > (result.validUntil ?? 0)) wrong('valid for longer than in the history');
}

/** The latest confirmation of each revision that a watcher heard of is no more than what is durable. */
export function checkConfirmations(history: History, heard: readonly Heard[], to: string): readonly string[] {
  return heard.flatMap((each) => {
    if (each.kind !== 'validity') return [];
    const result = history.changes[each.of - 1]?.result;
    const durable =
      result?.hostId === each.hostId &&
      each.confirmations <= result.confirmations &&
      each.validUntil <= (result.validUntil ?? 0);
    return durable ? [] : [`${to} was told confirmation ${each.confirmations} of revision ${each.of}, which is lost`];
  });
}

/** Each enrolment that an agent was told of is in the audit log, under its key. */
export function checkEnrollments({ audit }: History, told: readonly ToldEnrollment[]): readonly string[] {
  return told.flatMap(({ hostId, akName }) => {
    const done = audit.some(
      ({ action, target, detail }) =>
        action.startsWith('host.enroll.') && target === `hosts/${hostId}` && detail.startsWith(`ak ${akName},`),
    );
    return done ? [] : [`the enrolment of ${hostId} with the key ${akName} was lost`];
  });
}
