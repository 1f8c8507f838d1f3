import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Change, ResultRecord } from '../../../server/store/records.ts';
import type { Store } from '../../../server/store/store.ts';
import { commit, digest, enrolled, NO_FILTER, round } from '../../server/store/fixtures.ts';
import { openTestStore, putPolicy } from '../../support/test-service.ts';
import type { ToldResult } from '../tellings.ts';
import { checkHistory } from './check-history.ts';
import type { Witnesses } from './check-history.ts';
import type { Heard } from './check-watch.ts';
import { historyOf } from './history.ts';
import type { History, Signed } from './history.ts';

/** A model that finds nothing proves nothing: each of these histories was falsified in one place. */
const HOST = 'h-a';
const AK = `000b${digest('ak a')}`;
const RULES = [{ bank: 'sha256', index: 16, allowed: ['00'.repeat(32)], severity: undefined, message: '' }];

let store: Store;
let close: () => Promise<void>;
let history: History;
let witnesses: Witnesses;

beforeAll(async () => {
  ({ store, close } = await openTestStore());
  const operator = { actor: 'identities/operator', scope: {} };
  await putPolicy(store, { description: 'mark-1', pcrRules: RULES, quote: { validity: 600_000 } });
  const { id } = await enrolled(store, 'a');
  await commit(store, await round(store, id));
  await commit(store, await round(store, id));
  await store.updateHost(id, { labels: { mark: 'mark-2' } }, { ...operator, version: null });
  await store.revokeHost(id, { ...operator, reason: 'mark-3' });
  await store.deleteHost(id, operator);
  await enrolled(store, 'a');
  history = await historyOf(store);
  const signed = (order: number): Signed => {
    return { good: true, resetCount: 1, akName: AK, order, time: store.now() };
  };
  witnesses = {
    deeds: [
      { action: 'host.update', target: `hosts/${HOST}`, mark: 'mark-2', outcome: 'acknowledged' },
      { action: 'host.revoke', target: `hosts/${HOST}`, mark: 'mark-3', outcome: 'unknown' },
      // Nothing but the order says which of two deletions the record is of: the one that was acknowledged.
      { action: 'host.delete', target: `hosts/${HOST}`, mark: '', outcome: 'unknown' },
      { action: 'host.delete', target: `hosts/${HOST}`, mark: '', outcome: 'acknowledged' },
      { action: 'host.delete', target: `hosts/${HOST}`, mark: '', outcome: 'unknown' },
    ],
    told: history.changes.filter(({ cause }) => cause !== 'deleted').map(({ result }) => told(result)),
    enrollments: [{ hostId: HOST, akName: AK, replacementPending: false }],
    watches: [{ name: 'all', filter: NO_FILTER, heard: heardAll(history.changes) }],
    ledgers: new Map([
      [HOST, new Map([0, 1].map((number): [string, Signed] => [digest(`evidence ${number}`), signed(number)]))],
    ]),
  };
});
afterAll(() => close());

function told(result: ResultRecord): ToldResult {
  const { hostId, revision, status, evidenceDigest, challengeTime, validUntil, confirmations } = result;
  const heard = { to: 'somebody', askedAt: 0, heardAt: store.now() };
  return { hostId, revision, status, evidenceDigest, challengeTime, validUntil, confirmations, ...heard };
}

function heardAll(changes: readonly Change[]): readonly Heard[] {
  const heardAt = store.now();
  return [
    { kind: 'anew', heardAt, revision: null },
    { kind: 'bookmark', synced: true, heardAt, revision: 0 },
    ...changes.map(({ cause, hostId, result, revision }): Heard => {
      return cause === 'deleted'
        ? { kind: 'removal', hostId, reason: 'DELETED', heardAt, revision }
        : { kind: 'change', result: told(result), heardAt, revision };
    }),
  ];
}

/** Changes what the history says of one revision. */
function changed(revision: number, change: Partial<ResultRecord>): History {
  const changes = history.changes.map((each) =>
    each.revision === revision ? { ...each, result: { ...each.result, ...change } } : each,
  );
  return { ...history, changes };
}

function heard(change: (heard: readonly Heard[]) => readonly Heard[]): Witnesses {
  return { ...witnesses, watches: witnesses.watches.map((watch) => ({ ...watch, heard: change(watch.heard) })) };
}

function signedAs(change: Partial<Signed>): Witnesses {
  const ledger = [...(witnesses.ledgers.get(HOST) ?? [])].map(
    ([key, signed]) => [key, { ...signed, ...change }] as const,
  );
  return { ...witnesses, ledgers: new Map([[HOST, new Map(ledger)]]) };
}

/** The revision of the verdict; the enrolment is the one before, the ban two later. */
const VERDICT = 2;

describe('the model of a history', () => {
  it('has nothing to say against a history and what was told of it', () => {
    expect(history.changes.map(({ cause }) => cause)).toEqual([
      'enrolled',
      'verdict',
      'updated',
      'revoked',
      'deleted',
      'enrolled',
    ]);
    expect(checkHistory(history, witnesses)).toEqual([]);
  });

  it.each<{ name: string; problem: RegExp; history?: () => History; witnesses?: () => Witnesses }>([
    {
      name: 'a revision that is missing',
      history: () => ({ ...history, changes: history.changes.filter(({ revision }) => revision !== VERDICT) }),
      problem: /revision 3 stands at place 2/,
    },
    {
      name: 'an audit record that is missing',
      history: () => ({ ...history, audit: history.audit.filter(({ sequence }) => sequence !== 2) }),
      problem: /the audit chain breaks at 3/,
    },
    {
      name: 'a deed that was acknowledged and is not there',
      witnesses: () => ({
        ...witnesses,
        deeds: [{ action: 'host.revoke', target: 'hosts/h-b', mark: 'x', outcome: 'acknowledged' }, ...witnesses.deeds],
      }),
      problem: /host\.revoke of hosts\/h-b \(x\) was lost/,
    },
    {
      name: 'a deed that was refused and is there',
      witnesses: () => ({
        ...witnesses,
        deeds: witnesses.deeds.map((deed) => ({ ...deed, outcome: 'refused' as const })),
      }),
      problem: /host\.update of hosts\/h-a, is of no deed that is left/,
    },
    {
      name: 'deeds in another order',
      witnesses: () => ({ ...witnesses, deeds: witnesses.deeds.toReversed() }),
      problem: /is of no deed that is left/,
    },
    {
      name: 'an enrolment that is not there',
      witnesses: () => ({ ...witnesses, enrollments: [{ hostId: HOST, akName: '000b00', replacementPending: false }] }),
      problem: /the enrolment of h-a with the key 000b00 was lost/,
    },
    {
      name: 'a host with another key than it enrolled',
      history: () => ({
        ...history,
        hosts: history.hosts.map((host) => ({ ...host, ak: { ...host.ak, name: 'other' } })),
      }),
      problem: /hosts\/h-a has the key other/,
    },
    {
      name: 'a host that is gone',
      history: () => ({ ...history, hosts: [] }),
      problem: /hosts\/h-a is gone, and nobody deleted it/,
    },
    {
      name: 'evidence of tampering',
      witnesses: () => signedAs({ good: false }),
      problem: /affirms on evidence of tampering/,
    },
    { name: 'evidence of another boot', witnesses: () => signedAs({ resetCount: 0 }), problem: /affirms a boot/ },
    { name: 'evidence of another key', witnesses: () => signedAs({ akName: 'x' }), problem: /affirms by another key/ },
    {
      name: 'evidence from before its challenge',
      witnesses: () => signedAs({ time: 0 }),
      problem: /older than the challenge/,
    },
    {
      name: 'evidence of nobody',
      history: () => changed(VERDICT, { evidenceDigest: 'none' }),
      problem: /affirms on evidence that its TPM did not sign/,
    },
    {
      name: 'evidence that goes back',
      history: () => changed(VERDICT + 1, { evidenceDigest: digest('evidence 0') }),
      problem: /goes back to older evidence/,
    },
    {
      name: 'a verdict for longer than its policy says',
      history: () => changed(VERDICT, { validUntil: Number.MAX_SAFE_INTEGER }),
      problem: /affirms for longer than its policy says/,
    },
    { name: 'a verdict for ever', history: () => changed(VERDICT, { validUntil: null }), problem: /affirms for ever/ },
    {
      name: 'a verdict under an old policy',
      history: () => ({
        ...history,
        policies: history.policies.flatMap((policy) => [policy, { ...policy, version: 2, createTime: 0 }]),
      }),
      problem: /affirms under version 1 when 2 was there/,
    },
    {
      name: 'a banned host that is affirmed',
      history: () => ({
        ...history,
        changes: history.changes.map((each) => (each.revision === VERDICT - 1 ? { ...each, cause: 'revoked' } : each)),
      }),
      problem: /affirms although it is revoked/,
    },
    {
      name: 'a result that was told and is not there',
      history: () => changed(VERDICT, { status: 'warning' }),
      problem: /was told revision 2 of h-a \(affirming\), where the history has warning/,
    },
    {
      name: 'a confirmation that was told and is not there',
      history: () => changed(VERDICT, { confirmations: 0 }),
      problem: /with 1 confirmations, of which the history has 0/,
    },
    {
      name: 'a revision that a watcher did not hear',
      witnesses: () => heard((all) => all.filter(({ revision }) => revision !== VERDICT)),
      problem: /heard nothing of revision 2, not change affirming/,
    },
    {
      name: 'a revision that a watcher heard twice',
      witnesses: () => heard((all) => all.flatMap((each) => (each.revision === VERDICT ? [each, each] : [each]))),
      problem: /heard of revision 2 twice/,
    },
    {
      name: 'revisions that a watcher heard out of order',
      witnesses: () => heard((all) => [...all.slice(0, 2), ...all.slice(2).toReversed()]),
      problem: /stood at 6 and heard a removal at 5/,
    },
    {
      name: 'a watcher that hears what is outside his filter',
      witnesses: () => ({
        ...witnesses,
        watches: witnesses.watches.map((watch) => ({
          ...watch,
          filter: { ...NO_FILTER, statuses: ['warning' as const] },
        })),
      }),
      problem: /heard change none of revision 1, not nothing/,
    },
    {
      name: 'a watcher that was left behind',
      witnesses: () => heard((all) => all.slice(0, -1)),
      problem: /ended at revision 5, the store at 6/,
    },
  ])('finds $name', ({ problem, ...falsified }) => {
    const problems = checkHistory(falsified.history?.() ?? history, falsified.witnesses?.() ?? witnesses);
    expect(problems.join('\n')).toMatch(problem);
  });
});
