import { describe, expect, it } from 'vitest';
import type { BootRecord, LogPart, TrustStatus } from '../../../../server/store/records.ts';
import { ak, commit, enrollAgain, enrolled, OPERATOR, round, verdict } from '../fixtures.ts';
import type { Given } from './harness.ts';

export function describeFormerBoots(given: Given): void {
  describe('boots that have ended', () => {
    const list = (text: string): LogPart => ({ kind: 'ima', offset: 0, data: Buffer.from(text) });
    const proven: BootRecord = {
      bootLog: { sha256: 'ab', size: 8, unreadable: '' },
      userspaceLog: { sha256: '', size: 0, unreadable: 'ENOENT' },
      pcrs: [{ algorithm: 0x000b, values: [[7, '00'.repeat(32)]] }],
    };

    /** One round with the logs of a boot, after a reset where there was another. */
    async function bootAs(resetCount: number, text: string, status: TrustStatus = 'affirming'): Promise<void> {
      const host = await given.store.getHost('h-a');
      if (host === null) throw new Error('no host');
      const judged = verdict(host, { status, resetCount });
      const input = await round(given.store, 'h-a', { verdict: judged, logs: [list(text)], boot: proven });
      await commit(given.store, { ...input, clock: { ...input.clock, resetCount } });
      given.clock.advance(1000);
    }

    const read = async (boot: number, offset = 0, limit = 1000): Promise<string> =>
      Buffer.from(await given.store.readFormerLog(boot, 'ima', offset, limit)).toString();
    const kept = async (): Promise<readonly string[]> => {
      const boots = await given.store.formerBoots('h-a');
      return boots.map(({ resetCount, status }) => `${resetCount} ${status}`);
    };

    it('keep their logs, what was proven of them, and the last verdict', async () => {
      const host = await enrolled(given.store, 'a');
      await bootAs(1, 'first list');
      expect(await given.store.formerBoots('h-a')).toEqual([]);
      const { revision } = await given.store.heads();
      const ended = given.store.now();
      await bootAs(2, 'second list');
      const [former, ...others] = await given.store.formerBoots('h-a');
      expect(others).toEqual([]);
      expect(former).toEqual({
        id: former?.id,
        akName: host.ak.name,
        resetCount: 1,
        restartCount: 0,
        endTime: ended,
        status: 'affirming',
        revision,
        boot: proven,
        logs: [{ kind: 'ima', size: 10 }],
      });
      expect(await read(former?.id ?? 0)).toBe('first list');
      expect(await read(former?.id ?? 0, 6, 2)).toBe('li');
      expect(await read(former?.id ?? 0, 99)).toBe('');
      expect(Buffer.from(await given.store.readLog('h-a', 'ima', 0, 100)).toString()).toBe('second list');
      await given.reopen();
      expect(await read(former?.id ?? 0)).toBe('first list');
    });

    it('are two at most, and those that something was found against stay before others', async () => {
      await enrolled(given.store, 'a');
      await bootAs(1, 'one');
      await bootAs(2, 'two', 'contraindicated');
      for (const resetCount of [3, 4, 5]) await bootAs(resetCount, `clean ${resetCount}`);
      expect(await kept()).toEqual(['4 affirming', '2 contraindicated']);
    });

    it('are none where nothing was kept of them', async () => {
      await enrolled(given.store, 'a');
      const input = await round(given.store, 'h-a');
      await commit(given.store, { ...input, clock: { ...input.clock, resetCount: 2 } });
      expect(await kept()).toEqual([]);
    });

    it('end with their AK, too', async () => {
      const host = await enrolled(given.store, 'a', { logs: [list('of the former key')] });
      const change = { ak: ak('other'), callerHostId: 'h-a', tlsKeySha256: host.tlsKeySha256 };
      await given.store.enroll(await enrollAgain(given.store, host, change));
      const [former] = await given.store.formerBoots('h-a');
      expect(former).toMatchObject({ akName: host.ak.name, resetCount: 1 });
      expect(await read(former?.id ?? 0)).toBe('of the former key');
    });

    it('go when their time is over, and the present one does not', async () => {
      await enrolled(given.store, 'a');
      await bootAs(1, 'one');
      await bootAs(2, 'two');
      const [former] = await given.store.formerBoots('h-a');
      await given.store.compact(former?.endTime ?? 0);
      expect(await kept()).toEqual(['1 affirming']);
      await given.store.compact((former?.endTime ?? 0) + 1);
      expect(await kept()).toEqual([]);
      await expect(read(former?.id ?? 0)).rejects.toMatchObject({ code: 'not_found' });
      await given.store.compact(given.store.now() + 1e9);
      expect(Buffer.from(await given.store.readLog('h-a', 'ima', 0, 100)).toString()).toBe('two');
    });

    it('go with their host', async () => {
      await enrolled(given.store, 'a');
      await bootAs(1, 'one');
      await bootAs(2, 'two');
      await given.store.deleteHost('h-a', OPERATOR);
      expect(await kept()).toEqual([]);
    });
  });
}
