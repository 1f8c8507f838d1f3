import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { AttestationService } from '../../proto/gen/assay/v1/attestation_pb.ts';
import { AttestationResultService } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import { Health } from '../../proto/gen/health/v1/health_pb.ts';
import { HealthRegistry } from '../../proto/health.ts';
import { RpcServer } from '../../proto/rpc-server.ts';
import { StatusError } from '../../proto/status.ts';
import { echoServices, silence, wishes } from '../support/echo.ts';
import { all, failure, settled, startTestService, until } from '../support/rpc.ts';
import type { TestService } from '../support/rpc.ts';

const attestation = (service: TestService) => service.connect().client(AttestationService);
const results = (service: TestService) => service.connect().client(AttestationResultService);

describe('who may call', () => {
  test('is asked before every method, with the roles of its option, and before the request is read', async () => {
    const asked: string[] = [];
    let handled = 0;
    const health = new HealthRegistry();
    await using service = await startTestService(
      [
        ...echoServices({
          createChallenge: () => {
            handled += 1;
            return {};
          },
        }),
        health.service,
      ],
      {
        server: {
          authorize: async ({ method }) => {
            asked.push(`${method.service}/${method.name} ${method.roles.join()}`);
            await delay(1);
            if (method.service !== 'grpc.health.v1.Health') {
              throw new StatusError({ code: 'UNAUTHENTICATED', reason: 'NO_CERTIFICATE', message: 'no certificate' });
            }
          },
        },
      },
    );
    const denied = { code: 'UNAUTHENTICATED', reason: 'NO_CERTIFICATE' };
    expect(await failure(attestation(service).createChallenge({}))).toMatchObject(denied);
    expect(await failure(all(attestation(service).attest(silence())))).toMatchObject(denied);
    expect(await failure(all(results(service).watchAttestationResults({})))).toMatchObject(denied);
    expect((await service.connect().client(Health).check({})).status).toBe(2);
    expect(handled).toBe(0);
    expect(asked).toEqual([
      'assay.v1.AttestationService/CreateChallenge agent',
      'assay.v1.AttestationService/Attest agent',
      'assay.v1.AttestationResultService/WatchAttestationResults operator,orchestrator,relying_party,auditor',
      'grpc.health.v1.Health/Check anonymous',
    ]);
  });

  test('must be said by every method', () => {
    const health = new HealthRegistry();
    const options = {
      authorize: () => undefined,
      logger: { error: () => undefined, warn: () => undefined, debug: () => undefined },
      now: Date.now,
      newRequestId: () => '',
    };
    expect(() => new RpcServer({ ...options, services: [health.service], methodRoles: new Map() })).toThrow(
      '/grpc.health.v1.Health/Check does not say who may call it',
    );
    const noRole = new Map([...health.service.methods].map(({ path }) => [path, []] as const));
    expect(() => new RpcServer({ ...options, services: [health.service], methodRoles: noRole })).toThrow(
      'names no role',
    );
    expect(() => new RpcServer({ ...options, services: [health.service, health.service] })).toThrow('is served twice');
    const maxReceiveBytesOf = new Map([['/grpc.health.v1.Health/Chek', 1]]);
    expect(() => new RpcServer({ ...options, services: [health.service], maxReceiveBytesOf })).toThrow('is not served');
    expect(() => new RpcServer({ ...options, services: [health.service] })).not.toThrow();
  });

  test('an authorisation that fails for itself is INTERNAL, not a pass', async () => {
    await using service = await startTestService(echoServices(), {
      server: { authorize: () => Promise.reject(new Error('store is gone')) },
    });
    expect(await failure(attestation(service).createChallenge({}))).toMatchObject({ code: 'INTERNAL' });
  });
});

describe('a connection', () => {
  test('has so many streams and no more, and room for other calls', async () => {
    await using service = await startTestService(echoServices(), { server: { maxStreamsPerConnection: 2 } });
    const channel = service.connect();
    const client = channel.client(AttestationService);
    const stop = new AbortController();
    const open = [1, 2].map(() => failure(all(client.attest(silence(), { signal: stop.signal }))));
    await until(() => service.server.callCount === 2, 'two streams open');
    expect(await failure(all(client.attest(silence())))).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      reason: 'TOO_MANY_CALLS',
    });
    expect(await client.createChallenge({})).toBeDefined();
    stop.abort();
    await Promise.all(open);
    await until(() => service.server.callCount === 0, 'streams released');
    expect(await all(client.attest(wishes('a')))).toHaveLength(1);
  });

  test('answers all calls that come at once, also beside all its streams', async () => {
    let now = 0;
    let most = 0;
    let gate = Promise.withResolvers<void>();
    await using service = await startTestService(
      echoServices({
        async createChallenge({ akName }) {
          most = Math.max(most, (now += 1));
          await gate.promise;
          now -= 1;
          return { token: akName };
        },
      }),
    );
    const client = service.connect().client(AttestationService);
    /** All are answered; the first of them wait until so many are there that no other comes beside them. */
    const flood = async (places: number): Promise<void> => {
      most = 0;
      gate = Promise.withResolvers();
      const calls = Promise.all(Array.from({ length: 300 }, () => client.createChallenge({})));
      await until(() => now === places, 'all places taken');
      await settled(() => now);
      gate.resolve();
      expect(await calls).toHaveLength(300);
      expect(most).toBe(places);
    };
    await flood(110);
    const stop = new AbortController();
    const open = Array.from({ length: 100 }, () => failure(all(client.attest(silence(), { signal: stop.signal }))));
    await until(() => service.server.callCount === 100, 'all streams open');
    await flood(10);
    stop.abort();
    await Promise.all(open);
  });
});
