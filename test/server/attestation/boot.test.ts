import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { digest } from '../../../tpm/crypto/digest.ts';
import { hashAlgorithmByName, TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';
import type { BootRulesDraft } from '../../../server/policy/boot-rules.ts';
import { BootCache } from '../../../server/verifier/boot-cache.ts';
import {
  bootAs,
  bootedTpm,
  bootLog,
  NO_RULES,
  NO_SECURE_BOOT,
  RULE,
  SECURE_BOOT,
  SIGNERS,
  userspaceRecord,
} from '../../support/booted-machine.ts';
import { dataIsHere } from '../../support/data.ts';
import type { Log } from '../../support/evidence-builder.ts';
import type { SoftwareTpm } from '../../support/software-tpm.ts';
import { enrollMachine, StreamAgent } from '../../support/stream-agent.ts';
import type { Machine } from '../../support/stream-agent.ts';
import { openHouse, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

const BANKS = ['sha1', 'sha256', 'sha384'];
const RULES: BootRulesDraft = { ...NO_RULES, secureBoot: RULE, allowedSigners: { ...RULE, certificates: SIGNERS } };
/** What the rules rest on, in the strongest bank. */
const BOOT_PCRS = [{ hash: TPM_ALG_SHA384, pcrs: [7, 14] }];

let house: House;
let reads: number;
beforeEach(async () => {
  house = await openHouse();
  reads = 0;
  const { store } = house;
  const readLog = store.readLog.bind(store);
  Object.assign(store, {
    readLog: (...args: Parameters<typeof readLog>) => {
      reads += 1;
      return readLog(...args);
    },
  });
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

function hurry(agent: StreamAgent): void {
  house.clock.advance(2_000);
  agent.send({ kind: 'wish' });
}

const putBootPolicy = (boot: BootRulesDraft = RULES): Promise<void> => putPolicy(house.store, { pcrRules: [], boot });
const reasons = (checks: readonly { readonly outcome: string; readonly reason: string }[]) =>
  checks.filter(({ outcome }) => outcome !== 'passed').map(({ reason }) => reason);

/** A machine that booted as a capture did, and enrolled with its log. */
function enrollBooted(logs: readonly Log[] = [bootLog(SECURE_BOOT)], tpm = bootedTpm(SECURE_BOOT)): Promise<Machine> {
  return enrollMachine(house, { tpm, logs });
}

function extendAll(tpm: SoftwareTpm, pcr: number, text: string): void {
  for (const name of BANKS) {
    const alg = hashAlgorithmByName(name)?.alg ?? 0;
    tpm.extend(pcr, Buffer.from(digest(alg, Buffer.from(text))), alg);
  }
}

const suite = describe.skipIf(!dataIsHere('measured-boot'));

suite('a host that booted as the policy asks', () => {
  it('is affirmed by the log that came with its enrolment, and quotes what the rules rest on', async () => {
    await putBootPolicy();
    await using agent = new StreamAgent(house, await enrollBooted());
    const challenge = await agent.challenge();
    expect(challenge.selection).toEqual(BOOT_PCRS);
    agent.answer(challenge);
    const { result } = await agent.expect('result');
    expect(result).toMatchObject({ status: 'affirming', vector: { configuration: 2, executables: 3 } });
    expect(result.checks.map(({ id }) => id)).toEqual(
      expect.arrayContaining(['boot-log', 'boot.secure-boot', 'boot.allowed-signers']),
    );
  });

  it('is affirmed by the log of its first quote after a reboot', async () => {
    await putBootPolicy();
    const machine = await enrollBooted();
    machine.tpm.reset();
    bootAs(machine.tpm, SECURE_BOOT);
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    expect(challenge.selection).toBe('all');
    agent.answer(challenge, { logs: [bootLog(SECURE_BOOT)] });
    expect((await agent.expect('result')).result.status).toBe('affirming');
    hurry(agent);
    expect((await agent.challenge()).selection).toEqual(BOOT_PCRS);
  });

  it('confirms without a log being read or replayed again', async () => {
    await putBootPolicy();
    await using agent = new StreamAgent(house, await enrollBooted());
    const first = await agent.round();
    const before = reads;
    for (let count = 1; count <= 3; count++) {
      hurry(agent);
      expect(await agent.round()).toMatchObject({ revision: first.revision, confirmations: count });
    }
    expect(reads).toBe(before);
  });

  it('is judged alike by a service that was started again', async () => {
    await putBootPolicy();
    const machine = await enrollBooted();
    const first = await affirmedOnce(machine);
    const fresh: House = { ...house, services: { ...house.services, boots: new BootCache() } };
    await using agent = new StreamAgent(fresh, machine);
    const challenge = await agent.challenge();
    expect(challenge.selection).toEqual(BOOT_PCRS);
    expect(reads).toBeGreaterThan(0);
    agent.answer(challenge);
    const { result } = await agent.expect('result');
    const lasting = (checks: typeof result.checks) => checks.filter(({ id }) => id !== 'clock');
    expect(result.status).toBe('affirming');
    expect(lasting(result.checks)).toEqual(lasting(first.checks));
  });

  it('is replayed once with all others that booted alike', async () => {
    await putBootPolicy();
    const machines = [await enrollBooted(), await enrollBooted(), await enrollBooted()];
    for (const machine of machines) await affirmedOnce(machine);
    expect(reads).toBe(0);
    // A service that was started again reads the two logs of the first of them.
    const fresh: House = { ...house, services: { ...house.services, boots: new BootCache() } };
    for (const machine of machines) await affirmedOnce(machine, fresh);
    expect(reads).toBe(2);
  });

  it('is judged anew from the kept log when the policy gets boot rules', async () => {
    await putPolicy(house.store, { pcrRules: [{ ...RULE, bank: 'sha256', index: 16, allowed: ['00'.repeat(32)] }] });
    const machine = await enrollBooted();
    await using agent = new StreamAgent(house, machine);
    expect((await agent.round()).status).toBe('affirming');
    await putBootPolicy({ ...NO_RULES, forbiddenSigners: { ...RULE, certificates: [SIGNERS[0]] } });
    house.feed.hint();
    const challenge = await agent.challenge();
    expect(challenge.selection).toEqual([{ hash: TPM_ALG_SHA384, pcrs: [7, 14] }]);
    agent.answer(challenge);
    const { result } = await agent.expect('result');
    expect(result.status).toBe('contraindicated');
    expect(reasons(result.checks)).toEqual(['SIGNER_FORBIDDEN']);
  });
});

async function affirmedOnce(machine: Machine, at: House = house) {
  await using agent = new StreamAgent(at, machine);
  const result = await agent.round();
  expect(result.status).toBe('affirming');
  return result;
}

suite('a host whose boot is not proven', () => {
  it('is asked for everything where its enrolment said nothing of a log', async () => {
    await putBootPolicy();
    await using agent = new StreamAgent(house, await enrollBooted([]));
    const challenge = await agent.challenge();
    expect(challenge.selection).toBe('all');
    expect(challenge.logs).toEqual(['boot', 'userspace', 'ima'].map((kind) => ({ kind, offset: 0 })));
    agent.answer(challenge, { logs: [bootLog(SECURE_BOOT)] });
    expect((await agent.expect('result')).result.status).toBe('affirming');
  });

  it('has no verdict as long as its log cannot be read, and is asked again when the agent comes anew', async () => {
    await putBootPolicy();
    const machine = await enrollBooted([]);
    {
      await using agent = new StreamAgent(house, machine);
      const result = await agent.round();
      expect(result).toMatchObject({ status: 'none', validUntil: null });
      expect(reasons(result.checks)).toContain('BOOT_LOG_UNREADABLE');
      hurry(agent);
      expect((await agent.challenge()).selection).toEqual(BOOT_PCRS);
    }
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    expect(challenge.selection).toBe('all');
    agent.answer(challenge, { logs: [bootLog(SECURE_BOOT)] });
    expect((await agent.expect('result')).result.status).toBe('affirming');
  });

  it.each([
    ['that of another boot', bootLog(NO_SECURE_BOOT), 'BOOT_LOG_MISMATCH'],
    ['cut off', bootLog(SECURE_BOOT, (log) => log.subarray(0, 5_000)), 'BOOT_LOG_MALFORMED'],
  ])('is contraindicated with a log that is %s, and stays so', async (_name, log, reason) => {
    await putBootPolicy();
    const machine = await enrollBooted([log]);
    {
      await using agent = new StreamAgent(house, machine);
      const result = await agent.round();
      expect(result.status).toBe('contraindicated');
      expect(result.checks[0]).toMatchObject({ id: 'boot-log', reason });
      hurry(agent);
      expect((await agent.round()).status).toBe('contraindicated');
      // Nor does a PCR that moves soften it.
      extendAll(machine.tpm, 7, 'a later word');
      hurry(agent);
      expect((await agent.round()).status).toBe('contraindicated');
    }
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    expect(challenge.selection).toEqual(BOOT_PCRS);
    expect(challenge.logs.map(({ kind }) => kind)).not.toContain('boot');
  });

  it('stays contraindicated by a false log when it claims another boot and shows the true one', async () => {
    await putBootPolicy();
    const machine = await enrollBooted([bootLog(NO_SECURE_BOOT)]);
    {
      await using agent = new StreamAgent(house, machine, { boot: { resetCount: 99, restartCount: 0 } });
      for (let count = 0; count < 3; count++) {
        const challenge = await agent.challenge();
        agent.answer(challenge, challenge.selection === 'all' ? { logs: [bootLog(SECURE_BOOT)] } : {});
        const { result } = await agent.expect('result');
        expect(result.status).toBe('contraindicated');
        expect(result.checks[0]).toMatchObject({ id: 'boot-log', reason: 'BOOT_LOG_MISMATCH' });
        hurry(agent);
      }
    }
    // And a service that starts now judges from the false log, which is kept.
    const fresh: House = { ...house, services: { ...house.services, boots: new BootCache() } };
    {
      await using agent = new StreamAgent(fresh, machine, { boot: { resetCount: 98, restartCount: 0 } });
      agent.answer(await agent.challenge(), { logs: [bootLog(SECURE_BOOT)] });
      expect((await agent.expect('result')).result.status).toBe('contraindicated');
    }
    machine.tpm.reset();
    bootAs(machine.tpm, SECURE_BOOT);
    await using agent = new StreamAgent(fresh, machine);
    agent.answer(await agent.challenge(), { logs: [bootLog(SECURE_BOOT)] });
    expect((await agent.expect('result')).result.status).toBe('affirming');
  });

  it('warns of a false log where the policy asks for none', async () => {
    await putPolicy(house.store, { pcrRules: [{ ...RULE, bank: 'sha256', index: 16, allowed: ['00'.repeat(32)] }] });
    await using agent = new StreamAgent(house, await enrollBooted([bootLog(NO_SECURE_BOOT)]));
    const result = await agent.round();
    expect(result.status).toBe('warning');
    expect(reasons(result.checks)).toEqual(['BOOT_LOG_MISMATCH']);
  });
});

suite('a PCR that the boot rules rest on', () => {
  it('that moves ends the old claims at once, and everything is asked for anew', async () => {
    await putBootPolicy();
    const machine = await enrollBooted();
    await using agent = new StreamAgent(house, machine);
    expect((await agent.round()).status).toBe('affirming');
    extendAll(machine.tpm, 7, 'a later word');
    hurry(agent);
    const moved = await agent.round();
    expect(moved.status).toBe('none');
    expect(reasons(moved.checks)).toContain('BOOT_PCRS_MOVED');
    expect(await house.store.getBoot(machine.id)).toBeNull();
    // At once, without a wish.
    const challenge = await agent.challenge();
    expect(challenge.selection).toBe('all');
    agent.answer(challenge, { logs: [bootLog(SECURE_BOOT)] });
    const { result } = await agent.expect('result');
    expect(result.status).toBe('contraindicated');
    expect(reasons(result.checks)).toContain('BOOT_LOG_MISMATCH');
  });

  it('that moves in a weaker bank alone is found when everything is asked for again', async () => {
    await putBootPolicy();
    const machine = await enrollBooted();
    machine.tpm.extend(7, Buffer.alloc(32, 9), TPM_ALG_SHA256);
    await using agent = new StreamAgent(house, machine, { boot: { resetCount: 99, restartCount: 0 } });
    agent.answer(await agent.challenge(), { logs: [bootLog(SECURE_BOOT)] });
    expect((await agent.expect('result')).result.status).toBe('contraindicated');
  });
});

suite("the operating system's log", () => {
  const phases = (...texts: readonly string[]) =>
    ({ kind: 'userspace', data: Buffer.from(texts.map((text) => userspaceRecord(11, text, BANKS)).join('')) }) as const;

  it('that ends before the quote is no guilt: the host is asked again, and judged by what fits', async () => {
    await putBootPolicy();
    const machine = await enrollBooted([]);
    for (const text of ['sysinit', 'ready']) extendAll(machine.tpm, 11, text);
    await using agent = new StreamAgent(house, machine);
    agent.answer(await agent.challenge(), { logs: [bootLog(SECURE_BOOT), phases('sysinit')] });
    expect(await agent.expect('torn')).toMatchObject({ attempt: 1 });
    agent.answer(await agent.challenge(), { logs: [bootLog(SECURE_BOOT), phases('sysinit', 'ready')] });
    expect((await agent.expect('result')).result.status).toBe('affirming');
  });

  it('that never fits is judged the third time', async () => {
    await putBootPolicy();
    const machine = await enrollBooted([]);
    for (const text of ['sysinit', 'ready']) extendAll(machine.tpm, 11, text);
    await using agent = new StreamAgent(house, machine);
    for (let attempt = 1; attempt <= 3; attempt++) {
      agent.answer(await agent.challenge(), { logs: [bootLog(SECURE_BOOT), phases('sysinit')] });
      expect(await agent.expect('torn')).toMatchObject({ attempt });
      hurry(agent);
    }
    const { result } = await agent.expect('result');
    expect(result.status).toBe('contraindicated');
    expect(reasons(result.checks)).toContain('BOOT_LOG_MISMATCH');
  });

  it('goes on growing without any word against the host', async () => {
    await putBootPolicy();
    const machine = await enrollBooted([]);
    extendAll(machine.tpm, 11, 'sysinit');
    await using agent = new StreamAgent(house, machine);
    const log = phases('sysinit');
    agent.answer(await agent.challenge(), { logs: [bootLog(SECURE_BOOT), log] });
    expect((await agent.expect('result')).result.status).toBe('affirming');
    extendAll(machine.tpm, 11, 'ready');
    hurry(agent);
    const more = { ...phases('ready'), offset: log.data.length };
    agent.answer(await agent.challenge(), { logs: [more] });
    expect((await agent.expect('result')).result.status).toBe('affirming');
    // And a service that starts now reads the log as it was when the values were proven.
    const fresh: House = { ...house, services: { ...house.services, boots: new BootCache() } };
    await using again = new StreamAgent(fresh, machine);
    expect((await again.round()).status).toBe('affirming');
  });
});
