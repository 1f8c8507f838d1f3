import { describe, expect, it } from 'vitest';

import { FaultLog } from '../../../server/store/fault-log.ts';
import { StoreError } from '../../../server/store/store.ts';
import type { StoreErrorCode } from '../../../server/store/store.ts';

function noting(): { readonly told: string[]; readonly note: (code: StoreErrorCode, at: number) => void } {
  const told: string[] = [];
  let now = 0;
  const log = new FaultLog(
    ({ code }) => told.push(`${code} at ${now}`),
    () => now,
  );
  return {
    told,
    note: (code, at) => {
      now = at;
      log.note(new StoreError(code, 'x'));
    },
  };
}

describe('FaultLog', () => {
  it('tells of each kind of fault once a minute, however many calls it fails', () => {
    const { told, note } = noting();
    note('full', 0);
    note('full', 59_999);
    note('failed', 59_999);
    note('full', 60_000);
    expect(told).toEqual(['full at 0', 'failed at 59999', 'full at 60000']);
  });

  it('lets refusals go', () => {
    const { told, note } = noting();
    note('not_found', 0);
    note('etag_mismatch', 0);
    expect(told).toEqual([]);
  });
});
