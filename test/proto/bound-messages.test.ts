import { connect } from 'node:http2';

import { create, toBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { AttestationService, AttestRequestSchema } from '../../proto/gen/assay/v1/attestation_pb.ts';
import { echoServices } from '../support/echo.ts';
import { memoryInUse } from '../support/memory.ts';
import { frame } from '../support/raw-caller.ts';
import { encodeHeaders, FRAME, makeFrame, RawFrames } from '../support/raw-frames.ts';
import { startTestService, until } from '../support/rpc.ts';
import type { TestService } from '../support/rpc.ts';
import { SeededRandom } from '../support/seeded-random.ts';

const ATTEST = `/${AttestationService.typeName}/Attest`;
const CALLS = 50;
const KIBIBYTE = 1024;

let service: TestService;
/** Calls that have reached their handler. */
let opened: number;
/** Reasons of the wishes that came. */
let seen: string[];
/** How many of them a call reads. */
let reads = Infinity;
/** Called with each. */
let read: () => void = () => undefined;
beforeEach(async () => {
  opened = 0;
  seen = [];
  reads = Infinity;
  read = () => undefined;
  service = await startTestService(
    echoServices({
      // oxlint-disable-next-line require-yield -- it answers nothing
      async *attest(requests, { signal }) {
        opened += 1;
        let left = reads;
        for await (const { part } of requests) {
          seen.push(part.case === 'wish' ? part.value.reason : '');
          read();
          left -= 1;
          if (left === 0) await new Promise((resolve) => signal.addEventListener('abort', resolve));
        }
      },
    }),
  );
});
afterEach(() => service[Symbol.asyncDispose]());

test.each([1, 2, 3])(
  'messages come whole, each once and in their order, however they are cut (seed %i)',
  async (seed) => {
    const random = new SeededRandom(seed);
    const sizes = [0, 0, 5, 300, 9_000, 70_000];
    const sent = Array.from({ length: 300 }, (_, index) => {
      const size = random.below(sizes[random.below(sizes.length)] ?? 1);
      return random.below(4) === 0 ? '' : `${index} ${'x'.repeat(size)}`;
    });
    const wish = (reason: string): Buffer =>
      reason === ''
        ? frame(Buffer.alloc(0))
        : frame(
            toBinary(AttestRequestSchema, create(AttestRequestSchema, { part: { case: 'wish', value: { reason } } })),
          );
    const bytes = Buffer.concat(sent.map(wish));
    const session = connect(`https://127.0.0.1:${service.listener.address().port}`, { rejectUnauthorized: false });
    const headers = { ':method': 'POST', ':path': ATTEST, 'content-type': 'application/grpc', te: 'trailers' };
    const stream = session.request(headers).resume();
    for (let from = 0; from < bytes.length;) {
      const to = from + 1 + random.below(random.below(2) === 0 ? 8 : 40_000);
      stream.write(bytes.subarray(from, to));
      from = to;
      if (random.below(8) === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    stream.end();
    await until(() => seen.length >= sent.length, 'every message read');
    await until(() => service.server.callCount === 0, 'call released');
    session.close();
    expect(seen).toEqual(sent);
  },
);

test('messages that came together are read in turns, between which others go on', async () => {
  let turn = 0;
  let going = true;
  const tick = (): void => {
    turn += 1;
    if (going) setImmediate(tick);
  };
  const perTurn = new Map<number, number>();
  read = () => void perTurn.set(turn, (perTurn.get(turn) ?? 0) + 1);
  using caller = await RawFrames.open(service.listener.address().port);
  await caller.call(1, ATTEST);
  tick();
  await caller.data(1, Buffer.alloc(5_000));
  await until(() => seen.length === 1_000, 'every message read');
  going = false;
  expect(Math.max(...perTurn.values())).toBeLessThanOrEqual(2);
});

test('messages of no bytes that nobody asks for cost what they have sent', async () => {
  reads = 1;
  using caller = await RawFrames.open(service.listener.address().port);
  const before = await memoryInUse();
  const empties = Buffer.alloc(16_380);
  for (let index = 0; index < CALLS; index += 1) {
    await caller.call(1 + 2 * index, ATTEST);
    for (let part = 0; part < 3; part += 1) await caller.data(1 + 2 * index, empties);
  }
  await until(() => seen.length === CALLS, 'a message of every call');
  expect(((await memoryInUse()) - before) / CALLS).toBeLessThan(120 * KIBIBYTE);
});

test('a message that comes in pieces of a byte costs its bytes', async () => {
  using caller = await RawFrames.open(service.listener.address().port);
  const before = await memoryInUse();
  const head = Buffer.alloc(5);
  head.writeUInt32BE(64 * KIBIBYTE, 1);
  for (let index = 0; index < CALLS; index += 1) {
    const stream = 1 + 2 * index;
    await caller.call(stream, ATTEST);
    const piece = makeFrame(FRAME.data, { stream, payload: Buffer.alloc(1) });
    await caller.data(stream, head);
    for (let sent = 0; sent < 4; sent += 1) await caller.send(...Array.from({ length: 1_000 }, () => piece));
  }
  await until(() => service.server.callCount === CALLS, 'every call there');
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(((await memoryInUse()) - before) / CALLS).toBeLessThan(120 * KIBIBYTE);
});

test('nothing is kept of a message that was not whole when its call ended, though its caller leaves the stream open', async () => {
  using caller = await RawFrames.open(service.listener.address().port);
  const before = await memoryInUse();
  const head = Buffer.alloc(5);
  head.writeUInt32BE(4 * 1024 * KIBIBYTE, 1);
  const payload = encodeHeaders({
    ':method': 'POST',
    ':scheme': 'https',
    ':path': ATTEST,
    ':authority': 'localhost',
    'content-type': 'application/grpc',
    te: 'trailers',
    'grpc-timeout': '1000m',
  });
  for (let index = 0; index < CALLS; index += 1) {
    const stream = 1 + 2 * index;
    await caller.send(makeFrame(FRAME.headers, { flags: 4, stream, payload }));
    await caller.data(stream, head);
  }
  // The first may be at its deadline when the last one comes.
  await until(() => opened === CALLS, 'every call there');
  await until(() => service.server.callCount === 0, 'every call at its deadline');
  expect(((await memoryInUse()) - before) / CALLS).toBeLessThan(120 * KIBIBYTE);
  expect(caller.received.get(FRAME.reset)).toBeUndefined();
});
