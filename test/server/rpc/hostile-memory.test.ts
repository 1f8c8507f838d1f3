import { gzipSync } from 'node:zlib';

import { getOption } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { access, Role } from '../../../proto/gen/assay/v1/access_pb.ts';
import { STATUS_CODES } from '../../../proto/status.ts';
import { MAX_RECEIVE_BYTES } from '../../../server/rpc/services.ts';
import { methodsOfContract, pathOf } from '../../support/contract.ts';
import { memoryInUse, peakOfBuffers } from '../../support/memory.ts';
import { frame, RawCaller } from '../../support/raw-caller.ts';
import { FRAME, makeFrame, RawFrames } from '../../support/raw-frames.ts';
import { startAssay } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';

const MEBIBYTE = 1024 * 1024;
const COMPLETE = '/assay.v1.EnrollmentService/CompleteEnrollment';
const REFLECTION = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
/** What anybody may call, streams that last among it. */
const STANDARD = [
  '/grpc.health.v1.Health/Check',
  '/grpc.health.v1.Health/Watch',
  '/grpc.health.v1.Health/List',
  REFLECTION,
];

let running: Running;
let stranger: RawCaller;
beforeAll(async () => {
  running = await startAssay();
  stranger = await RawCaller.open(running.service.address.port);
});
afterAll(async () => {
  stranger[Symbol.dispose]();
  await running[Symbol.asyncDispose]();
  expect(running.errors).toEqual([]);
});

/** Fields that no message has, two bytes each. */
const unknownFields = (size: number): Buffer => Buffer.alloc(size, Buffer.from([0x78, 0x01]));

describe('what a stranger sends', () => {
  const anonymous = methodsOfContract().then((methods) =>
    methods.filter((method) => getOption(method, access).roles.includes(Role.ANONYMOUS)).map(pathOf),
  );

  it('is bounded by each method apart, and by 4 KiB where none has said more', async () => {
    for (const path of [...STANDARD, ...(await anonymous)]) {
      const limit = MAX_RECEIVE_BYTES.get(path) ?? 4096;
      expect(limit, path).toBeLessThanOrEqual(512 * 1024);
      const answer = await stranger.call({ path, body: frame(Buffer.alloc(limit + 1)) });
      expect(answer, path).toMatchObject({ status: STATUS_CODES.RESOURCE_EXHAUSTED, reason: 'MESSAGE_TOO_LARGE' });
    }
  });

  it('as fields that nobody knows is not kept for as long as a stream lasts', async () => {
    const { port } = running.service.address;
    using caller = await RawCaller.open(port);
    const before = await memoryInUse();
    const body = frame(unknownFields(4000));
    const calls = Array.from({ length: 60 }, () =>
      caller.call({ path: '/grpc.health.v1.Health/Watch', body, timeout: 1_500 }),
    );
    await new Promise((resolve) => setTimeout(resolve, 700));
    const held = (await memoryInUse()) - before;
    const answers = await Promise.all(calls);
    // Each was a stream that lasted, and 2,000 objects of some hundred bytes would have been with each.
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => STATUS_CODES.DEADLINE_EXCEEDED));
    expect(held / answers.length).toBeLessThan(40 * 1024);
  });

  it('compressed is refused before it is opened', async () => {
    const bomb = frame(gzipSync(Buffer.alloc(4 * MEBIBYTE)), true);
    const body = Buffer.concat(Array.from({ length: 15 }, () => bomb));
    for (const encoding of ['gzip', 'deflate', 'br', 'identity, gzip']) {
      const headers = { 'grpc-encoding': encoding };
      const peak = await peakOfBuffers(async () => {
        const answers = await Promise.all(
          Array.from({ length: 20 }, () => stranger.call({ path: COMPLETE, body, headers })),
        );
        const refused = { status: STATUS_CODES.UNIMPLEMENTED, reason: 'COMPRESSION_UNSUPPORTED' };
        for (const answer of answers) expect(answer).toMatchObject(refused);
      });
      expect(peak).toBeLessThan(24 * MEBIBYTE);
    }
  });

  it('that says it is not compressed is taken as it is, whatever its flag says', async () => {
    const headers = { 'grpc-encoding': 'identity' };
    const body = frame(Buffer.from('0a00', 'hex'));
    expect(await stranger.call({ path: COMPLETE, body, headers })).toMatchObject({ reason: 'INVALID_FIELD' });
    expect(await stranger.call({ path: COMPLETE, body: frame(gzipSync(Buffer.alloc(4)), true) })).toMatchObject({
      reason: 'MALFORMED_MESSAGE',
    });
  });

  it('that nests without end is malformed', async () => {
    // Of field 15, which nobody knows: a known one is read as what it is, whatever its tag says.
    const groups = Buffer.alloc(400 * 1024, 0x7b);
    expect(await stranger.call({ path: COMPLETE, body: frame(groups) })).toMatchObject({ reason: 'MALFORMED_MESSAGE' });
  });

  it('as hundreds of thousands of messages in one is refused before they are made', async () => {
    // Field 4 of a proof, each an empty message of two bytes.
    const banks = Buffer.alloc(512 * 1024 - 64, Buffer.from([0x22, 0]));
    const head = Buffer.from([
      0x0a,
      (banks.length & 0x7f) | 0x80,
      ((banks.length >> 7) & 0x7f) | 0x80,
      banks.length >> 14,
    ]);
    const body = frame(Buffer.concat([head, banks]));
    expect(await stranger.call({ path: COMPLETE, body })).toMatchObject({
      status: STATUS_CODES.RESOURCE_EXHAUSTED,
      reason: 'TOO_MANY_FIELDS',
    });
  });

  it('in messages of no bytes, whose answers it does not take, is not kept a hundred times over', async () => {
    using caller = await RawFrames.open(running.service.address.port, { window: 0 });
    const before = await memoryInUse();
    for (let index = 0; index < 50; index += 1) {
      await caller.call(1 + 2 * index, REFLECTION);
      for (let part = 0; part < 3; part += 1) await caller.data(1 + 2 * index, Buffer.alloc(16_380));
    }
    // An answer to each call, of which nothing but its headers may be sent.
    await expect.poll(() => caller.received.get(FRAME.headers) ?? 0).toBe(50);
    expect(((await memoryInUse()) - before) / 50).toBeLessThan(160 * 1024);
  });

  it('in pieces of a byte is kept as these bytes', async () => {
    using caller = await RawFrames.open(running.service.address.port);
    const before = await memoryInUse();
    const head = Buffer.alloc(5);
    head.writeUInt32BE(64 * 1024, 1);
    for (let index = 0; index < 50; index += 1) {
      const stream = 1 + 2 * index;
      await caller.call(stream, COMPLETE);
      await caller.data(stream, head);
      const piece = makeFrame(FRAME.data, { stream, payload: Buffer.alloc(1) });
      await caller.send(...Array.from({ length: 4_000 }, () => piece));
    }
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(((await memoryInUse()) - before) / 50).toBeLessThan(160 * 1024);
  });
});
