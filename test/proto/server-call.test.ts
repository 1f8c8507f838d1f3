import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { AttestationService } from '../../proto/gen/assay/v1/attestation_pb.ts';
import { AttestationResultService } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import type { Context } from '../../proto/service.ts';
import { StatusError } from '../../proto/status.ts';
import { echoServices, silence } from '../support/echo.ts';
import { all, failure, settled, startTestService, until } from '../support/rpc.ts';
import type { TestService } from '../support/rpc.ts';

const attestation = (service: TestService) => service.connect().client(AttestationService);
const results = (service: TestService) => service.connect().client(AttestationResultService);

describe('a call that ends early', () => {
  const waiting = (told: (reason: unknown) => void, arrived: () => void = () => undefined) =>
    echoServices({
      createChallenge: async (_request, { signal }) => {
        arrived();
        if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
        told(signal.reason);
        return {};
      },
    });

  test('by its deadline aborts the signal', async () => {
    const told = Promise.withResolvers<unknown>();
    let arrived = 0;
    await using service = await startTestService(waiting(told.resolve, () => (arrived += 1)));
    const client = attestation(service);
    // On a busy machine a deadline may pass before the call has reached its handler, and then nobody is told.
    for (let millis = 200; arrived === 0; millis *= 2) {
      const error = await failure(client.createChallenge({}, { deadline: Date.now() + millis }));
      expect(error.code).toBe('DEADLINE_EXCEEDED');
    }
    const reason = await told.promise;
    expect(['DEADLINE_EXCEEDED', 'CANCELLED']).toContain(reason instanceof StatusError ? reason.code : reason);
    await until(() => service.server.callCount === 0, 'call released');
  });

  test('by its caller aborts the signal', async () => {
    const told = Promise.withResolvers<unknown>();
    await using service = await startTestService(waiting(told.resolve));
    const abort = new AbortController();
    const call = failure(attestation(service).createChallenge({}, { signal: abort.signal }));
    await until(() => service.server.callCount === 1, 'call arrived');
    abort.abort();
    expect((await call).code).toBe('CANCELLED');
    expect(await told.promise).toMatchObject({ code: 'CANCELLED' });
  });

  test('is told to whoever asks for its signal afterwards, and to listeners of its release', async () => {
    const asked = Promise.withResolvers<Context>();
    const over = Promise.withResolvers<void>();
    await using service = await startTestService(
      echoServices({
        createChallenge: async (_request, context) => {
          asked.resolve(context);
          await over.promise;
          return {};
        },
      }),
    );
    const abort = new AbortController();
    const call = failure(attestation(service).createChallenge({}, { signal: abort.signal }));
    const context = await asked.promise;
    abort.abort();
    expect((await call).code).toBe('CANCELLED');
    await until(() => service.server.callCount === 0, 'call released');
    expect(context.signal.aborted).toBe(true);
    expect(context.signal.reason).toMatchObject({ code: 'CANCELLED' });
    let released = false;
    context.onReleased(() => (released = true));
    expect(released).toBe(true);
    over.resolve();
  });

  test('by a lost connection aborts the signal and the pending read', async () => {
    const told = Promise.withResolvers<unknown>();
    await using service = await startTestService(
      echoServices({
        async *attest(requests) {
          try {
            for await (const request of requests) if (request.part.case === 'chunk') yield {};
          } catch (error) {
            told.resolve(error);
          }
        },
      }),
    );
    const { port } = service.listener.address();
    const sockets: Socket[] = [];
    const relay = createServer((socket) => {
      const onward = connect(port, '127.0.0.1');
      sockets.push(socket, onward);
      for (const end of [socket, onward]) end.on('error', () => undefined);
      socket.pipe(onward).pipe(socket);
    });
    await new Promise<void>((resolve) => relay.listen(0, '127.0.0.1', resolve));
    const address = relay.address();
    if (address === null || typeof address === 'string') throw new Error('relay does not listen');
    const channel = service.connect(undefined, { port: address.port });
    const call = failure(all(channel.client(AttestationService).attest(silence())));
    await until(() => service.server.callCount === 1, 'call arrived');
    relay.close();
    for (const socket of sockets) socket.destroy();
    expect((await call).code).toBe('UNAVAILABLE');
    expect(await told.promise).toMatchObject({ code: 'CANCELLED' });
    await until(() => service.server.callCount === 0, 'call released');
  });

  test('by the closing of its channel is CANCELLED', async () => {
    await using service = await startTestService(echoServices());
    const channel = service.connect();
    const call = failure(all(channel.client(AttestationService).attest(silence())));
    await until(() => service.server.callCount === 1, 'call arrived');
    channel.close();
    expect((await call).code).toBe('CANCELLED');
    await until(() => service.server.callCount === 0, 'call released');
  });

  test('by the service itself says why at once', async () => {
    const contexts: Context[] = [];
    await using service = await startTestService(
      echoServices({
        async *attest(requests, context) {
          contexts.push(context);
          for await (const request of requests) if (request.part.case === 'chunk') yield {};
        },
      }),
    );
    const call = failure(all(attestation(service).attest(silence())));
    await until(() => contexts.length === 1, 'call arrived');
    contexts[0]?.fail(
      new StatusError({ code: 'PERMISSION_DENIED', reason: 'HOST_REVOKED', message: 'host was revoked' }),
    );
    expect(await call).toMatchObject({ code: 'PERMISSION_DENIED', reason: 'HOST_REVOKED' });
  });
});

describe('flow', () => {
  test('a caller that does not read holds the handler, and can be cut off', async () => {
    let sent = 0;
    let context: Context | undefined;
    await using service = await startTestService(
      echoServices(
        {},
        {
          async *watchAttestationResults(_request, given) {
            context = given;
            for (;;) {
              yield { resumeToken: 'x'.repeat(100_000) };
              sent += 1;
            }
          },
        },
      ),
    );
    const stream = results(service).watchAttestationResults({})[Symbol.asyncIterator]();
    await stream.next();
    await until(() => (context?.pendingBytes() ?? 0) > 0, 'bytes pending');
    // What both sides' windows and the read-ahead of the client's stream take, and no more.
    expect(await settled(() => sent)).toBeLessThan(60);
    expect(context?.pendingBytes()).toBeLessThan(500_000);
    context?.fail(
      new StatusError({ code: 'RESOURCE_EXHAUSTED', reason: 'SLOW_CONSUMER', message: 'consumer is too slow' }),
    );
    const rest = (async () => {
      for (let next = await stream.next(); next.done !== true; next = await stream.next()) await delay(0);
    })();
    expect(await failure(rest)).toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'SLOW_CONSUMER' });
  });

  test.each<[string, (leave: { readonly read: () => Promise<unknown>; readonly close: () => void }) => unknown]>([
    ['has read the rest', ({ read }) => read()],
    ['has closed its connection', ({ close }) => close()],
  ])('a call that was cut off is released once its caller %s', async (_name, leave) => {
    const contexts: Context[] = [];
    let sent = 0;
    await using service = await startTestService(
      echoServices(
        {},
        {
          async *watchAttestationResults(_request, context) {
            contexts.push(context);
            for (;;) {
              yield { resumeToken: 'x'.repeat(100_000) };
              sent += 1;
            }
          },
        },
      ),
    );
    const channel = service.connect();
    const stream = channel.client(AttestationResultService).watchAttestationResults({})[Symbol.asyncIterator]();
    await stream.next();
    await until(() => (contexts[0]?.pendingBytes() ?? 0) > 0, 'bytes pending');
    await settled(() => sent);
    let released = 0;
    contexts[0]?.onReleased(() => (released += 1));
    contexts[0]?.fail(
      new StatusError({ code: 'RESOURCE_EXHAUSTED', reason: 'SLOW_CONSUMER', message: 'consumer is too slow' }),
    );
    await until(() => contexts[0]?.signal.aborted === true, 'call ended');
    await delay(100);
    expect(released).toBe(0);
    const read = async () => {
      for (let next = await stream.next(); next.done !== true; next = await stream.next());
    };
    const left = leave({ read: () => failure(read()), close: () => channel.close() });
    await until(() => released === 1, 'call released');
    await left;
    contexts[0]?.onReleased(() => (released += 1));
    expect(released).toBe(2);
  });

  test('a handler that does not read holds the caller', async () => {
    const release = Promise.withResolvers<void>();
    await using service = await startTestService(
      echoServices({
        async submitEvidence(requests) {
          await release.promise;
          let count = 0;
          for await (const request of requests) count += request.part.case === 'chunk' ? 1 : 0;
          return { result: { name: String(count) } };
        },
      }),
    );
    let made = 0;
    async function* chunks() {
      for (; made < 200; made += 1)
        yield { part: { case: 'chunk' as const, value: { data: new Uint8Array(100_000) } } };
    }
    const call = attestation(service).submitEvidence(chunks());
    expect(await settled(() => made)).toBeLessThan(60);
    release.resolve();
    expect((await call).result?.name).toBe('200');
  });
});
