/** All checks of a run together. */
import type { ToldEnrollment, ToldResult } from '../tellings.ts';
import { checkDeeds } from './check-deeds.ts';
import type { Deed } from './check-deeds.ts';
import { checkConfirmations, checkEnrollments, checkResults } from './check-told.ts';
import { checkTrust } from './check-trust.ts';
import { checkWatch } from './check-watch.ts';
import type { Watch } from './check-watch.ts';
import { checkWhole } from './check-whole.ts';
import type { History, Ledgers } from './history.ts';

export interface Witnesses {
  readonly deeds: readonly Deed[];
  /** What agents and the operator were told. */
  readonly told: readonly ToldResult[];
  readonly enrollments: readonly ToldEnrollment[];
  readonly watches: readonly Watch[];
  readonly ledgers: Ledgers;
}

const OPERATOR = 'identities/operator';

/** What the test does by the operator's profile before the operator begins. */
const SET_UP = /^(?:trustAnchor\.|identity\.issue$)/;

/** Every way in which the history and the witnesses differ; none where the promises were kept. */
export function checkHistory(history: History, witnesses: Witnesses): readonly string[] {
  const { deeds, told, enrollments, watches, ledgers } = witnesses;
  const heard = watches.flatMap((watch) =>
    watch.heard.flatMap((each) => (each.kind === 'change' || each.kind === 'initial' ? [each.result] : [])),
  );
  return [
    ...checkWhole(history),
    ...checkDeeds(withoutSetUp(history), deeds, OPERATOR),
    ...checkEnrollments(history, enrollments),
    ...checkTrust(history, ledgers),
    ...checkResults(history, [...told, ...heard], ledgers),
    ...watches.flatMap((watch) => [
      ...checkWatch(history, watch),
      ...checkConfirmations(history, watch.heard, `watcher ${watch.name}`),
    ]),
  ];
}

function withoutSetUp(history: History): History {
  return { ...history, audit: history.audit.filter(({ action }) => !SET_UP.test(action)) };
}
