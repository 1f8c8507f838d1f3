import { afterEach, beforeEach, expect, test } from 'vitest';

import { OpenRequests } from '../../proto/open-requests.ts';
import { STATUS_CODES } from '../../proto/status.ts';
import { RawCaller } from '../support/raw-caller.ts';
import type { RawAnswer } from '../support/raw-caller.ts';
import { startAssay } from '../support/running-service.ts';
import type { Running } from '../support/running-service.ts';

const KIBIBYTE = 1024;
const COMPLETE = '/assay.v1.EnrollmentService/CompleteEnrollment';
const BEGIN = '/assay.v1.EnrollmentService/BeginEnrollment';

test('an address has its share and all together have a limit; what is given back is there again, once', () => {
  const requests = new OpenRequests({ ofAddress: 300 * KIBIBYTE, ofAll: 500 * KIBIBYTE });
  // Each counts with the 64 KiB that arrive before anything is asked for.
  const first = requests.open('a', 36 * KIBIBYTE);
  expect([requests.open('a', 36 * KIBIBYTE), requests.open('a', 36 * KIBIBYTE)]).not.toContain(undefined);
  expect(requests.open('a', 0)).toBeUndefined();
  expect([requests.open('b', 36 * KIBIBYTE), requests.open('b', 36 * KIBIBYTE)]).not.toContain(undefined);
  expect(requests.open('c', 0)).toBeUndefined();
  first?.();
  first?.();
  expect(requests.open('a', 36 * KIBIBYTE)).toBeDefined();
  expect(requests.open('a', 0)).toBeUndefined();
});

let running: Running;
beforeEach(async () => {
  running = await startAssay();
});
afterEach(async () => {
  await running[Symbol.asyncDispose]();
  expect(running.errors).toEqual([]);
});

test('calls of strangers that send nothing whole are bounded for their address over all its connections', async () => {
  const { port } = running.service.address;
  const callers = await Promise.all(
    Array.from({ length: 6 }, () => RawCaller.open(port, { localAddress: '127.0.2.1' })),
  );
  const open = callers.flatMap((caller) => Array.from({ length: 95 }, () => caller.open(BEGIN)));
  const refused: RawAnswer[] = [];
  for (const { answer } of open) void answer.then((each) => refused.push(each));
  // 64 MiB, each call with 64 KiB and its window: 512 wait for their request, and have no answer.
  await expect.poll(() => refused.length).toBe(open.length - 512);
  expect(new Set(refused.map(({ reason }) => reason))).toEqual(new Set(['TOO_MANY_CALLS']));
  using other = await RawCaller.open(port, { localAddress: '127.0.2.2' });
  expect((await other.call({ path: BEGIN, body: Buffer.alloc(5) })).reason).not.toBe('TOO_MANY_CALLS');
  // They are free again with their connections.
  for (const caller of callers) caller[Symbol.dispose]();
  using again = await RawCaller.open(port, { localAddress: '127.0.2.1' });
  await expect
    .poll(async () => (await again.call({ path: BEGIN, body: Buffer.alloc(5) })).reason)
    .not.toBe('TOO_MANY_CALLS');
});

test('calls of health and reflection leave room for enrolments', async () => {
  const { port } = running.service.address;
  const callers = await Promise.all(
    Array.from({ length: 4 }, () => RawCaller.open(port, { localAddress: '127.0.2.3' })),
  );
  const refused: RawAnswer[] = [];
  for (const caller of callers) {
    for (let index = 0; index < 95; index += 1) {
      const { stream, answer } = caller.open('/grpc.health.v1.Health/Watch');
      stream.end(Buffer.alloc(5));
      void answer.then((each) => refused.push(each));
    }
  }
  // 16 MiB, each call with 4 KiB and its window.
  await expect.poll(() => refused.length).toBe(380 - 240);
  expect(new Set(refused.map(({ reason }) => reason))).toEqual(new Set(['TOO_MANY_CALLS']));
  using other = await RawCaller.open(port, { localAddress: '127.0.2.3' });
  expect((await other.call({ path: BEGIN, body: Buffer.alloc(5) })).reason).not.toBe('TOO_MANY_CALLS');
  for (const caller of callers) caller[Symbol.dispose]();
});

test.each([
  [COMPLETE, 512 * KIBIBYTE],
  [BEGIN, 64 * KIBIBYTE],
  ['/grpc.health.v1.Health/Watch', 4 * KIBIBYTE],
])('a message to %s that announces more than is taken is refused before its bytes come', async (path, limit) => {
  using caller = await RawCaller.open(running.service.address.port);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(limit + 1, 1);
  const { stream, answer } = caller.open(path);
  stream.write(head);
  expect(await answer).toMatchObject({ status: STATUS_CODES.RESOURCE_EXHAUSTED, reason: 'MESSAGE_TOO_LARGE' });
});
