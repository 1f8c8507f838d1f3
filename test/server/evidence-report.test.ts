import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { reportEvidence } from '../../server/evidence-report.ts';
import type { LogWriter } from '../../server/evidence-report.ts';
import type { LogPart } from '../../server/store/records.ts';
import { StoreError } from '../../server/store/store.ts';
import { openTestStore } from '../support/test-service.ts';
import { commit, enrolled, round } from './store/fixtures.ts';

let opened: Awaited<ReturnType<typeof openTestStore>>;
let written: Map<string, string>;
beforeEach(async () => {
  opened = await openTestStore();
  written = new Map();
  await enrolled(opened.store, 'a', { logs: [log('boot', 'first boot'), log('ima', 'first list')] });
  const input = await round(opened.store, 'h-a', { logs: [log('ima', 'second list')] });
  await commit(opened.store, { ...input, clock: { ...input.clock, resetCount: 2 } });
});
afterEach(() => opened.close());

const keep: LogWriter = (boot, kind, bytes) => {
  const name = `${boot} ${kind}`;
  written.set(name, (written.get(name) ?? '') + Buffer.from(bytes).toString());
};

const log = (kind: LogPart['kind'], text: string): LogPart => ({ kind, offset: 0, data: Buffer.from(text) });

describe('a report of kept evidence', () => {
  it('tells every boot, the present one first, with its logs', async () => {
    const boots = await reportEvidence(opened.store, 'h-a', keep);
    const [present, former] = boots ?? [];
    expect(boots).toHaveLength(2);
    expect(present).toMatchObject({ boot: 'present', resetCount: 2, ended: null, status: 'affirming' });
    expect(former).toMatchObject({
      resetCount: 1,
      status: 'none',
      logs: [
        { kind: 'boot', size: 10, damaged: false },
        { kind: 'ima', size: 10, damaged: false },
      ],
    });
    expect(Object.fromEntries(written)).toEqual({
      'present ima': 'second list',
      [`${former?.boot} boot`]: 'first boot',
      [`${former?.boot} ima`]: 'first list',
    });
  });

  it('knows no other host', async () => {
    expect(await reportEvidence(opened.store, 'h-other', keep)).toBeNull();
    expect(written.size).toBe(0);
  });

  it('is whole for a log of many reads', async () => {
    const list = 'entry '.repeat(500_000);
    await commit(opened.store, await round(opened.store, 'h-a', { logs: [log('ima', list)] }));
    await reportEvidence(opened.store, 'h-a', keep);
    expect(written.get('present ima') === list).toBe(true);
  });

  it('says which log is damaged, and goes on with the others', async () => {
    const { store } = opened;
    const readFormerLog = store.readFormerLog.bind(store);
    Object.assign(store, {
      readFormerLog: async (...args: Parameters<typeof readFormerLog>) => {
        if (args[1] === 'boot') throw new StoreError('corrupt', 'what is kept is not that');
        return readFormerLog(...args);
      },
    });
    const [, former] = (await reportEvidence(store, 'h-a', keep)) ?? [];
    expect(former?.logs.map(({ kind, damaged }) => `${kind} ${damaged}`)).toEqual(['boot true', 'ima false']);
  });
});
