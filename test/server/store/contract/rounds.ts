import { describe, expect, it } from 'vitest';
import type { HostRecord } from '../../../../server/store/records.ts';
import type { RoundInput } from '../../../../server/store/store.ts';
import { affirmed, commit, digest, enrolled, MINUTE, OPERATOR, policy, reasons, round, verdict } from '../fixtures.ts';
import type { Given } from './harness.ts';

export function describeRounds(given: Given): void {
  describe('rounds', () => {
    it('writes the first verdict as a revision', async () => {
      const host = await enrolled(given.store, 'a');
      const input = await round(given.store, 'h-a', {
        clock: { resetCount: 1, restartCount: 0, clock: '2000', safe: true },
        claimed: { hostname: 'said' },
      });
      const outcome = await commit(given.store, input);
      expect(outcome).toMatchObject({
        outcome: 'changed',
        moved: {
          round: 1,
          streamEpoch: 7,
          connected: true,
          clock: input.clock,
          claimed: { hostname: 'said' },
        },
      });
      if (outcome.outcome === 'fenced') throw new Error('fenced');
      expect(await given.store.getHost('h-a')).toEqual({ ...host, ...outcome.moved });
      expect(await given.store.getResult('h-a')).toEqual(outcome.result);
      expect(outcome.result).toEqual({
        ...input.verdict,
        hostId: 'h-a',
        revision: 2,
        evidenceDigest: input.evidenceDigest,
        challengeTime: input.challengeTime,
        validUntil: input.challengeTime + 10 * MINUTE,
        confirmations: 0,
        connectivity: 'connected',
        nodeName: '',
        labels: {},
        revisionTime: given.store.now(),
      });
    });

    it('confirms an equal verdict without a revision', async () => {
      await affirmed(given.store, 'a');
      const before = await given.store.heads();
      given.clock.advance(MINUTE);
      const input = await round(given.store, 'h-a');
      const outcome = await commit(given.store, input);
      expect(outcome).toMatchObject({
        outcome: 'confirmed',
        moved: { round: 2 },
        result: {
          revision: 2,
          confirmations: 1,
          validUntil: input.challengeTime + 10 * MINUTE,
          challengeTime: input.challengeTime,
          evidenceDigest: input.evidenceDigest,
        },
      });
      expect(await given.store.getResult('h-a')).toEqual('result' in outcome ? outcome.result : null);
      expect(await given.store.heads()).toEqual({ ...before, confirmation: before.confirmation + 1 });
      expect(await given.store.confirmationsSince(0, 10)).toEqual([
        {
          sequence: 1,
          hostId: 'h-a',
          revision: 2,
          status: 'affirming',
          policyId: 'base',
          labels: {},
          validUntil: input.challengeTime + 10 * MINUTE,
          confirmations: 1,
        },
      ]);
    });

    it('leaves banks and claimed facts as they are where a round says nothing of them', async () => {
      const host = await affirmed(given.store, 'a');
      const brief = ({ banks: _banks, claimed: _claimed, ...input }: RoundInput): RoundInput => input;
      const confirming = await round(given.store, 'h-a');
      expect(await commit(given.store, brief(confirming))).toMatchObject({ outcome: 'confirmed' });
      const changing = await round(given.store, 'h-a', { verdict: verdict(host, { status: 'warning' }) });
      expect(await commit(given.store, brief(changing))).toMatchObject({ outcome: 'changed' });
      const { banks, claimed } = host;
      expect(await given.store.getHost('h-a')).toMatchObject({ banks, claimed, round: 3 });
    });

    it.each<{ name: string; between: (host: HostRecord) => Promise<unknown> }>([
      { name: 'the stream was lost', between: () => given.store.streamLost('h-a', 7, MINUTE) },
      {
        name: 'it has lapsed',
        between: () => {
          given.clock.advance(11 * MINUTE);
          return given.store.expireResults(10);
        },
      },
      {
        name: 'it has lapsed, which nobody has written yet',
        between: async () => given.clock.advance(11 * MINUTE),
      },
      {
        name: 'another one came',
        between: async (host) =>
          commit(given.store, await round(given.store, 'h-a', { verdict: verdict(host, { status: 'warning' }) })),
      },
    ])('writes a verdict anew that was written before, when since then $name', async ({ between }) => {
      const host = await enrolled(given.store, 'a');
      const judged = verdict(host);
      const verdictDigest = digest('the same');
      await commit(given.store, await round(given.store, 'h-a', { verdict: judged, verdictDigest }));
      await between(host);
      const { revision } = await given.store.heads();
      const input = await round(given.store, 'h-a', { verdict: judged, verdictDigest });
      expect(await commit(given.store, input)).toMatchObject({
        outcome: 'changed',
        result: { ...judged, revision: revision + 1, confirmations: 0, challengeTime: input.challengeTime },
      });
      expect(await given.store.getResult('h-a')).toMatchObject({ ...judged, revision: revision + 1 });
      const again = await commit(given.store, await round(given.store, 'h-a', { verdict: judged, verdictDigest }));
      expect(again).toMatchObject({ outcome: 'confirmed', result: { ...judged, revision: revision + 1 } });
    });

    it('fences a verdict whose writing is gone, and takes it the next time', async () => {
      const host = await enrolled(given.store, 'a');
      const judged = verdict(host);
      await commit(given.store, await round(given.store, 'h-a', { verdict: judged }));
      await given.store.streamLost('h-a', 7, MINUTE);
      given.clock.advance(MINUTE);
      await given.store.compact(given.store.now());
      const outcomes = [];
      for (let attempt = 0; attempt < 2; attempt += 1) {
        outcomes.push(await commit(given.store, await round(given.store, 'h-a', { verdict: judged })));
      }
      // A store that is told the whole verdict each time has no cause to fence.
      expect(outcomes.find(({ outcome }) => outcome === 'changed')).toMatchObject({ result: judged });
      expect(await given.store.getResult('h-a')).toMatchObject(judged);
    });

    it('writes one and the same verdict of two hosts for each of them', async () => {
      const host = await enrolled(given.store, 'a');
      await enrolled(given.store, 'b');
      const judged = verdict(host);
      for (const id of ['h-a', 'h-b', 'h-a', 'h-b']) {
        const outcome = await commit(given.store, await round(given.store, id, { verdict: judged }));
        expect(outcome).toMatchObject({ result: { ...judged, hostId: id } });
        expect(await given.store.getResult(id)).toEqual('result' in outcome ? outcome.result : null);
      }
    });

    it('confirms a verdict that this process has not written, with the result as it stands', async () => {
      const host = await enrolled(given.store, 'a');
      await commit(given.store, await round(given.store, 'h-a'));
      const outcome = await commit(given.store, await round(given.store, 'h-a', { verdict: verdict(host) }));
      expect(outcome).toMatchObject({ outcome: 'confirmed' });
      expect(await given.store.getResult('h-a')).toEqual('result' in outcome ? outcome.result : null);
    });

    it('keeps what confirmations moved with the revision, in history and for late watchers', async () => {
      await affirmed(given.store, 'a');
      given.clock.advance(MINUTE);
      const input = await round(given.store, 'h-a');
      await commit(given.store, input);
      const moved = { confirmations: 1, challengeTime: input.challengeTime, evidenceDigest: input.evidenceDigest };
      expect((await given.store.changesSince(1, 1))[0]).toMatchObject({ revision: 2, result: moved });
      const host = await given.store.getHost('h-a');
      if (host === null) throw new Error('no host');
      await commit(given.store, await round(given.store, 'h-a', { verdict: verdict(host, { status: 'warning' }) }));
      expect((await given.store.changesSince(1, 1))[0]).toMatchObject({ revision: 2, result: moved });
      const history = await given.store.listHistory('h-a', { limit: 10, after: '' }, {});
      expect(history.items).toMatchObject([
        { revision: 3, confirmations: 0 },
        { revision: 2, ...moved },
        { revision: 1 },
      ]);
    });

    it('writes another digest as a revision', async () => {
      const host = await affirmed(given.store, 'a');
      const judged = verdict(host, { status: 'contraindicated' });
      expect(await commit(given.store, await round(given.store, 'h-a', { verdict: judged }))).toMatchObject({
        outcome: 'changed',
        result: { revision: 3, status: 'contraindicated' },
      });
    });

    it('lets a verdict that affirms nothing not lapse, and confirms it without telling of a validity', async () => {
      const host = await enrolled(given.store, 'a');
      const judged = verdict(host, { status: 'none' });
      expect(await commit(given.store, await round(given.store, 'h-a', { verdict: judged }))).toMatchObject({
        outcome: 'changed',
        result: { validUntil: null },
      });
      const again = await commit(given.store, await round(given.store, 'h-a', { verdict: judged }));
      expect(again).toMatchObject({ outcome: 'confirmed', result: { validUntil: null, confirmations: 1 } });
      expect(await given.store.confirmationsSince(0, 10)).toEqual([]);
    });

    it.each<{ name: string; change: (input: RoundInput) => Partial<RoundInput> }>([
      { name: 'another version', change: ({ fence }) => ({ fence: { ...fence, version: fence.version + 1 } }) },
      { name: 'a round before', change: ({ fence }) => ({ fence: { ...fence, round: fence.round - 1 } }) },
      { name: 'another AK generation', change: ({ fence }) => ({ fence: { ...fence, akGeneration: 2 } }) },
      {
        name: 'another policy epoch',
        change: ({ fence }) => ({ fence: { ...fence, epochs: { ...fence.epochs, policy: fence.epochs.policy - 1 } } }),
      },
      {
        name: 'another endorsement epoch',
        change: ({ fence }) => ({ fence: { ...fence, epochs: { ...fence.epochs, endorsement: 0 } } }),
      },
      { name: 'a host that is not there', change: () => ({ hostId: 'h-x' }) },
      { name: "a TLS key that is not the host's", change: () => ({ tlsKeySha256: digest('former tls') }) },
      { name: 'a challenge of the future', change: ({ challengeTime }) => ({ challengeTime: challengeTime + 1 }) },
      {
        name: 'a verdict that is over',
        change: ({ challengeTime }) => ({ challengeTime: challengeTime - 60, validity: 60 }),
      },
    ])('fences a round of $name and writes nothing of it', async ({ change }) => {
      const host = await affirmed(given.store, 'a');
      const result = await given.store.getResult('h-a');
      const input = await round(given.store, 'h-a', {
        findings: ['CLOCK_REGRESSED'],
        logs: [{ kind: 'boot', offset: 0, data: Buffer.from('x') }],
      });
      expect(await commit(given.store, { ...input, ...change(input) })).toEqual({ outcome: 'fenced' });
      expect(await given.store.getHost('h-a')).toEqual(host);
      expect(await given.store.getResult('h-a')).toEqual(result);
      expect(await given.store.logStates('h-a')).toEqual([]);
    });

    it('fences a host that waits for approval', async () => {
      await enrolled(given.store, 'a', { state: 'pending' });
      expect(await commit(given.store, await round(given.store, 'h-a'))).toEqual({ outcome: 'fenced' });
      expect(await reasons(given.store, 'h-a')).toEqual(['AWAITING_APPROVAL']);
    });

    it('fences what was judged under a policy before the present one, even within one batch of calls', async () => {
      await given.store.putPolicy(policy('base', { allHosts: true }), { ...OPERATOR, expected: null });
      await affirmed(given.store, 'a');
      const judged = await round(given.store, 'h-a');
      const [, outcomes] = await Promise.all([
        given.store.putPolicy(policy('base', { allHosts: true }), { ...OPERATOR, expected: 1 }),
        given.store.commitRounds([judged]),
      ]);
      expect(outcomes).toEqual([{ outcome: 'fenced' }]);
      expect(await reasons(given.store, 'h-a')).toEqual(['APPRAISAL_INPUT_CHANGED']);
    });

    it('answers a batch in the order of its input, though it is written in the order of hosts', async () => {
      for (const name of ['a', 'b', 'c']) await enrolled(given.store, name);
      const [a, b, c] = await Promise.all(['h-a', 'h-b', 'h-c'].map((id) => round(given.store, id)));
      if (a === undefined || b === undefined || c === undefined) throw new Error('no rounds');
      const stale = { ...b, fence: { ...b.fence, round: 9 } };
      const outcomes = await given.store.commitRounds([c, stale, a, a]);
      expect(outcomes.map((outcome) => ('result' in outcome ? outcome.result.hostId : outcome.outcome))).toEqual([
        'h-c',
        'fenced',
        'h-a',
        'fenced',
      ]);
      expect((await given.store.changesSince(3, 10)).map(({ hostId }) => hostId)).toEqual(['h-a', 'h-c']);
    });

    it('refuses a batch that is too large, whole', async () => {
      await enrolled(given.store, 'a');
      const input = await round(given.store, 'h-a');
      await expect(given.store.commitRounds(Array.from({ length: 501 }, () => input))).rejects.toMatchObject({
        code: 'out_of_range',
      });
      expect(await given.store.commitRounds([])).toEqual([]);
    });

    it('adds findings to the host, each once, and counts that as a change of the host', async () => {
      const host = await affirmed(given.store, 'a');
      const findings = ['CLOCK_REGRESSED', 'CLOCK_REGRESSED'];
      expect(await commit(given.store, await round(given.store, 'h-a', { findings }))).toMatchObject({
        moved: { findings: ['CLOCK_REGRESSED'], version: host.version + 1 },
      });
      await commit(given.store, await round(given.store, 'h-a', { findings }));
      expect(await given.store.getHost('h-a')).toMatchObject({
        findings: ['CLOCK_REGRESSED'],
        version: host.version + 1,
      });
    });

    it('records a renewed TLS key and promotes it with the first evidence under it', async () => {
      const host = await affirmed(given.store, 'a');
      const next = digest('renewed');
      const recorded = await commit(given.store, await round(given.store, 'h-a', { nextTlsKeySha256: next }));
      expect(recorded).toMatchObject({
        moved: { tlsKeySha256: host.tlsKeySha256, nextTlsKeySha256: next, version: host.version + 1 },
      });
      await commit(given.store, await round(given.store, 'h-a'));
      expect(await given.store.getHost('h-a')).toMatchObject({
        tlsKeySha256: host.tlsKeySha256,
        nextTlsKeySha256: next,
        version: host.version + 1,
      });
      const promoted = await commit(given.store, await round(given.store, 'h-a', { tlsKeySha256: next }));
      expect(promoted).toMatchObject({
        moved: { tlsKeySha256: next, nextTlsKeySha256: '', version: host.version + 2 },
      });
    });

    it('counts torn rounds in a row until one is committed', async () => {
      await affirmed(given.store, 'a');
      expect(await given.store.countTorn('h-a', 1)).toBe(1);
      expect(await given.store.countTorn('h-a', 1)).toBe(2);
      expect(await given.store.countTorn('h-a', 0)).toBe(2);
      await commit(given.store, await round(given.store, 'h-a'));
      expect(await given.store.getHost('h-a')).toMatchObject({ torn: 0 });
      await expect(given.store.countTorn('h-x', 0)).rejects.toMatchObject({ code: 'not_found' });
    });
  });
}
