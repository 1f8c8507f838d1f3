import { describe, expect, it } from 'vitest';
import type { DueReappraisal, ReappraisalInput } from '../../../../server/store/reappraisal-store.ts';
import {
  affirmed,
  ak,
  commit,
  digest,
  enrollAgain,
  enrolled,
  MINUTE,
  OPERATOR,
  policy,
  reasons,
  round,
  verdict,
} from '../fixtures.ts';
import type { Given } from './harness.ts';

export function describeReappraisals(given: Given): void {
  describe('what is judged anew', () => {
    const change = (): Promise<unknown> =>
      given.store.putPolicy(policy('base', { allHosts: true }), { ...OPERATOR, expected: 'any' });
    const due = (): Promise<readonly DueReappraisal[]> => given.store.dueReappraisals(10, given.store.now());

    async function dueOne(): Promise<DueReappraisal> {
      const [one, ...others] = await due();
      if (one === undefined || others.length > 0) throw new Error(`one host was to be due, and not ${others.length}`);
      return one;
    }

    async function judged(
      { host, basis }: DueReappraisal,
      deviation: Partial<ReappraisalInput> = {},
    ): Promise<ReappraisalInput> {
      const made = deviation.verdict ?? verdict(host, { status: 'warning', policyVersion: 2 });
      const { version, round: rounds, akGeneration } = host;
      const epochs = await given.store.epochs();
      return {
        hostId: host.id,
        fence: { version, round: rounds, akGeneration, epochs, basis: basis.revision },
        verdict: made,
        verdictDigest: digest(JSON.stringify(made)),
        endsAt: basis.challengeTime + 60 * MINUTE,
        ...deviation,
      };
    }

    async function write(input: ReappraisalInput): Promise<boolean | undefined> {
      return (await given.store.commitReappraisals([input]))[0];
    }

    /** A host whose last evidence came without a stream. */
    async function submitted(name: string): Promise<void> {
      await enrolled(given.store, name);
      await commit(given.store, await round(given.store, `h-${name}`, { streamEpoch: 0 }));
    }

    it('is a host whose verdict has fallen, from the verdict of before', async () => {
      await submitted('a');
      await enrolled(given.store, 'silent');
      expect(await due()).toEqual([]);
      const before = await given.store.getResult('h-a');
      await change();
      const { host, basis, validUntil } = await dueOne();
      expect(host).toEqual(await given.store.getHost('h-a'));
      expect(basis).toEqual(before);
      expect(validUntil).toBe(before?.validUntil);
    });

    it('has what confirmations moved', async () => {
      await submitted('a');
      given.clock.advance(MINUTE);
      await commit(given.store, await round(given.store, 'h-a', { streamEpoch: 0 }));
      const before = await given.store.getResult('h-a');
      expect(before).toMatchObject({ confirmations: 1 });
      await change();
      expect((await dueOne()).basis).toEqual(before);
    });

    it('comes in the order in which verdicts fell, a host on a stream only when its stream had time', async () => {
      await affirmed(given.store, 'a');
      await submitted('c');
      await change();
      given.clock.advance(1);
      await submitted('b');
      await change();
      expect((await given.store.dueReappraisals(10, 0)).map(({ host }) => host.id)).toEqual(['h-b', 'h-c']);
      expect((await due()).map(({ host }) => host.id)).toEqual(['h-a', 'h-b', 'h-c']);
      expect(await given.store.dueReappraisals(1, given.store.now())).toHaveLength(1);
    });

    it('is told once, as a revision on the evidence of before', async () => {
      await submitted('a');
      const before = await given.store.getResult('h-a');
      await change();
      const input = await judged(await dueOne());
      const { revision } = await given.store.heads();
      expect(await write(input)).toBe(true);
      const [told, ...more] = await given.store.changesSince(revision, 10);
      expect(more).toEqual([]);
      expect(told).toMatchObject({ cause: 'reappraised', prior: { status: 'none' } });
      expect(await given.store.getResult('h-a')).toMatchObject({
        status: 'warning',
        policyVersion: 2,
        challengeTime: before?.challengeTime,
        evidenceDigest: before?.evidenceDigest,
        validUntil: before?.validUntil,
        connectivity: 'connected',
      });
      expect(await due()).toEqual([]);
      expect(await write(input)).toBe(false);
      expect((await given.store.listAudit(0, 100)).at(-1)).toMatchObject({
        actor: 'service',
        action: 'result.change',
        target: 'hosts/h-a',
      });
    });

    it('is confirmed by a round that finds the same', async () => {
      await affirmed(given.store, 'a');
      await change();
      const input = await judged(await dueOne());
      await write(input);
      const same = await round(given.store, 'h-a', { verdict: input.verdict, verdictDigest: input.verdictDigest });
      expect(await commit(given.store, same)).toMatchObject({ outcome: 'confirmed' });
    });

    it.each([
      ['sooner than the evidence, where the policy says so', 2 * MINUTE, 2 * MINUTE],
      ['with the evidence, however long the policy is content', 60 * MINUTE, 10 * MINUTE],
    ])('ends %s', async (_name, endsAfter, expected) => {
      await submitted('a');
      await change();
      const one = await dueOne();
      const { challengeTime } = one.basis;
      expect(await write(await judged(one, { endsAt: challengeTime + endsAfter }))).toBe(true);
      expect((await given.store.getResult('h-a'))?.validUntil).toBe(challengeTime + expected);
      given.clock.advance(expected);
      expect((await given.store.getResult('h-a'))?.status).toBe('none');
      expect(await given.store.expireResults(10)).toBe(1);
      await change();
      expect(await due()).toEqual([]);
    });

    it('is never made of evidence that is over', async () => {
      await submitted('a');
      await change();
      const input = await judged(await dueOne());
      given.clock.advance(10 * MINUTE);
      expect(await write(input)).toBe(false);
      expect(await write({ ...input, endsAt: null, verdict: { ...input.verdict, status: 'none' } })).toBe(true);
      expect(await given.store.getResult('h-a')).toMatchObject({ status: 'none', challengeTime: 0 });
      await change();
      expect(await due()).toEqual([]);
    });

    it.each<[string, () => Promise<unknown>]>([
      ['another round', async () => commit(given.store, await round(given.store, 'h-a', { streamEpoch: 0 }))],
      ['another change of policies', change],
      ['a change of the inventory', () => addInventory()],
      [
        'a change of the host',
        () => given.store.updateHost('h-a', { labels: { a: 'b' } }, { ...OPERATOR, version: null }),
      ],
      ['a ban', () => given.store.revokeHost('h-a', { ...OPERATOR, reason: '' })],
      ['a deletion', () => given.store.deleteHost('h-a', OPERATOR)],
      ['an accepted clock', () => given.store.acceptClock({ actor: 'service' })],
      ['another AK', () => replaceAk()],
      ['an enrolment after a reboot', () => enrollRebooted()],
    ])('loses to %s', async (_name, act) => {
      await submitted('a');
      await change();
      const input = await judged(await dueOne());
      await act();
      const before = await given.store.getResult('h-a');
      expect(await write(input)).toBe(false);
      expect(await given.store.getResult('h-a')).toEqual(before);
    });

    const addInventory = (): Promise<unknown> =>
      given.store.putInventory([{ fingerprint: digest('other'), group: '', comment: '' }], OPERATOR);

    async function enrollOver(deviation: Parameters<typeof enrollAgain>[2]): Promise<void> {
      const host = await given.store.getHost('h-a');
      if (host === null) throw new Error('no host');
      await given.store.enroll(await enrollAgain(given.store, host, deviation));
    }
    const replaceAk = (): Promise<void> =>
      enrollOver({ ak: ak('other'), callerHostId: 'h-a', tlsKeySha256: digest('tls a') });
    const enrollRebooted = (): Promise<void> =>
      enrollOver({ clock: { resetCount: 2, restartCount: 0, clock: '1', safe: true } });

    it.each<[string, () => Promise<unknown>]>([
      ['another round', async () => commit(given.store, await round(given.store, 'h-a', { streamEpoch: 0 }))],
      ['a ban', () => given.store.revokeHost('h-a', { ...OPERATOR, reason: '' })],
      ['another AK', replaceAk],
      ['an enrolment after a reboot', enrollRebooted],
      ['an accepted clock', () => given.store.acceptClock({ actor: 'service' })],
    ])('is nothing any more after %s', async (_name, act) => {
      await submitted('a');
      await change();
      await act();
      expect(await due()).toEqual([]);
    });

    it('is due again with the next change, from the evidence that it had, whatever came of the first', async () => {
      await submitted('a');
      const before = await given.store.getResult('h-a');
      await change();
      await write(await judged(await dueOne()));
      await change();
      expect(await reasons(given.store, 'h-a')).toEqual(['APPRAISAL_INPUT_CHANGED']);
      expect((await dueOne()).basis.revision).toBe(before?.revision);
      const { host, basis } = await dueOne();
      const unknown = { verdict: verdict(host, { status: 'none', checks: [] }), endsAt: null };
      expect(await write(await judged(await dueOne(), unknown))).toBe(true);
      expect(await due()).toEqual([]);
      await change();
      expect(await dueOne()).toMatchObject({ host: { id: host.id }, basis: { revision: basis.revision } });
    });

    it('is told by hosts, as long as it is the last evidence of each', async () => {
      await submitted('a');
      await submitted('b');
      await enrolled(given.store, 'silent');
      const hosts = ['h-a', 'h-b', 'h-silent', 'h-none'];
      expect(await given.store.reappraisalBases(hosts)).toEqual([]);
      await change();
      const [one] = await due();
      const { basis, validUntil } = one ?? {};
      expect(await given.store.reappraisalBases(hosts)).toHaveLength(2);
      expect(await given.store.reappraisalBases(['h-a'])).toEqual([{ basis, validUntil }]);
      // Also where it was judged anew.
      const input = await judged((await due()).find(({ host }) => host.id === 'h-a') as DueReappraisal);
      await write(input);
      expect(await given.store.reappraisalBases(['h-a'])).toEqual([{ basis, validUntil }]);
      const same = { streamEpoch: 0, verdict: input.verdict, verdictDigest: input.verdictDigest };
      expect(await commit(given.store, await round(given.store, 'h-a', same))).toMatchObject({ outcome: 'confirmed' });
      expect(await given.store.reappraisalBases(['h-a'])).toEqual([]);
    });

    it.each<[string, 'none' | 'warning', () => Promise<unknown>]>([
      ['and which is NONE', 'none', () => Promise.resolve()],
      ['before its names changed', 'warning', rename],
      ['before its stream was lost', 'warning', () => given.store.streamLost('h-a', 7, MINUTE)],
    ])('is never older than what confirmed a verdict that was made anew %s', async (_name, status, act) => {
      await affirmed(given.store, 'a');
      await change();
      const one = await dueOne();
      const input = await judged(one, { verdict: verdict(one.host, { status, policyVersion: 2 }) });
      expect(await write(input)).toBe(true);
      const same = { verdict: input.verdict, verdictDigest: input.verdictDigest };
      expect(await commit(given.store, await round(given.store, 'h-a', same))).toMatchObject({ outcome: 'confirmed' });
      await act();
      await change();
      expect((await due()).map(({ basis }) => basis.revision)).not.toContain(one.basis.revision);
    });

    function rename(): Promise<unknown> {
      return given.store.updateHost('h-a', { nodeName: 'other' }, { ...OPERATOR, version: null });
    }

    it('is due again when its labels let another policy judge it', async () => {
      await submitted('a');
      await given.store.putPolicy(policy('north', { matchLabels: { zone: 'north' }, precedence: 1 }), {
        ...OPERATOR,
        expected: null,
      });
      await change();
      const unknown = await judged(await dueOne(), { endsAt: null });
      await write({ ...unknown, verdict: { ...unknown.verdict, status: 'none' } });
      await given.store.updateHost('h-a', { labels: { zone: 'north' } }, { ...OPERATOR, version: null });
      expect((await dueOne()).host.labels).toEqual({ zone: 'north' });
    });

    it('ends sooner where a stream is lost', async () => {
      await affirmed(given.store, 'a');
      await change();
      await given.store.streamLost('h-a', 7, MINUTE);
      const one = await dueOne();
      expect(one.validUntil).toBe(given.store.now() + MINUTE);
      expect(await write(await judged(one))).toBe(true);
      expect(await given.store.getResult('h-a')).toMatchObject({
        connectivity: 'unreachable',
        validUntil: one.validUntil,
      });
    });

    it('is nothing any more after an accepted clock, also where nothing is left to lapse', async () => {
      await affirmed(given.store, 'a');
      await change();
      await given.store.streamLost('h-a', 7, MINUTE);
      await given.store.acceptClock({ actor: 'service' });
      expect(await due()).toEqual([]);
    });

    it('is nothing any more once the evidence has lapsed', async () => {
      await affirmed(given.store, 'a');
      await change();
      given.clock.advance(10 * MINUTE);
      await given.store.expireResults(10);
      expect(await due()).toEqual([]);
    });

    it('is due after a restart, and is not compacted', async () => {
      await submitted('a');
      await change();
      const before = await dueOne();
      await given.reopen();
      given.clock.advance(MINUTE);
      await given.store.compact(given.store.now());
      expect(await dueOne()).toEqual(before);
      expect(await write(await judged(before))).toBe(true);
    });
  });
}
