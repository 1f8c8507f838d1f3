import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2, constants } from 'node:http2';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AttestationService } from '../../proto/gen/assay/v1/attestation_pb.ts';
import { Health } from '../../proto/gen/health/v1/health_pb.ts';
import { HealthRegistry } from '../../proto/health.ts';
import { echoServices } from '../support/echo.ts';
import { FRAME, makeFrame, RawFrames } from '../support/raw-frames.ts';
import { startTestService, until } from '../support/rpc.ts';
import type { TestService } from '../support/rpc.ts';

const UNARY = '/assay.v1.AttestationService/CreateChallenge';
const BIDI = '/assay.v1.AttestationService/Attest';
const EMPTY = Buffer.alloc(5);
const END_STREAM = 1;

let service: TestService;

beforeAll(async () => {
  // It connects often.
  service = await startTestService(echoServices(), { listener: { maxConnectionsPerAddress: 20_000 } });
});

afterAll(async () => {
  // An exception outside every handler would have failed the run; this is what else must hold.
  expect((await service.connect().client(AttestationService).createChallenge({})).token).toHaveLength(0);
  await until(() => service.server.callCount === 0, 'every call released');
  expect(service.log.filter(({ level }) => level !== 'debug')).toEqual([]);
  await service[Symbol.asyncDispose]();
});

interface Attempt {
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** The stream is reset instead of ended. */
  readonly reset?: boolean;
  /** Milliseconds until it is ended. */
  readonly pause?: number;
}

/** Sends a request below gRPC and answers its gRPC status, or else what became of it. */
async function send({
  path,
  headers = {},
  body = Buffer.alloc(0),
  reset = false,
  pause = 0,
}: Attempt): Promise<string> {
  const session = connectHttp2(`https://127.0.0.1:${service.listener.address().port}`, { rejectUnauthorized: false });
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  let status = 'none';
  const read = (answer: object): void => {
    if ('grpc-status' in answer) status = String(answer['grpc-status']);
    else if (':status' in answer && answer[':status'] !== 200) status = `HTTP ${String(answer[':status'])}`;
  };
  stream
    .on('response', read)
    .on('trailers', read)
    .on('error', () => undefined)
    .resume();
  stream.write(body);
  await delay(pause);
  if (reset) setImmediate(() => stream.close(8));
  else stream.end();
  await once(stream, 'close');
  session.close();
  return status;
}

describe('a hostile caller', () => {
  const attempts: readonly [string, Attempt, string][] = [
    ['a path of odd bytes', { path: '/x/\u00e9\u00ff' }, '12'],
    ['a path that is very long', { path: `/${'x'.repeat(20_000)}` }, '12'],
    ['a deadline that is none', { path: UNARY, headers: { 'grpc-timeout': 'zzz' } }, '13'],
    ['a deadline beyond all numbers', { path: UNARY, headers: { 'grpc-timeout': '99999999H' }, body: EMPTY }, '0'],
    ['a deadline in a month', { path: BIDI, headers: { 'grpc-timeout': '720H' }, body: EMPTY, pause: 200 }, '0'],
    ['no gRPC', { path: UNARY, headers: { 'content-type': 'text/html' } }, 'HTTP 415'],
    ['binary metadata that is none', { path: UNARY, headers: { 'x-bin': '!!!' }, body: EMPTY }, '0'],
    [
      'gzip that is none',
      { path: UNARY, headers: { 'grpc-encoding': 'gzip' }, body: Buffer.from([1, 0, 0, 0, 2, 1, 2]) },
      '12',
    ],
    [
      'an unknown compression',
      { path: UNARY, headers: { 'grpc-encoding': 'br' }, body: Buffer.from([1, 0, 0, 0, 1, 1]) },
      '12',
    ],
    ['a length of 4 GiB', { path: UNARY, body: Buffer.from([0, 255, 255, 255, 255]) }, '8'],
    ['half a frame', { path: UNARY, body: Buffer.from([0, 0, 0]) }, '3'],
    ['a stream that is reset', { path: BIDI, body: Buffer.concat([EMPTY, EMPTY]), reset: true }, 'none'],
  ];

  test.each(attempts)('with %s costs its own call', async (_name, attempt, status) => {
    expect(await send(attempt)).toBe(status);
  });

  test('with bytes that are no HTTP/2 costs its own connection', async () => {
    const noise = (index: number) =>
      createHash('shake256', { outputLength: 1 + index * 97 })
        .update(String(index))
        .digest();
    const { port } = service.listener.address();
    for (let index = 0; index < 40; index += 1) {
      const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] });
      socket.on('error', () => undefined).resume();
      await once(socket, 'secureConnect');
      if (index % 2 === 1) socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
      socket.end(noise(index));
      await once(socket, 'close');
    }
  });

  test('with calls that were answered, and that it never ends, loses them, and where there are many its connection', async () => {
    const { port } = service.listener.address();
    using one = await RawFrames.open(port);
    using many = await RawFrames.open(port);
    const answered = async (caller: RawFrames, calls: number): Promise<void> => {
      for (let index = 0; index < calls; index += 1) {
        await caller.call(1 + 2 * index, UNARY);
        await caller.data(1 + 2 * index, Buffer.from([0, 255, 255, 255, 255]));
      }
      await expect.poll(() => caller.received.get(FRAME.headers)).toBe(calls);
    };
    await Promise.all([answered(one, 1), answered(many, 100)]);
    expect([one.closed, many.closed]).toEqual([false, false]);
    await expect.poll(() => many.closed).toBe(true);
    await expect.poll(() => one.received.get(FRAME.reset)).toBe(1);
    expect(one.closed).toBe(false);
    await until(() => service.server.callCount === 0, 'every call released');
  });

  test('with a call that it leaves open has its answer, and is told that no more is wanted, not that something failed', async () => {
    const session = connectHttp2(`https://127.0.0.1:${service.listener.address().port}`, { rejectUnauthorized: false });
    const headers = { ':method': 'POST', ':path': UNARY, 'content-type': 'application/grpc', te: 'trailers' };
    const stream = session.request(headers, { endStream: false }).resume();
    const answered = once(stream, 'response');
    stream.write(Buffer.from([0, 255, 255, 255, 255]));
    expect((await answered)[0]).toMatchObject({ 'grpc-status': '8' });
    await once(stream, 'close');
    expect(stream.rstCode).toBe(constants.NGHTTP2_NO_ERROR);
    session.close();
  });

  test('that is a stranger and takes no answer is not waited for without end', async () => {
    const health = new HealthRegistry();
    await using strangers = await startTestService([health.service], { server: { strangersTakeMillis: 1_000 } });
    // One that is taken lasts longer than those below.
    const stream = strangers.connect().client(Health).watch({})[Symbol.asyncIterator]();
    await stream.next();
    using caller = await RawFrames.open(strangers.listener.address().port, { window: 0 });
    await caller.call(1, '/grpc.health.v1.Health/Watch');
    await caller.send(makeFrame(FRAME.data, { flags: END_STREAM, stream: 1, payload: EMPTY }));
    await caller.call(3, '/grpc.health.v1.Health/Check');
    await caller.send(makeFrame(FRAME.data, { flags: END_STREAM, stream: 3, payload: EMPTY }));
    await expect.poll(() => caller.received.get(FRAME.reset)).toBe(2);
    await until(() => strangers.server.callCount === 1, 'both calls released');
    expect(caller.closed).toBe(false);
    health.set('', 'serving');
    expect((await stream.next()).value).toMatchObject({ status: 1 });
  });

  test('with a flood of calls that it abandons leaves none behind', async () => {
    const client = service.connect().client(AttestationService);
    const calls = Array.from({ length: 200 }, (_unused, index) =>
      client.createChallenge({}, { signal: AbortSignal.timeout(index % 7) }),
    );
    const outcomes = await Promise.allSettled(calls);
    expect(outcomes).toHaveLength(200);
    await until(() => service.server.callCount === 0, 'every call released');
  });
});
