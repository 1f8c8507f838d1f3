import { describe, expect, it } from 'vitest';
import { affirmed, commit, enrolled, MINUTE, round, verdict } from '../fixtures.ts';
import type { Given } from './harness.ts';

export function describeStreams(given: Given): void {
  describe('streams', () => {
    it('shortens validity to the grace when its holder loses the stream', async () => {
      await affirmed(given.store, 'a');
      await given.store.streamLost('h-a', 7, MINUTE);
      expect(await given.store.getHost('h-a')).toMatchObject({ connected: false, streamEpoch: 7 });
      expect(await given.store.getResult('h-a')).toMatchObject({
        status: 'affirming',
        connectivity: 'unreachable',
        validUntil: given.store.now() + MINUTE,
        revision: 3,
      });
      expect((await given.store.changesSince(2, 10))[0]).toMatchObject({ cause: 'disconnected' });
    });

    it('never prolongs validity', async () => {
      await affirmed(given.store, 'a');
      const before = await given.store.getResult('h-a');
      await given.store.streamLost('h-a', 7, 60 * MINUTE);
      expect(await given.store.getResult('h-a')).toMatchObject({ validUntil: before?.validUntil });
    });

    it('leaves a host alone whose evidence came over another stream, or whose loss was told before', async () => {
      await affirmed(given.store, 'a');
      const before = await given.store.heads();
      await given.store.streamLost('h-a', 8, MINUTE);
      await given.store.streamLost('h-a', 0, MINUTE);
      expect(await given.store.heads()).toEqual(before);
      expect(await given.store.getHost('h-a')).toMatchObject({ connected: true });
      await given.store.streamLost('h-a', 7, MINUTE);
      await given.store.streamLost('h-a', 7, 0);
      expect((await given.store.heads()).revision).toBe(before.revision + 1);
    });

    it('lets accepted evidence take the stream over from its former holder', async () => {
      await affirmed(given.store, 'a');
      expect(await commit(given.store, await round(given.store, 'h-a', { streamEpoch: 8 }))).toMatchObject({
        outcome: 'confirmed',
        moved: { streamEpoch: 8 },
      });
      await given.store.streamLost('h-a', 7, 0);
      expect(await given.store.getResult('h-a')).toMatchObject({ connectivity: 'connected' });
    });

    it('writes a revision when a lost host is back with an equal verdict', async () => {
      await affirmed(given.store, 'a');
      await given.store.streamLost('h-a', 7, MINUTE);
      expect(await commit(given.store, await round(given.store, 'h-a', { streamEpoch: 9 }))).toMatchObject({
        outcome: 'changed',
        result: { revision: 4, connectivity: 'connected' },
        moved: { connected: true, streamEpoch: 9 },
      });
    });

    it('leaves the stream with its holder when evidence comes without one', async () => {
      await affirmed(given.store, 'a');
      expect(await commit(given.store, await round(given.store, 'h-a', { streamEpoch: 0 }))).toMatchObject({
        outcome: 'confirmed',
        moved: { streamEpoch: 7, connected: true },
      });
      await enrolled(given.store, 'b');
      expect(await commit(given.store, await round(given.store, 'h-b', { streamEpoch: 0 }))).toMatchObject({
        moved: { streamEpoch: 0, connected: false },
        result: { connectivity: 'connected' },
      });
      await given.store.streamLost('h-b', 0, 0);
      expect(await given.store.getResult('h-b')).toMatchObject({ connectivity: 'connected' });
    });

    it('tells that a host without a verdict is gone, too', async () => {
      const host = await enrolled(given.store, 'a');
      await commit(given.store, await round(given.store, 'h-a', { verdict: verdict(host, { status: 'none' }) }));
      await given.store.streamLost('h-a', 7, MINUTE);
      expect(await given.store.getResult('h-a')).toMatchObject({
        status: 'none',
        connectivity: 'unreachable',
        validUntil: null,
      });
    });
  });
}
