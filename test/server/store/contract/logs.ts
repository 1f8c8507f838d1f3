import { describe, expect, it } from 'vitest';
import { LOG_LIMITS } from '../../../../server/store/log-rules.ts';
import type { BootRecord, LogKind, LogPart } from '../../../../server/store/records.ts';
import { ak, commit, enrollAgain, enrolled, OPERATOR, round } from '../fixtures.ts';
import type { Given } from './harness.ts';

export function describeLogs(given: Given): void {
  describe('logs', () => {
    const part = (kind: LogKind, offset: number, text: string): LogPart => ({ kind, offset, data: Buffer.from(text) });
    const boot = [part('boot', 0, 'boot log')];

    async function read(kind: LogKind, offset = 0, limit = 1000): Promise<string> {
      return Buffer.from(await given.store.readLog('h-a', kind, offset, limit)).toString();
    }

    /** Sends parts with a round. */
    async function send(logs: readonly LogPart[], clock?: { resetCount: number; restartCount: number }): Promise<void> {
      const input = await round(given.store, 'h-a', { logs });
      await commit(given.store, clock === undefined ? input : { ...input, clock: { ...input.clock, ...clock } });
    }

    it('keeps what comes with the enrolment and appends where it ended', async () => {
      await enrolled(given.store, 'a', { logs: boot });
      await send([part('ima', 0, 'one ')]);
      await send([part('ima', 4, 'two ')]);
      await send([part('ima', 8, 'three')]);
      expect(await given.store.logStates('h-a')).toEqual([
        { kind: 'boot', size: 8, unreadable: '' },
        { kind: 'ima', size: 13, unreadable: '' },
      ]);
      expect(await read('ima')).toBe('one two three');
      expect(await read('ima', 2, 4)).toBe('e tw');
      expect(await read('ima', 13)).toBe('');
      expect(await read('ima', 99)).toBe('');
      expect(await read('userspace')).toBe('');
    });

    it.each([
      { name: 'leaves a gap', offset: 9 },
      { name: 'overlaps', offset: 4 },
    ])('does not keep a part that $name', async ({ offset }) => {
      await enrolled(given.store, 'a', { logs: boot });
      await send([part('boot', offset, 'more')]);
      expect(await read('boot')).toBe('boot log');
    });

    it('replaces a log that comes anew from its start', async () => {
      await enrolled(given.store, 'a', { logs: boot });
      await send([part('boot', 0, 'anew')]);
      expect(await read('boot')).toBe('anew');
    });

    const RESET = { resetCount: 2, restartCount: 0 };
    const RESUME = { resetCount: 1, restartCount: 1 };

    it('drops every log of before a reset', async () => {
      await enrolled(given.store, 'a', { logs: [...boot, part('userspace', 0, 'user')] });
      await send([part('boot', 8, ' continued')], RESET);
      expect(await given.store.logStates('h-a')).toEqual([]);
      await send([part('boot', 0, 'second boot')]);
      expect(await read('boot')).toBe('second boot');
    });

    it('drops the list of before a resume, and the logs of the boot where the round ends it', async () => {
      await enrolled(given.store, 'a', { logs: [...boot, part('userspace', 0, 'user'), part('ima', 0, 'list')] });
      await send([], RESUME);
      expect((await given.store.logStates('h-a')).map(({ kind }) => kind)).toEqual(['boot', 'userspace']);
      expect([await read('boot'), await read('ima')]).toEqual(['boot log', '']);
      const ended = await round(given.store, 'h-a', { boot: null });
      await commit(given.store, { ...ended, clock: { ...ended.clock, restartCount: 2 } });
      expect(await given.store.logStates('h-a')).toEqual([]);
    });

    const proven = (sha256: string): BootRecord => ({
      bootLog: { sha256, size: 8, unreadable: '' },
      userspaceLog: { sha256: '', size: 0, unreadable: 'ENOENT' },
      pcrs: [{ algorithm: 0x000b, values: [[7, '00'.repeat(32)]] }],
    });

    async function prove(boot: BootRecord | null | undefined): Promise<void> {
      await commit(given.store, await round(given.store, 'h-a', boot === undefined ? {} : { boot }));
    }

    it('keeps what was proven of the boot until a round proves another, or says that it no longer holds', async () => {
      await enrolled(given.store, 'a', { boot: proven('one') });
      expect(await given.store.getBoot('h-a')).toEqual(proven('one'));
      await prove(undefined);
      expect(await given.store.getBoot('h-a')).toEqual(proven('one'));
      await prove(proven('two'));
      expect(await given.store.getBoot('h-a')).toEqual(proven('two'));
      await given.reopen();
      expect(await given.store.getBoot('h-a')).toEqual(proven('two'));
      await prove(null);
      expect(await given.store.getBoot('h-a')).toBeNull();
      expect(await given.store.getBoot('h-nobody')).toBeNull();
    });

    it('keeps nothing of what a fenced round proved', async () => {
      await enrolled(given.store, 'a', { boot: proven('one') });
      const late = await round(given.store, 'h-a', { boot: proven('two') });
      await prove(undefined);
      expect(await commit(given.store, late)).toEqual({ outcome: 'fenced' });
      expect(await given.store.getBoot('h-a')).toEqual(proven('one'));
    });

    it('keeps what was proven before a resume: the PCRs are, too', async () => {
      await enrolled(given.store, 'a', { boot: proven('one') });
      await send([], RESUME);
      expect(await given.store.getBoot('h-a')).toEqual(proven('one'));
    });

    it('drops what was proven before a reset, and keeps what the same round proves', async () => {
      await enrolled(given.store, 'a', { boot: proven('one') });
      await send([], RESET);
      expect(await given.store.getBoot('h-a')).toBeNull();
      const again = await round(given.store, 'h-a', { boot: proven('two') });
      await commit(given.store, { ...again, clock: { ...again.clock, resetCount: 3 } });
      expect(await given.store.getBoot('h-a')).toEqual(proven('two'));
    });

    it('drops what was proven with the AK that proved it', async () => {
      const host = await enrolled(given.store, 'a', { boot: proven('one') });
      const change = { ak: ak('other'), callerHostId: 'h-a', tlsKeySha256: host.tlsKeySha256 };
      const outcome = await given.store.enroll(await enrollAgain(given.store, host, change));
      expect(outcome.outcome).toBe('replaced');
      expect(await given.store.getBoot('h-a')).toBeNull();
    });

    it('holds each log to its limit', async () => {
      await enrolled(given.store, 'a');
      const data = new Uint8Array(LOG_LIMITS.boot);
      await send([{ kind: 'boot', offset: 0, data }]);
      await send([{ kind: 'boot', offset: data.length, data: new Uint8Array(1) }]);
      expect(await given.store.logStates('h-a')).toEqual([{ kind: 'boot', size: LOG_LIMITS.boot, unreadable: '' }]);
    });

    it('says why a log could not be read until it can', async () => {
      await enrolled(given.store, 'a', { unreadable: [{ kind: 'ima', reason: 'EACCES' }] });
      expect(await given.store.logStates('h-a')).toEqual([{ kind: 'ima', size: 0, unreadable: 'EACCES' }]);
      await send([part('ima', 0, 'one')]);
      expect(await given.store.logStates('h-a')).toEqual([{ kind: 'ima', size: 3, unreadable: '' }]);
    });

    it('leaves the bytes that a caller gave to the caller', async () => {
      await enrolled(given.store, 'a');
      const whole = Buffer.from('before inside after');
      const data = whole.subarray(7, 13);
      await send([{ kind: 'boot', offset: 0, data }]);
      expect(data.toString()).toBe('inside');
      expect(await read('boot')).toBe('inside');
    });

    it('goes with the host', async () => {
      await enrolled(given.store, 'a', { logs: boot, boot: proven('one') });
      await given.store.deleteHost('h-a', OPERATOR);
      expect(await given.store.logStates('h-a')).toEqual([]);
      expect(await given.store.getBoot('h-a')).toBeNull();
      expect(await read('boot')).toBe('');
    });
  });
}
