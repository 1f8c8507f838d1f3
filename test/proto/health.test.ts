import { describe, expect, test } from 'vitest';
import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from '../../proto/gen/health/v1/health_pb.ts';
import { HealthRegistry } from '../../proto/health.ts';
import { startTestService, until } from '../support/rpc.ts';

describe('health', () => {
  test('is not serving until it is set, and unknown for what was never set', async () => {
    const health = new HealthRegistry();
    await using service = await startTestService([health.service]);
    const client = service.connect().client(Health);
    expect((await client.check({})).status).toBe(ServingStatus.NOT_SERVING);
    health.set('', 'serving');
    health.set('assay.v1.HostService', 'not_serving');
    expect((await client.check({})).status).toBe(ServingStatus.SERVING);
    expect((await client.check({ service: 'assay.v1.HostService' })).status).toBe(ServingStatus.NOT_SERVING);
    await expect(client.check({ service: 'x' })).rejects.toMatchObject({
      code: 'NOT_FOUND',
      reason: 'SERVICE_UNKNOWN',
    });
    expect((await client.list({})).statuses).toMatchObject({
      '': { status: 1 },
      'assay.v1.HostService': { status: 2 },
    });
  });

  test('tells its watchers each change once, from unknown on', async () => {
    const health = new HealthRegistry();
    await using service = await startTestService([health.service]);
    const seen: ServingStatus[] = [];
    const stop = new AbortController();
    const stream = service.connect().client(Health).watch({ service: 'a' }, { signal: stop.signal });
    const watching = (async () => {
      for await (const { status } of stream) seen.push(status);
    })();
    await until(() => seen.length === 1, 'first status');
    health.set('a', 'serving');
    await until(() => seen.length === 2, 'second status');
    health.set('b', 'serving');
    health.set('a', 'serving');
    await service.connect().client(Health).check({});
    health.set('a', 'not_serving');
    await until(() => seen.length === 3, 'third status');
    expect(seen).toEqual([ServingStatus.SERVICE_UNKNOWN, ServingStatus.SERVING, ServingStatus.NOT_SERVING]);
    stop.abort();
    await expect(watching).rejects.toMatchObject({ code: 'CANCELLED' });
    await until(() => service.server.callCount === 0, 'call released');
  });

  test('ends its watchers when the service drains', async () => {
    const health = new HealthRegistry();
    const service = await startTestService([health.service]);
    const seen: ServingStatus[] = [];
    const stream = service.connect().client(Health).watch({});
    const watching = (async () => {
      for await (const { status } of stream) seen.push(status);
    })();
    await until(() => seen.length === 1, 'first status');
    await service.listener.drain(5000);
    await watching;
    expect(seen).toEqual([ServingStatus.NOT_SERVING]);
  });
});
