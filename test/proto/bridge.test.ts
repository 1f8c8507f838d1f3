import { Client as GrpcClient, Metadata } from '@grpc/grpc-js';
import type { ServiceError } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import { makeCredentials } from '../../proto/credentials.ts';
import { AttestationService } from '../../proto/gen/assay/v1/attestation_pb.ts';
import { AttestationResultService } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import type { Context } from '../../proto/service.ts';
import { decodeStatus, StatusError } from '../../proto/status.ts';
import { echoServices, silence, wishes } from '../support/echo.ts';
import { all, failure, startTestService, until } from '../support/rpc.ts';
import type { TestService } from '../support/rpc.ts';

const attestation = (service: TestService) => service.connect().client(AttestationService);
const results = (service: TestService) => service.connect().client(AttestationResultService);

describe('the four kinds of calls', () => {
  test('go there and back', async () => {
    await using service = await startTestService(echoServices());
    const client = attestation(service);
    expect((await client.createChallenge({ akName: Buffer.from('ab') })).token).toEqual(Buffer.from('ab'));

    async function* chunks() {
      for (let index = 0; index < 40; index += 1) {
        yield { part: { case: 'chunk' as const, value: { data: new Uint8Array(100_000) } } };
      }
    }
    expect((await client.submitEvidence(chunks())).result?.name).toBe('4000000');

    const answers = await all(client.attest(wishes('one', 'two')));
    expect(answers.map(({ part }) => part.value)).toMatchObject([{ message: 'one' }, { message: 'two' }]);

    const events = await all(results(service).watchAttestationResults({ resumeToken: 'r' }));
    expect(events.map(({ resumeToken }) => resumeToken)).toEqual(['ra', 'rb', 'rc']);
    await until(() => service.server.callCount === 0, 'every call released');
    expect(service.log.filter(({ level }) => level !== 'debug')).toEqual([]);
  });

  test('answer before the caller has said everything', async () => {
    await using service = await startTestService(
      echoServices({
        async *attest(requests) {
          for await (const { part } of requests) {
            yield { part: { case: 'pending', value: { message: String(part.case) } } };
            return;
          }
        },
      }),
    );
    async function* endless() {
      for (;;) yield { part: { case: 'wish' as const, value: { reason: 'more' } } };
    }
    expect(await all(attestation(service).attest(endless()))).toHaveLength(1);
  });

  test('a stream that its caller ends in order is no error and aborts no signal', async () => {
    let context: Context | undefined;
    await using service = await startTestService(
      echoServices({
        async *attest(requests, given) {
          context = given;
          for await (const request of requests) if (request.part.case === 'chunk') yield {};
        },
      }),
    );
    await all(attestation(service).attest(wishes('a')));
    await until(() => service.server.callCount === 0, 'call released');
    expect(context?.signal.aborted).toBe(false);
  });

  test('a caller that stops to listen cancels the call', async () => {
    let finished = false;
    await using service = await startTestService(
      echoServices(
        {},
        {
          async *watchAttestationResults(_request, { signal }) {
            try {
              yield { resumeToken: 'first' };
              await new Promise((_resolve, reject) =>
                signal.addEventListener('abort', () => reject(new Error('gone'))),
              );
            } finally {
              finished = true;
            }
          },
        },
      ),
    );
    for await (const event of results(service).watchAttestationResults({})) {
      expect(event.resumeToken).toBe('first');
      break;
    }
    await until(() => finished, 'handler told');
    expect(service.log.filter(({ level }) => level !== 'debug')).toEqual([]);
  });
});

describe('a handler that fails', () => {
  const secret = new Error('password=hunter2');
  const throws = {
    createChallenge: () => {
      throw secret;
    },
    submitEvidence: () => Promise.reject(secret),
    attest: () => {
      throw secret;
    },
  };

  test.each(['createChallenge', 'submitEvidence', 'attest'] as const)(
    'in %s is INTERNAL and says nothing',
    async (name) => {
      await using service = await startTestService(echoServices(throws));
      const client = attestation(service);
      const call = {
        createChallenge: () => client.createChallenge({}),
        submitEvidence: () => client.submitEvidence(silence()),
        attest: () => all(client.attest(wishes('a'))),
      }[name];
      const error = await failure(call());
      expect(error).toMatchObject({ code: 'INTERNAL', reason: 'INTERNAL', message: 'internal error' });
      expect(error.requestId).toMatch(/^[0-9a-f-]{36}$/);
      const logged = service.log.find(({ level }) => level === 'error');
      expect(logged?.fields).toMatchObject({ requestId: error.requestId, err: secret });
    },
  );

  test('in the middle of a stream ends it behind what was sent', async () => {
    await using service = await startTestService(
      echoServices(
        {},
        {
          async *watchAttestationResults() {
            for (let index = 0; index < 50; index += 1) yield { resumeToken: String(index) };
            throw secret;
          },
        },
      ),
    );
    const seen: string[] = [];
    const call = (async () => {
      for await (const { resumeToken } of results(service).watchAttestationResults({})) seen.push(resumeToken);
    })();
    expect(await failure(call)).toMatchObject({ code: 'INTERNAL', message: 'internal error' });
    expect(seen).toHaveLength(50);
  });

  test('with an answer that is no message, or that cannot be told, costs only its call', async () => {
    const hostile = new StatusError({
      code: 'NOT_FOUND',
      reason: 'NAUGHT',
      message: `lone \ud800 surrogate ${'é'.repeat(9999)}`,
    });
    await using service = await startTestService(
      echoServices(
        {
          createChallenge: () => {
            throw hostile;
          },
        },
        { getAttestationResult: () => ({ result: { revision: 'first' as unknown as bigint } }) },
      ),
      {
        server: {
          translateError: () => {
            throw new Error('table is broken');
          },
        },
      },
    );
    expect(await failure(results(service).getAttestationResult({}))).toMatchObject({ code: 'INTERNAL' });
    const error = await failure(attestation(service).createChallenge({}));
    expect(error).toMatchObject({ code: 'NOT_FOUND', reason: 'NAUGHT' });
    expect(error.message.length).toBeLessThanOrEqual(512);
    expect(await all(results(service).watchAttestationResults({}))).toHaveLength(3);
  });

  test('leaves no rejection behind when it drops a read', async () => {
    await using service = await startTestService(
      echoServices({
        async *attest(requests) {
          void requests[Symbol.asyncIterator]().next();
          void requests[Symbol.asyncIterator]().next();
          yield { part: { case: 'pending', value: { message: 'x' } } };
          throw new StatusError({ code: 'ABORTED', reason: 'DONE', message: 'done' });
        },
      }),
    );
    expect(await failure(all(attestation(service).attest(silence())))).toMatchObject({
      code: 'ABORTED',
      reason: 'DONE',
    });
  });

  test('is told by the table of errors where it knows them', async () => {
    class StoreError extends Error {}
    await using service = await startTestService(
      echoServices({ createChallenge: () => Promise.reject(new StoreError('disk /var/lib/x full')) }),
      {
        server: {
          translateError: (error) =>
            error instanceof StoreError
              ? new StatusError({
                  code: 'UNAVAILABLE',
                  reason: 'STORE_FULL',
                  message: 'store is full',
                  retryAfterMillis: 2500,
                })
              : undefined,
        },
      },
    );
    const error = await failure(attestation(service).createChallenge({}));
    expect(error).toMatchObject({
      code: 'UNAVAILABLE',
      reason: 'STORE_FULL',
      retryDelayMillis: 2500,
      message: 'store is full',
    });
  });
});

describe('what a caller sends', () => {
  const raw = async (service: TestService, path: string, messages: readonly Buffer[]) => {
    const grpc = rawClient(service);
    const same = (bytes: Buffer) => bytes;
    const stream = grpc.makeBidiStreamRequest(path, same, same, new Metadata());
    const ended = Promise.withResolvers<ServiceError>();
    stream.on('error', (error: ServiceError) => ended.resolve(error));
    stream.on('data', () => undefined);
    for (const message of messages) stream.write(message);
    stream.end();
    const error = await ended.promise;
    grpc.close();
    return decodeStatus(error);
  };
  const unary = '/assay.v1.AttestationService/CreateChallenge';
  const bidi = '/assay.v1.AttestationService/Attest';
  const garbage = Buffer.from('ff'.repeat(20), 'hex');

  test.each([
    ['no message in a unary call', unary, []],
    ['two messages in a unary call', unary, [Buffer.alloc(0), Buffer.alloc(0)]],
    ['garbage in a unary call', unary, [garbage]],
    ['garbage in a stream', bidi, [Buffer.alloc(0), garbage]],
  ])('%s is INVALID_ARGUMENT with details', async (_name, path, messages) => {
    await using service = await startTestService(echoServices());
    const status = await raw(service, path, messages);
    expect(status).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'MALFORMED_MESSAGE' });
    expect(status.fieldViolations).toHaveLength(1);
    expect(status.requestId).not.toBe('');
  });

  test('garbage ends a stream even if the handler swallows it', async () => {
    await using service = await startTestService(
      echoServices({
        async *attest(requests) {
          try {
            for await (const request of requests) if (request.part.case === 'chunk') yield {};
          } catch {
            yield { part: { case: 'pending', value: { message: 'never mind' } } };
          }
        },
      }),
    );
    expect(await raw(service, bidi, [garbage])).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  test('a message above the limit of its method is RESOURCE_EXHAUSTED', async () => {
    await using service = await startTestService(echoServices(), {
      server: { maxReceiveBytesOf: new Map([[unary, 1000]]) },
    });
    const client = attestation(service);
    expect((await client.createChallenge({ akName: Buffer.alloc(900) })).token).toHaveLength(900);
    const error = await failure(client.createChallenge({ akName: Buffer.alloc(1000) }));
    expect(error).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      reason: 'MESSAGE_TOO_LARGE',
      metadata: { limit: '1000' },
    });
    const huge = await failure(client.createChallenge({ akName: Buffer.alloc(5 * 1024 * 1024) }));
    expect(huge.code).toBe('RESOURCE_EXHAUSTED');
  });

  test('an answer above the limit is an error, not a hang', async () => {
    await using service = await startTestService(echoServices(), { server: { maxSendBytes: 100 } });
    const error = await failure(attestation(service).createChallenge({ akName: Buffer.alloc(200) }));
    expect(error).toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'RESPONSE_TOO_LARGE' });
  });

  test.each([
    ['a request', unary],
    ['the first request of a stream', '/assay.v1.AttestationService/SubmitEvidence'],
  ])('%s that does not come is given up', async (_name, path) => {
    await using service = await startTestService(echoServices(), { server: { requestTimeoutMillis: 50 } });
    const grpc = rawClient(service);
    const same = (bytes: Buffer) => bytes;
    const ended = Promise.withResolvers<ServiceError>();
    grpc
      .makeBidiStreamRequest(path, same, same, new Metadata())
      .on('error', ended.resolve)
      .on('data', () => undefined);
    expect(decodeStatus(await ended.promise)).toMatchObject({ code: 'DEADLINE_EXCEEDED', reason: 'REQUEST_TIMEOUT' });
    grpc.close();
  });
});

/** A client that sends bytes as they are given. */
function rawClient(service: TestService): GrpcClient {
  const { port } = service.listener.address();
  const trust = { kind: 'service', authorities: [service.authority.certificate], now: () => new Date() } as const;
  return new GrpcClient(`localhost:${port}`, makeCredentials({ trust }, 'localhost'));
}
