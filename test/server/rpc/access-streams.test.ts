import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { Context, RoleName } from '../../../proto/service.ts';
import type { StatusError } from '../../../proto/status.ts';
import type { Caller, Callers } from '../../../server/identity/callers.ts';
import { Access } from '../../../server/rpc/access.ts';
import { StoreError } from '../../../server/store/store.ts';

const ada = (expires: number): Caller => ({ kind: 'identity', name: 'ada', roles: ['auditor'], scope: {}, expires });

/** An open call of a method that these roles may call. */
function openCall(roles: readonly RoleName[]) {
  const abort = new AbortController();
  const failures: StatusError[] = [];
  const context: Context = {
    signal: abort.signal,
    draining: new AbortController().signal,
    requestId: '1',
    peer: { address: '192.0.2.1', port: 1 },
    method: { service: 'assay.v1.AttestationResultService', name: 'WatchAttestationResults', roles, everyHost: false },
    pendingBytes: () => 0,
    onReleased: (listener) => listener(),
    fail: (error) => {
      failures.push(error);
      abort.abort();
    },
  };
  return { context, abort, failures };
}

let now = 0;
let answer: () => Promise<Caller>;
let asked = 0;
let access: Access;
beforeEach(() => {
  vi.useFakeTimers();
  now = 1_000_000;
  asked = 0;
  answer = () => Promise.resolve(ada(now + 3_600_000));
  const callers = {
    identify: () => {
      asked += 1;
      return answer();
    },
  } satisfies Pick<Callers, 'identify'>;
  access = new Access(callers as unknown as Callers, () => now);
});
afterEach(() => {
  vi.useRealTimers();
});

async function pass(milliseconds: number): Promise<void> {
  now += milliseconds;
  await vi.advanceTimersByTimeAsync(milliseconds);
}

describe('the caller of an open stream', () => {
  it('is asked for again every minute, and may go on', async () => {
    const { context, failures } = openCall(['auditor']);
    await access.authorize(context);
    access.keepChecking(context);
    const until = ada(now + 3_600_000);
    answer = () => Promise.resolve(until);
    for (let minute = 0; minute < 5; minute++) await pass(60_000);
    expect(asked).toBe(6);
    expect(failures).toEqual([]);
    expect(access.caller(context)).toMatchObject({ name: 'ada' });
  });

  it.each<[string, Caller, string, string]>([
    [
      'its identity was revoked',
      { kind: 'anonymous', refusal: 'IDENTITY_REVOKED' },
      'UNAUTHENTICATED',
      'IDENTITY_REVOKED',
    ],
    ['its host was banned', { kind: 'anonymous', refusal: 'HOST_REVOKED' }, 'PERMISSION_DENIED', 'HOST_REVOKED'],
    ['it lost the role', { ...ada(0), roles: ['consumer'] } as Caller, 'PERMISSION_DENIED', 'ROLE_MISSING'],
  ])('is cut off within a minute once %s', async (_name, caller, code, reason) => {
    const { context, failures } = openCall(['auditor']);
    await access.authorize(context);
    access.keepChecking(context);
    answer = () => Promise.resolve(caller);
    await pass(60_000);
    expect(failures).toEqual([expect.objectContaining({ code, reason })]);
  });

  it.each<[string, Readonly<Record<string, string>>, Readonly<Record<string, string>>]>([
    ['narrower', {}, { tenant: 'red' }],
    ['wider', { tenant: 'red' }, {}],
    ['another', { tenant: 'red' }, { tenant: 'blue' }],
  ])('is cut off within a minute once its scope is %s, and told to begin anew', async (_name, before, after) => {
    const scoped = (scope: Readonly<Record<string, string>>) => ({ ...ada(now + 3_600_000), scope }) as Caller;
    answer = () => Promise.resolve(scoped(before));
    const { context, failures } = openCall(['auditor']);
    await access.authorize(context);
    access.keepChecking(context);
    await pass(60_000);
    expect(failures).toEqual([]);
    answer = () => Promise.resolve(scoped(after));
    await pass(60_000);
    expect(failures).toEqual([expect.objectContaining({ code: 'OUT_OF_RANGE', reason: 'SCOPE_CHANGED' })]);
  });

  it('is cut off when its certificate ends', async () => {
    const end = now + 10_000;
    answer = () => Promise.resolve(now < end ? ada(end) : { kind: 'anonymous', refusal: 'CERTIFICATE_EXPIRED' });
    const { context, failures } = openCall(['auditor']);
    await access.authorize(context);
    access.keepChecking(context);
    await pass(9_999);
    expect(failures).toEqual([]);
    await pass(1);
    expect(failures).toEqual([expect.objectContaining({ code: 'UNAUTHENTICATED', reason: 'CERTIFICATE_EXPIRED' })]);
  });

  it('is cut off, and told to come back, where the store cannot say', async () => {
    const { context, failures } = openCall(['auditor']);
    await access.authorize(context);
    access.keepChecking(context);
    answer = () => Promise.reject(new StoreError('failed', 'disk'));
    await pass(60_000);
    expect(failures).toEqual([expect.objectContaining({ code: 'UNAVAILABLE', reason: 'STORE_UNAVAILABLE' })]);
  });

  it('is asked for no more once its stream has ended', async () => {
    const { context } = openCall(['auditor']);
    await access.authorize(context);
    access.keepChecking(context)[Symbol.dispose]();
    await pass(600_000);
    expect(asked).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('who did it', () => {
  it.each<[Caller, string]>([
    [ada(0), 'identities/ada'],
    [{ kind: 'host', hostId: 'h-1', tlsKeySha256: '', expires: 0 }, 'agent hosts/h-1'],
    [{ kind: 'anonymous', refusal: '' }, 'anonymous'],
  ])('of %j is %s', async (caller, actor) => {
    answer = () => Promise.resolve(caller);
    const { context } = openCall(['anonymous']);
    await access.authorize(context);
    access.keepChecking(context);
    expect(access.actor(context)).toEqual({ actor });
  });

  it('is nobody before the call was let in, and no host where it is none', async () => {
    const { context } = openCall(['auditor']);
    expect(() => access.caller(context)).toThrow(TypeError);
    await access.authorize(context);
    access.keepChecking(context);
    expect(() => access.agent(context)).toThrow(TypeError);
  });
});
