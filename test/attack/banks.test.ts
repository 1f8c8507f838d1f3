/** PCR banks that appear or vanish between boots: never is a host better than what its present banks prove. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Challenge } from '../../server/attestation/messages.ts';
import type { ResultRecord } from '../../server/store/records.ts';
import { digestSize } from '../../tpm/crypto/digest.ts';
import { hashAlgorithmByName, TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../tpm/structures/constants.ts';
import { bootAs, bootedTpm, bootLog, NO_RULES, RULE, SECURE_BOOT } from '../support/booted-machine.ts';
import { dataIsHere } from '../support/data.ts';
import { failures } from '../support/measured-host.ts';
import { SoftwareTpm } from '../support/software-tpm.ts';
import { enrollMachine, StreamAgent } from '../support/stream-agent.ts';
import type { Answer, Machine } from '../support/stream-agent.ts';
import { openHouse, putPolicy } from '../support/test-service.ts';
import type { House } from '../support/test-service.ts';
import { measuredPcrs } from '../tpm/eventlog/real-logs.ts';

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

/** The first round of a boot: everything is asked for. */
async function firstRound(agent: StreamAgent, answer: Answer = {}): Promise<ResultRecord> {
  const challenge = await agent.challenge();
  expect(challenge.selection).toBe('all');
  agent.answer(challenge, answer);
  return (await agent.expect('result')).result;
}

async function next(agent: StreamAgent): Promise<{ readonly challenge: Challenge; readonly result: ResultRecord }> {
  house.clock.advance(2_000);
  agent.send({ kind: 'wish' });
  const challenge = await agent.challenge();
  agent.answer(challenge);
  return { challenge, result: (await agent.expect('result')).result };
}

describe('a bank that a PCR rule names', () => {
  let machine: Machine;
  beforeEach(async () => {
    await putPolicy(house.store);
    machine = await enrollMachine(house, { tpm: new SoftwareTpm({ banks: [TPM_ALG_SHA1, TPM_ALG_SHA256] }) });
    await using agent = new StreamAgent(house, machine);
    expect((await agent.round()).status).toBe('affirming');
  });

  it('and that vanished, SHA-1 alone being left, leaves nothing to affirm, in every round', async () => {
    machine.tpm.reset({ banks: [TPM_ALG_SHA1] });
    await using agent = new StreamAgent(house, machine);
    const first = await firstRound(agent);
    expect(first.status).toBe('none');
    expect(failures(first.checks)).toEqual(['pcr.sha256.7 error PCR_BANK_INACTIVE']);
    const { challenge, result } = await next(agent);
    expect(challenge.selection).not.toBe('all');
    expect(result.status).toBe('none');
    expect(failures(result.checks)).toEqual(['pcr.sha256.7 error PCR_BANK_INACTIVE']);
  });

  it('and that vanished and came back is judged by its value again', async () => {
    machine.tpm.reset({ banks: [TPM_ALG_SHA1] });
    {
      await using agent = new StreamAgent(house, machine);
      expect((await firstRound(agent)).status).toBe('none');
    }
    machine.tpm.reset({ banks: [TPM_ALG_SHA256] });
    machine.tpm.extend(7);
    await using agent = new StreamAgent(house, machine);
    expect(failures((await firstRound(agent)).checks)).toEqual(['pcr.sha256.7 failed PCR_MISMATCH']);
  });

  it('and that vanished is not made up: a quote over it without the TPM is over another selection', async () => {
    machine.tpm.reset({ banks: [TPM_ALG_SHA1] });
    await using agent = new StreamAgent(house, machine);
    const result = await firstRound(agent, {
      lie: (truth) => ({
        ...truth,
        attested: {
          ...truth.attested,
          pcrSelect: truth.attested.pcrSelect.map((each) => ({ ...each, hash: TPM_ALG_SHA256 })),
        },
      }),
    });
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)).toContain('pcr-selection failed PCR_SELECTION_MISMATCH');
  });
});

describe('a bank that appears', () => {
  let machine: Machine;
  beforeEach(async () => {
    await putPolicy(house.store);
    machine = await enrollMachine(house);
    machine.tpm.reset({ banks: [TPM_ALG_SHA256, TPM_ALG_SHA384] });
  });

  it('is proven and quoted with the first round of the boot', async () => {
    await using agent = new StreamAgent(house, machine);
    const result = await firstRound(agent);
    expect(result.status).toBe('affirming');
    expect(result.checks.find(({ id }) => id === 'pcr-banks')).toMatchObject({ observed: 'sha256, sha384' });
    expect((await house.store.getHost(machine.id))?.banks.map(({ algorithm }) => algorithm)).toEqual([
      TPM_ALG_SHA256,
      TPM_ALG_SHA384,
    ]);
  });

  const ofOldBanks = (challenge: Challenge, agent: StreamAgent) =>
    agent.evidence({ ...challenge, selection: [{ hash: TPM_ALG_SHA256, pcrs: [...Array(24).keys()] }] });

  it('and that the quote leaves out is told by the proof: the host is contraindicated', async () => {
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    const { bankProof } = agent.evidence(challenge);
    agent.send({ kind: 'evidence', evidence: { ...ofOldBanks(challenge, agent), bankProof } });
    const { result } = await agent.expect('result');
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)).toEqual(['pcr-selection failed PCR_SELECTION_MISMATCH']);
  });

  it('and that the host says nothing of is unproven: a warning at best', async () => {
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    agent.send({ kind: 'evidence', evidence: { ...ofOldBanks(challenge, agent), bankProof: null } });
    const { result } = await agent.expect('result');
    expect(result.status).toBe('warning');
    expect(failures(result.checks)).toEqual(['pcr-banks failed BANKS_UNPROVEN']);
  });

  it('is not hidden by the proof of the boot before', async () => {
    const former = await enrollMachine(house, { tpm: new SoftwareTpm() });
    const { clockInfo } = former.tpm;
    former.tpm.reset({ banks: [TPM_ALG_SHA256, TPM_ALG_SHA384] });
    await using agent = new StreamAgent(house, former);
    const result = await firstRound(agent, { bankLie: (truth) => ({ ...truth, clockInfo }) });
    expect(result.status).toBe('warning');
    expect(result.checks.find(({ id }) => id === 'pcr-banks')).toMatchObject({
      reason: 'BANKS_UNPROVEN',
      observed: 'the proof is from another boot than the quote',
    });
  });

  it('is found although the hello says that nothing was reset', async () => {
    await using agent = new StreamAgent(house, machine, { boot: { resetCount: 3, restartCount: 1 } });
    const challenge = await agent.challenge();
    expect(challenge.selection).not.toBe('all');
    agent.answer(challenge);
    expect(failures((await agent.expect('result')).result.checks)).toEqual(['boot error TPM_RESET']);
    expect((await firstRound(agent)).status).toBe('affirming');
  });
});

describe.skipIf(!dataIsHere('measured-boot'))('boot rules', () => {
  const log = bootLog(SECURE_BOOT);
  let machine: Machine;

  /** The firmware measured into these banks and left the others alone. */
  function reboot(banks: readonly number[], measured = banks): void {
    machine.tpm.reset({ banks });
    bootAs(machine.tpm, SECURE_BOOT);
    for (const hash of banks.filter((bank) => !measured.includes(bank))) {
      for (let pcr = 0; pcr < 17; pcr++) machine.tpm.pcrs.get(hash)?.set(pcr, Buffer.alloc(digestSize(hash)));
    }
  }

  beforeEach(async () => {
    await putPolicy(house.store, { pcrRules: [], boot: { ...NO_RULES, secureBoot: RULE } });
    machine = await enrollMachine(house, { tpm: bootedTpm(SECURE_BOOT), logs: [log] });
    await using agent = new StreamAgent(house, machine);
    expect((await agent.round()).status).toBe('affirming');
  });

  it.each([
    ['SHA-1 alone is left', 'none', [TPM_ALG_SHA1], undefined, ['boot.secure-boot error BOOT_BANK_WEAK']],
    ['SHA-256 alone is left', 'affirming', [TPM_ALG_SHA256], undefined, []],
    [
      'the firmware leaves a bank alone that is active',
      'contraindicated',
      [TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384],
      [TPM_ALG_SHA1, TPM_ALG_SHA256],
      ['boot-log failed BOOT_BANK_AT_RESET', 'boot.secure-boot error BOOT_UNVERIFIED'],
    ],
  ] as const)('where %s: %s', async (_name, status, banks, measured, found) => {
    reboot(banks, measured);
    await using agent = new StreamAgent(house, machine);
    const result = await firstRound(agent, { logs: [log] });
    expect(result.status).toBe(status);
    expect(failures(result.checks)).toEqual(found);
    // And so it stays.
    expect((await next(agent)).result.status).toBe(status);
  });

  it('are not satisfied by a bank that the log does not speak of', async () => {
    const sha512 = hashAlgorithmByName('sha512')?.alg ?? 0;
    machine.tpm.reset({ banks: [TPM_ALG_SHA256, sha512] });
    bootAs(machine.tpm, SECURE_BOOT);
    machine.tpm.extend(7, Buffer.alloc(64, 1), sha512);
    await using agent = new StreamAgent(house, machine);
    const result = await firstRound(agent, { logs: [log] });
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)[0]).toBe('boot-log failed BOOT_BANK_UNEXPLAINED');
  });

  it('ask for the values of the boot: those of the enrolment do not stand for a bank that vanished', async () => {
    expect(measuredPcrs(SECURE_BOOT).has('sha384')).toBe(true);
    machine.tpm.reset({ banks: [TPM_ALG_SHA1] });
    await using agent = new StreamAgent(house, machine);
    const result = await firstRound(agent, { logs: [log] });
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)[0]).toBe('boot-log failed BOOT_BANK_AT_RESET');
  });
});
