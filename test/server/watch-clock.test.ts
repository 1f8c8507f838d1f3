import { expect, it } from 'vitest';

import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from '../../proto/gen/health/v1/health_pb.ts';
import { watchClock } from '../../server/watch-clock.ts';
import { startAssay } from '../support/running-service.ts';

const FAR = 6 * 60_000;

it('the service is not ready while the wall clock is far behind, and says why', async () => {
  await using running = await startAssay();
  const { clock } = running.house;
  const health = running.connect().client(Health);
  const statusOf = async (service: string): Promise<ServingStatus> => (await health.check({ service })).status;
  const ready = (): Promise<readonly ServingStatus[]> =>
    Promise.all(['', 'assay.v1.PlacementService', 'assay.v1.AttestationService'].map(statusOf));
  const { SERVING, NOT_SERVING } = ServingStatus;
  expect(await ready()).toEqual([SERVING, SERVING, SERVING]);
  clock.wall -= FAR;
  await expect.poll(ready).toEqual([NOT_SERVING, NOT_SERVING, SERVING]);
  expect(running.logged).toContainEqual([{ milliseconds: expect.any(Number) }, expect.stringContaining('behind')]);
  clock.wall += FAR;
  await expect.poll(ready).toEqual([SERVING, SERVING, SERVING]);
});

it('a service that starts while it is far behind was never ready', () => {
  const told: boolean[] = [];
  using _clock = watchClock({ clockBehind: () => FAR }, ({ isBehind }) => void told.push(isBehind));
  expect(told).toEqual([true]);
});
