import { fromBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';

import { WatchAttestationResultsResponseSchema } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import type { WatchEvent } from '../../../server/result/watch.ts';
import { encodeWatchEvent } from '../../../server/rpc/encode-watch-event.ts';
import type { Confirmation, ResultRecord } from '../../../server/store/records.ts';

const result: ResultRecord = {
  hostId: 'h-a',
  revision: 7,
  status: 'warning',
  vector: { instanceIdentity: 2, configuration: 32, executables: 0, hardware: -1 },
  checks: [{ id: 'pcr', outcome: 'failed', reason: 'PCR_MISMATCH', observed: 'a', expected: 'b', message: 'ä\u202e' }],
  policyId: 'base',
  policyVersion: 3,
  endorsementVersion: 4,
  inputDigest: 'ab',
  evidenceDigest: 'cd',
  akName: '000b',
  resetCount: 4,
  restartCount: 0,
  challengeTime: 1_000,
  validUntil: null,
  confirmations: 0,
  connectivity: 'connected',
  nodeName: '',
  labels: { zone: 'eu' },
  revisionTime: 2_000,
};
const confirmation: Confirmation = {
  sequence: 9,
  hostId: 'h-a',
  revision: 7,
  status: 'affirming',
  policyId: 'base',
  labels: {},
  validUntil: 3_000,
  confirmations: 5,
};

const told = (event: WatchEvent) => fromBinary(WatchAttestationResultsResponseSchema, encodeWatchEvent(event).bytes);

describe('the message of an event', () => {
  it.each<[string, WatchEvent, object]>([
    [
      'change',
      { kind: 'change', result, initial: false, resumeToken: 't' },
      { initial: false, result: { host: 'hosts/h-a', status: 3, vector: { hardware: -1 }, labels: { zone: 'eu' } } },
    ],
    [
      'present result',
      { kind: 'change', result, initial: true, resumeToken: '' },
      { initial: true, result: { host: 'hosts/h-a', revision: 7n, checks: [{ message: 'ä\u202e' }] } },
    ],
    [
      'removal',
      { kind: 'removal', hostId: 'h-a', reason: 'FILTERED', resumeToken: 't'.repeat(300) },
      { host: 'hosts/h-a', reason: 'FILTERED' },
    ],
    [
      'validity',
      { kind: 'validity', confirmation, resumeToken: 't' },
      { host: 'hosts/h-a', revision: 7n, confirmations: 5n, validUntil: { seconds: 3n } },
    ],
    ['bookmark', { kind: 'bookmark', synced: true, resumeToken: 't' }, { synced: true }],
  ])('says what a %s is, and its token', (name, event, value) => {
    const message = told(event);
    expect(message.event).toMatchObject({ case: name === 'present result' ? 'change' : name, value });
    expect(message.resumeToken).toBe(event.resumeToken);
    expect(message.$unknown).toBeUndefined();
  });

  it('is the same for every watcher but for the token', () => {
    for (const make of [
      (resumeToken: string): WatchEvent => ({ kind: 'change', result, initial: false, resumeToken }),
      (resumeToken: string): WatchEvent => ({ kind: 'validity', confirmation, resumeToken }),
    ]) {
      const one = told(make('one'));
      const other = told(make('another'));
      expect([one.resumeToken, other.resumeToken]).toEqual(['one', 'another']);
      expect(other.event).toEqual(one.event);
    }
  });

  it('of a present result is not taken for that of the same result as a change', () => {
    const [change, present] = [false, true].map((initial) =>
      told({ kind: 'change', result, initial, resumeToken: '' }),
    );
    expect([change?.event.value, present?.event.value]).toMatchObject([{ initial: false }, { initial: true }]);
  });

  it('is encoded once for all watchers', () => {
    let reads = 0;
    const counted = new Proxy(result, {
      get: (target, key, receiver) => {
        if (key === 'checks') reads += 1;
        return Reflect.get(target, key, receiver) as unknown;
      },
    });
    for (let watcher = 0; watcher < 200; watcher += 1) {
      told({ kind: 'change', result: counted, initial: false, resumeToken: `t${watcher}` });
    }
    expect(reads).toBe(1);
  });
});
