/** After the last kill everybody who should be trusted comes to be trusted again: a crash leaves nothing stuck. */
import { setTimeout as delay } from 'node:timers/promises';

import type { Machine } from './machine.ts';
import type { Operator } from './operator.ts';

/** Ends a wait for what never comes, milliseconds. */
const WITHIN = 120_000;

export async function recover({
  operator,
  machines,
}: {
  readonly operator: Operator;
  readonly machines: readonly Machine[];
}): Promise<readonly string[]> {
  for (const machine of machines) {
    machine.reboot();
    machine.measure();
  }
  await operator.applyPolicy({ denies: false, validity: 5 });
  const end = Date.now() + WITHIN;
  let waiting = machines;
  while (waiting.length > 0 && Date.now() < end) {
    const trusted = new Set<Machine>();
    for (const machine of waiting) {
      if (await comesBack(operator, machine)) trusted.add(machine);
    }
    waiting = waiting.filter((machine) => !trusted.has(machine));
    await delay(200);
  }
  return waiting.map(({ name, hostId }) => `machine ${name} (${hostId}) never came back`);
}

async function comesBack(operator: Operator, { hostId, measured }: Machine): Promise<boolean> {
  const host = await operator.find(hostId);
  if (host === undefined) return false;
  if (host.state === 'REVOKED') await operator.delete(hostId);
  else await operator.approve(host);
  if ((await operator.look(hostId))?.status !== 'affirming') return false;
  // What is kept of its list, over all kills, leads to what its TPM holds.
  return (await operator.measured(hostId)) === measured;
}
