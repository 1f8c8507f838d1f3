import { describe, expect, it } from 'vitest';
import type { HostRecord } from '../../../../server/store/records.ts';
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
  reasons,
  round,
} from '../fixtures.ts';
import type { Given } from './harness.ts';

export function describeReplacement(given: Given): void {
  describe('a new AK of a known host', () => {
    const next = { ak: ak('next'), eks: [ek('a'), ek('sibling')], tlsKeySha256: digest('next tls') };
    const clock = { resetCount: 5, restartCount: 1, clock: '77', safe: true };

    /** The host with another AK that waits. */
    async function held(host: HostRecord): Promise<HostRecord> {
      const outcome = await given.store.enroll(await enrollAgain(given.store, host, { ...next, clock }));
      if (outcome.outcome !== 'replacement_pending') throw new Error(outcome.outcome);
      return outcome.host;
    }

    it("takes effect at once over the host's own TLS identity, and trust falls in the same transaction", async () => {
      const before = await affirmed(given.store, 'a', {
        eks: [ek('a'), ek('former')],
        logs: [{ kind: 'userspace', offset: 0, data: Buffer.from('of the former key') }],
      });
      await commit(given.store, await round(given.store, 'h-a', { findings: ['CLOCK_REGRESSED'] }));
      const host = (await given.store.getHost('h-a')) ?? before;
      const logs = [{ kind: 'boot' as const, offset: 0, data: Buffer.from('new boot') }];
      const input = await enrollAgain(given.store, host, {
        ...next,
        clock,
        tlsKeySha256: host.tlsKeySha256,
        callerHostId: 'h-a',
        logs,
      });
      expect(await given.store.enroll(input)).toMatchObject({
        outcome: 'replaced',
        host: {
          akGeneration: 2,
          ak: next.ak,
          version: host.version + 1,
          findings: ['AK_REPLACED'],
          round: 0,
          streamEpoch: 0,
          connected: false,
          torn: 0,
          clock,
          tlsKeySha256: host.tlsKeySha256,
          eks: [
            { fingerprint: ek('a').fingerprint },
            { fingerprint: ek('sibling').fingerprint },
            { fingerprint: ek('former').fingerprint },
          ],
        },
      });
      expect(await given.store.getResult('h-a')).toMatchObject({
        status: 'none',
        akName: next.ak.name,
        resetCount: 5,
        connectivity: 'unreachable',
      });
      expect(await reasons(given.store, 'h-a')).toEqual(['AK_REPLACED']);
      expect((await given.store.changesSince(0, 10)).at(-1)).toMatchObject({
        cause: 'ak_replaced',
        prior: { status: 'affirming' },
      });
      expect(await given.store.logStates('h-a')).toEqual([{ kind: 'boot', size: 8, unreadable: '' }]);
    });

    it.each([
      { name: 'an anonymous caller', callerHostId: '' },
      { name: 'another host', callerHostId: 'h-b' },
      { name: 'a TLS identity that the host no longer has', callerHostId: 'h-a' },
    ])('waits for approval when $name brings it, and changes nothing else', async ({ callerHostId }) => {
      const host = await affirmed(given.store, 'a');
      const result = await given.store.getResult('h-a');
      const input = await enrollAgain(given.store, host, { ...next, clock, callerHostId });
      const outcome = await given.store.enroll(input);
      const { ak: waiting, eks, tlsKeySha256 } = input;
      const pendingAk = {
        ak: waiting,
        eks,
        tlsKeySha256,
        clock,
        banks: input.banks,
        banksProven: true,
        enrollTime: given.store.now(),
      };
      expect(outcome).toEqual({
        outcome: 'replacement_pending',
        host: { ...host, version: host.version + 1, pendingAk },
      });
      expect(await given.store.getResult('h-a')).toEqual(result);
      expect(await given.store.findByEks([ek('sibling').fingerprint])).toEqual({ owner: 'nobody' });
    });

    it('lets the latest of several wait', async () => {
      const host = await held(await affirmed(given.store, 'a'));
      const outcome = await given.store.enroll(await enrollAgain(given.store, host, { ak: ak('later') }));
      expect(outcome).toMatchObject({ outcome: 'replacement_pending', host: { pendingAk: { ak: ak('later') } } });
    });

    it('takes effect at once while the host waits for approval, and the host still waits', async () => {
      const host = await enrolled(given.store, 'a', { state: 'pending', admission: 'approval' });
      const outcome = await given.store.enroll(
        await enrollAgain(given.store, host, { ...next, state: 'pending', admission: 'approval' }),
      );
      expect(outcome).toMatchObject({ outcome: 'replaced', host: { state: 'pending', akGeneration: 2, findings: [] } });
      expect(await reasons(given.store, 'h-a')).toEqual(['AK_REPLACED', 'AWAITING_APPROVAL']);
    });

    it('takes effect when an operator approves, and the finding stands until it is acknowledged', async () => {
      const waiting = await held(await affirmed(given.store, 'a'));
      const options = { ...OPERATOR, acknowledgeFindings: true, akCertificate: 'ee', expectedVersion: waiting.version };
      const approved = await given.store.approveHost('h-a', options);
      expect(approved).toMatchObject({
        akGeneration: 2,
        ak: { ...next.ak, certificate: 'ee' },
        clock,
        pendingAk: null,
        findings: ['AK_REPLACED'],
        tlsKeySha256: next.tlsKeySha256,
      });
      expect(await reasons(given.store, 'h-a')).toEqual(['AK_REPLACED']);
      const again = { ...options, expectedVersion: approved.version };
      expect(await given.store.approveHost('h-a', again)).toMatchObject({
        findings: [],
        version: approved.version + 1,
      });
    });

    it('fences a round that was judged under the former AK', async () => {
      const host = await affirmed(given.store, 'a');
      const judged = await round(given.store, 'h-a');
      await given.store.enroll(
        await enrollAgain(given.store, host, { ...next, tlsKeySha256: host.tlsKeySha256, callerHostId: 'h-a' }),
      );
      expect(await commit(given.store, judged)).toEqual({ outcome: 'fenced' });
      const host2 = await given.store.getHost('h-a');
      const guessed = { ...judged, fence: { ...judged.fence, version: host2?.version ?? 0, round: 0 } };
      expect(await commit(given.store, guessed)).toEqual({ outcome: 'fenced' });
      expect(await reasons(given.store, 'h-a')).toEqual(['AK_REPLACED']);
    });

    it("is not approved once its EK became another host's", async () => {
      const waiting = await held(await affirmed(given.store, 'a'));
      await given.store.enroll(await enrollment(given.store, 'b', { eks: [ek('sibling')] }));
      const options = {
        ...OPERATOR,
        acknowledgeFindings: false,
        akCertificate: 'ee',
        expectedVersion: waiting.version,
      };
      await expect(given.store.approveHost('h-a', options)).rejects.toMatchObject({ code: 'wrong_state' });
      expect(await given.store.getHost('h-a')).toEqual(waiting);
    });
  });
}
