import { describe, expect, it } from 'vitest';
import type { EnrollInput } from '../../../../server/store/store.ts';
import {
  affirmed,
  ak,
  commit,
  digest,
  ek,
  enrollAgain,
  enrolled,
  enrollment,
  OPERATOR,
  policy,
  reasons,
  round,
  verdict,
} from '../fixtures.ts';
import type { Given } from './harness.ts';

export function describeEnrollment(given: Given): void {
  describe('enrolment', () => {
    it('makes a new host with a revision that affirms nothing', async () => {
      const input = await enrollment(given.store, 'a');
      const outcome = await given.store.enroll(input);
      expect(outcome).toMatchObject({
        outcome: 'created',
        host: {
          id: 'h-a',
          state: 'active',
          version: 1,
          round: 0,
          akGeneration: 1,
          eks: input.eks,
          ak: input.ak,
          findings: [],
        },
      });
      expect(await given.store.getHost('h-a')).toEqual('host' in outcome ? outcome.host : null);
      expect(await given.store.getResult('h-a')).toMatchObject({
        revision: 1,
        status: 'none',
        validUntil: null,
        connectivity: 'never_seen',
        akName: input.ak.name,
        policyId: '',
        policyVersion: 0,
      });
      expect(await reasons(given.store, 'h-a')).toEqual(['AWAITING_EVIDENCE']);
      expect(await given.store.changesSince(0, 10)).toMatchObject([{ revision: 1, cause: 'enrolled', prior: null }]);
    });

    it('lets a host wait where an operator admits', async () => {
      await enrolled(given.store, 'a', { state: 'pending', admission: 'approval' });
      expect(await reasons(given.store, 'h-a')).toEqual(['AWAITING_APPROVAL']);
    });

    it('keeps nothing large of a host that waits, also when it comes again with another AK', async () => {
      const waits = { state: 'pending', admission: 'approval' } as const;
      const logs = [{ kind: 'ima', offset: 0, data: Buffer.from('entries') }] as const;
      const unreadable = [{ kind: 'boot', reason: 'gone' }] as const;
      const host = await enrolled(given.store, 'a', { ...waits, logs, unreadable });
      expect(host.banksProven).toBe(false);
      const again = await enrollAgain(given.store, host, { ...waits, logs, ak: ak('next') });
      expect(await given.store.enroll(again)).toMatchObject({ outcome: 'replaced', host: { banksProven: false } });
      expect(await given.store.logStates('h-a')).toEqual([]);
      expect(await given.store.getBoot('h-a')).toBeNull();
    });

    it('lets so many hosts wait and no more, and says so in the transaction', async () => {
      const waits = { state: 'pending', admission: 'approval', maxPendingHosts: 2 } as const;
      const host = await enrolled(given.store, 'a', waits);
      const both = await Promise.all([enrollment(given.store, 'b', waits), enrollment(given.store, 'c', waits)]);
      const outcomes = await Promise.all(both.map((input) => given.store.enroll(input)));
      expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual(['created', 'too_many_pending']);
      // Who waits already comes again, and who need not wait is not counted.
      expect(await given.store.enroll(await enrollAgain(given.store, host, waits))).toMatchObject({
        outcome: 'refreshed',
      });
      await enrolled(given.store, 'd', { maxPendingHosts: 2 });
    });

    it('lets hosts lapse that were not approved in time, which is a deletion that is told and audited', async () => {
      const waits = { state: 'pending', admission: 'approval' } as const;
      await enrolled(given.store, 'old', waits);
      await enrolled(given.store, 'admitted');
      given.clock.advance(60_000);
      const young = await enrolled(given.store, 'young', waits);
      const { revision } = await given.store.heads();
      expect(await given.store.lapsePending(young.createTime, { actor: 'service' })).toBe(1);
      expect(await given.store.getHost('h-old')).toBeNull();
      expect(await given.store.getHost('h-young')).not.toBeNull();
      expect(await given.store.getHost('h-admitted')).not.toBeNull();
      expect(await given.store.changesSince(revision, 10)).toMatchObject([{ cause: 'deleted' }]);
      expect((await given.store.listAudit(0, 100)).at(-1)).toMatchObject({
        actor: 'service',
        action: 'host.lapse',
        target: 'hosts/h-old',
      });
      expect(await given.store.lapsePending(young.createTime, { actor: 'service' })).toBe(0);
      await enrolled(given.store, 'old', waits);
    });

    it('completes an enrolment id once', async () => {
      const input = await enrollment(given.store, 'a');
      await given.store.enroll(input);
      expect(await given.store.enroll({ ...input, expected: { hostId: 'h-a', version: 1 } })).toEqual({
        outcome: 'already_used',
      });
    });

    it('lets one of two simultaneous completions of an id through', async () => {
      const input = await enrollment(given.store, 'a');
      const outcomes = await Promise.all([given.store.enroll(input), given.store.enroll(input)]);
      expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual(['already_used', 'created']);
    });

    it('takes an enrolment once, and none after its end, also when its id is forgotten', async () => {
      const first = await enrollment(given.store, 'a');
      await given.store.enroll(first);
      given.clock.advance(30_000);
      expect(await given.store.enroll({ ...first, epochs: await given.store.epochs() })).toEqual({
        outcome: 'already_used',
      });
      given.clock.advance(30_000);
      expect(await given.store.enroll(first)).toEqual({ outcome: 'expired' });
      given.clock.advance(60_000);
      await given.store.deleteHost('h-a', OPERATOR);
      await enrolled(given.store, 'b');
      expect(await given.store.enroll({ ...first, expected: null })).toEqual({ outcome: 'expired' });
    });

    it('does not spend the id of a refused enrolment', async () => {
      const input = await enrollment(given.store, 'a');
      const stale = { ...input, expected: { hostId: 'h-a', version: 9 } };
      expect(await given.store.enroll(stale)).toEqual({ outcome: 'fenced' });
      expect(await given.store.enroll(input)).toMatchObject({ outcome: 'created' });
    });

    it.each<{ name: string; change: (input: EnrollInput) => Partial<EnrollInput>; outcome: string }>([
      {
        name: 'an AK of another host',
        change: () => ({ ak: ak('a') }),
        outcome: 'ak_conflict',
      },
      {
        name: 'EKs of two hosts',
        change: () => ({ eks: [ek('a'), ek('b')], expected: { hostId: 'h-a', version: 1 } }),
        outcome: 'ek_conflict',
      },
      { name: 'the id of a host with other EKs', change: () => ({ hostId: 'h-a' }), outcome: 'ek_conflict' },
      {
        name: 'an expected host that is not there',
        change: () => ({ expected: { hostId: 'h-x', version: 1 } }),
        outcome: 'fenced',
      },
      { name: 'a known EK that was decided on as a new one', change: () => ({ eks: [ek('a')] }), outcome: 'fenced' },
      {
        name: 'another version of the host',
        change: () => ({ eks: [ek('a')], ak: ak('a'), expected: { hostId: 'h-a', version: 2 } }),
        outcome: 'fenced',
      },
      {
        name: 'an older policy epoch',
        change: ({ epochs }) => ({ epochs: { ...epochs, policy: epochs.policy - 1 } }),
        outcome: 'fenced',
      },
      {
        name: 'an older endorsement epoch',
        change: ({ epochs }) => ({ epochs: { ...epochs, endorsement: epochs.endorsement - 1 } }),
        outcome: 'fenced',
      },
    ])('refuses $name', async ({ change, outcome }) => {
      await enrolled(given.store, 'a');
      await enrolled(given.store, 'b');
      const before = await given.store.heads();
      const audit = await given.store.listAudit(0, 100);
      const input = await enrollment(given.store, 'c');
      expect(await given.store.enroll({ ...input, ...change(input) })).toEqual({ outcome });
      expect(await given.store.heads()).toEqual(before);
      expect(await given.store.listAudit(0, 100)).toEqual(audit);
    });

    it('refuses an AK that waits for approval at another host', async () => {
      const host = await affirmed(given.store, 'a');
      await given.store.enroll(await enrollAgain(given.store, host, { ak: ak('next') }));
      expect(await given.store.enroll(await enrollment(given.store, 'b', { ak: ak('next') }))).toEqual({
        outcome: 'ak_conflict',
      });
    });

    it('gives an AK to one of two hosts that bring it at once', async () => {
      const inputs = await Promise.all(['a', 'b'].map((name) => enrollment(given.store, name, { ak: ak('same') })));
      const outcomes = await Promise.all(inputs.map((input) => given.store.enroll(input)));
      expect(outcomes.map(({ outcome }) => outcome).sort()).toEqual(['ak_conflict', 'created']);
    });

    it('fences an enrolment that was decided before a policy or an anchor came', async () => {
      const [beforePolicy, beforeAnchor] = [await enrollment(given.store, 'a'), await enrollment(given.store, 'b')];
      await given.store.putPolicy(policy('base', { allHosts: true }), { ...OPERATOR, expected: null });
      expect(await given.store.enroll(beforePolicy)).toEqual({ outcome: 'fenced' });
      const anchor = { fingerprint: digest('ca'), subject: 'CN=ca', anchor: true, notAfter: 1, certificate: '30' };
      await given.store.addTrustAnchors([anchor], OPERATOR);
      const now = { ...beforeAnchor, epochs: { ...beforeAnchor.epochs, policy: (await given.store.epochs()).policy } };
      expect(await given.store.enroll(now)).toEqual({ outcome: 'fenced' });
    });

    it('refreshes a host by the same EK and AK and keeps its verdict', async () => {
      const host = await affirmed(given.store, 'a');
      const before = await given.store.getResult('h-a');
      given.clock.advance(1000);
      const outcome = await given.store.enroll(
        await enrollAgain(given.store, host, {
          eks: [ek('a', '3083'), ek('a2')],
          ak: { ...host.ak, certificate: 'ccdd' },
          tlsKeySha256: digest('new tls'),
          claimed: { hostname: 'renamed' },
          clock: { ...host.clock, clock: '99999999' },
        }),
      );
      expect(outcome).toMatchObject({
        outcome: 'refreshed',
        host: {
          version: host.version + 1,
          ak: { certificate: 'ccdd' },
          tlsKeySha256: digest('new tls'),
          claimed: { hostname: 'renamed' },
          enrollTime: given.store.now(),
          createTime: host.createTime,
          clock: host.clock,
          round: host.round,
          eks: [{ certificate: '3083' }, { fingerprint: ek('a2').fingerprint }],
        },
      });
      expect(await given.store.getResult('h-a')).toEqual(before);
      expect(await given.store.findByEks([ek('a2').fingerprint])).toMatchObject({ owner: 'host', host: { id: 'h-a' } });
    });

    it('drops the verdict of a host that enrols again after another boot, and leaves the clock to the rounds', async () => {
      const host = await affirmed(given.store, 'a');
      const clock = { ...host.clock, resetCount: host.clock.resetCount + 1 };
      const outcome = await given.store.enroll(await enrollAgain(given.store, host, { clock }));
      expect(outcome).toMatchObject({ outcome: 'refreshed', host: { clock: host.clock, banksProven: false } });
      const result = await given.store.getResult('h-a');
      expect(result).toMatchObject({ status: 'none', checks: [{ reason: 'TPM_RESET' }], validUntil: null });
    });

    it('keeps a verdict against a host that enrols again after a resume, and ends it with a reset', async () => {
      const host = await affirmed(given.store, 'a');
      const against = await round(given.store, 'h-a', { verdict: verdict(host, { status: 'contraindicated' }) });
      await commit(given.store, against);
      const again = async (change: object) => {
        const present = (await given.store.getHost('h-a')) ?? host;
        await given.store.enroll(await enrollAgain(given.store, present, { clock: { ...present.clock, ...change } }));
        return (await given.store.getResult('h-a'))?.status;
      };
      expect(await again({ restartCount: host.clock.restartCount + 1 })).toBe('contraindicated');
      expect(await again({ resetCount: host.clock.resetCount + 1, restartCount: 0 })).toBe('none');
    });

    it('keeps a waiting host waiting when it enrols again for approval', async () => {
      const host = await enrolled(given.store, 'a', { state: 'pending', admission: 'approval' });
      const again = await enrollAgain(given.store, host, { state: 'pending', admission: 'approval' });
      const outcome = await given.store.enroll(again);
      expect(outcome).toMatchObject({ outcome: 'refreshed', host: { state: 'pending', admission: 'approval' } });
    });

    it('admits a waiting host that enrols again and needs no approval any more', async () => {
      const host = await enrolled(given.store, 'a', { state: 'pending', admission: 'approval' });
      const again = await enrollAgain(given.store, host, { state: 'active', admission: 'certificate' });
      const outcome = await given.store.enroll(again);
      expect(outcome).toMatchObject({ outcome: 'refreshed', host: { state: 'active', admission: 'certificate' } });
      expect(await given.store.getResult('h-a')).toMatchObject({ checks: [{ reason: 'AWAITING_EVIDENCE' }] });
    });

    it('says whose an EK is', async () => {
      await enrolled(given.store, 'a');
      await enrolled(given.store, 'b');
      const owner = async (...names: string[]): Promise<string> =>
        (await given.store.findByEks(names.map((name) => ek(name).fingerprint))).owner;
      expect(await owner('x')).toBe('nobody');
      expect(await owner('a', 'x')).toBe('host');
      expect(await owner('a', 'b')).toBe('conflict');
      await given.store.revokeHost('h-b', { ...OPERATOR, reason: 'stolen' });
      expect(await owner('b', 'x')).toBe('banned');
    });
  });
}
