import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { AssayClient } from '../../client/sdk/client.ts';
import type { AttestationResult } from '../../client/sdk/resources.ts';
import { eventually } from '../support/programs.ts';
import { AgentProcess } from './agent-process.ts';
import { CrashingService } from './crashing-service.ts';
import type { StartOptions } from './crashing-service.ts';
import { Machine } from './machine.ts';
import { checkWhole } from './model/check-whole.ts';
import { readHistory } from './model/history.ts';
import { trustTestAnchors } from './trust-test-anchors.ts';

/** The machine's own clock is left alone: what jumps is the service's view of it (shifted-clock.ts). */
const SHIFTED_CLOCK = join(import.meta.dirname, 'shifted-clock.ts');
const MINUTE = 60_000;
const VALIDITY = 10 * MINUTE;

function shifted(milliseconds: number): StartOptions {
  return { preload: [SHIFTED_CLOCK], env: { ASSAY_CLOCK_SHIFT: String(milliseconds) } };
}

describe('a service whose wall clock jumps between two starts', () => {
  const machine = new Machine('m', { certified: true });
  let service: CrashingService;
  let agents: AgentProcess;
  let affirmed: AttestationResult;

  beforeAll(async () => {
    service = await CrashingService.init();
    await service.serve();
    await trustTestAnchors(service);
    await ask((client) =>
      client.policies.apply({
        name: 'trustPolicies/base',
        selector: { allHosts: true },
        quote: { interval: '1s', validity: `${VALIDITY / 1_000}s`, disconnectGrace: `${VALIDITY / 1_000}s` },
        pcrRules: [{ bank: 'sha256', index: 16, allowed: ['00'.repeat(32)] }],
      }),
    );
    agents = new AgentProcess(service, [machine]);
    agents.start();
    affirmed = await resultThat(({ status }) => status === 'AFFIRMING');
    await agents.stop();
    await service.child.kill();
  });
  afterAll(() => service?.[Symbol.asyncDispose]());

  async function ask<T>(call: (client: AssayClient) => Promise<T>): Promise<T> {
    const client = await service.client();
    try {
      return await call(client);
    } finally {
      client.close();
    }
  }

  function result(): Promise<AttestationResult> {
    return ask((client) => client.results.get(machine.hostId));
  }

  function resultThat(wanted: (result: AttestationResult) => boolean): Promise<AttestationResult> {
    return eventually('such result', async () => {
      const last = await result().catch(() => undefined);
      return last !== undefined && wanted(last) ? last : undefined;
    });
  }

  it('back by a little prolongs no verdict, and says that the clock is behind', async () => {
    expect(await service.serve(shifted(-2 * MINUTE))).toBe(true);
    expect(service.child.output).toContain('the wall clock is behind the clock of the store');
    const after = await result();
    // A later round may have confirmed it before the service died; none can have come since.
    expect(after.status).toBe('AFFIRMING');
    const { challengeTime, validUntil } = after;
    expect((validUntil?.getTime() ?? 0) - (challengeTime?.getTime() ?? 0)).toBeLessThanOrEqual(VALIDITY);
    expect(challengeTime?.getTime()).toBeLessThanOrEqual(Date.now());
    expect(after.challengeTime?.getTime()).toBeGreaterThanOrEqual(affirmed.challengeTime?.getTime() ?? Infinity);
    await service.child.kill();
  });

  it('back by more than minutes is refused before anything changes, by one plain line', async () => {
    const before = await readHistory(service.data);
    expect(await service.serve(shifted(-60 * MINUTE))).toBe(false);
    expect(service.child.end.code).toBe(1);
    const lines = service.child.output.trimEnd().split('\n');
    expect(lines.at(-1)).toMatch(
      /^assayd: the wall clock is \d+ s behind the latest time in the store: set the clock, or, if it is right, run assayd accept-clock$/,
    );
    expect(await readHistory(service.data)).toEqual(before);
  });

  it('forward ends every verdict that would be over by then', async () => {
    expect(await service.serve(shifted(60 * MINUTE))).toBe(true);
    const ended = await result();
    expect([ended.status, ended.validUntil]).toEqual(['NONE', undefined]);
    // Its expiry becomes a revision of its own.
    await resultThat(({ revision }) => revision > affirmed.revision);
    await service.child.kill();
  });

  it('forward and back again is refused until an operator accepts the clock, and no verdict comes back by that', async () => {
    expect(await service.serve()).toBe(false);
    expect(service.child.output).toContain('run assayd accept-clock');
    const accepted = await service.run(['accept-clock']);
    expect(accepted.end.code).toBe(0);
    expect(accepted.output).toContain('The wall clock is accepted; every result has expired.\n');
    expect(await service.serve()).toBe(true);
    expect((await result()).status).toBe('NONE');
    agents.start();
    await resultThat(({ status }) => status === 'AFFIRMING');
    await agents.stop();
    await service.child.kill('SIGTERM');
    const history = await readHistory(service.data);
    expect(checkWhole(history)).toEqual([]);
    expect(history.audit.filter(({ action }) => action === 'clock.accept')).toHaveLength(1);
  });
});
