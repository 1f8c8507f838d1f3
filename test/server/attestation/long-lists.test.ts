/** Lists that take long to follow, and the rounds of other hosts beside them. */
import { afterEach, beforeEach, expect, it } from 'vitest';

import { MeasuredHost, putRules } from '../../support/measured-host.ts';
import { filePlan } from '../../support/measuring-kernel.ts';
import { FILES, importFiles } from '../../support/runtime-policy.ts';
import { openHouse } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

const LONG = 64 * 1024 * 1024;

let house: House;
beforeEach(async () => {
  house = await openHouse();
  await importFiles(house.store, ['good']);
  await putRules(house, { files: { ...FILES, referenceSets: ['referenceSets/base'] } });
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

it('are waited for by no round that brings little', async () => {
  const { runtimes } = house.services;
  for (const other of ['h-a', 'h-b', 'h-c', 'h-d']) void (await runtimes.takeTurn(other, LONG));
  await using host = await MeasuredHost.enrolled(house);
  expect((await host.round()).status).toBe('affirming');
  host.kernel.measure(filePlan('/usr/bin/good', 'good'));
  expect((await host.next()).status).toBe('affirming');
});

it('are followed one at a time for each host', async () => {
  const { runtimes } = house.services;
  const order: string[] = [];
  const first = await runtimes.takeTurn('h-a', LONG);
  const again = runtimes.takeTurn('h-a', LONG).then(() => order.push('again'));
  for (const other of ['h-b', 'h-c', 'h-d']) void (await runtimes.takeTurn(other, LONG));
  order.push('others');
  first[Symbol.dispose]();
  await again;
  expect(order).toEqual(['others', 'again']);
});
