import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { caughtUp, enrollMachine, StreamAgent } from '../../support/stream-agent.ts';
import type { Machine } from '../../support/stream-agent.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { ekCertificate, enroll, openHouse, OPERATOR, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

let house: House;
let machine: Machine;
beforeEach(async () => {
  house = await openHouse({ admission: ['certificate', 'approval'] });
  await putPolicy(house.store);
  machine = await enrollMachine(house);
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

function hurry(agent: StreamAgent, milliseconds = 2_000): void {
  house.clock.advance(milliseconds);
  agent.send({ kind: 'wish' });
}

const reasons = (
  result: { readonly checks: readonly { readonly outcome: string; readonly reason: string }[] } | null,
) => (result?.checks ?? []).filter(({ outcome }) => outcome !== 'passed').map(({ reason }) => reason);

describe('torn evidence', () => {
  const tear = (): void => machine.tpm.extend(7);

  it('brings a new challenge and no verdict, and is forgotten by the next good round', async () => {
    await using agent = new StreamAgent(house, machine);
    agent.answer(await agent.challenge(), { afterQuote: tear });
    expect(await agent.expect('torn')).toEqual({ kind: 'torn', attempt: 1 });
    expect(reasons(await house.store.getResult(machine.id))).toEqual(['AWAITING_EVIDENCE']);
    const result = await agent.round();
    expect(result.status).toBe('contraindicated');
    expect((await house.store.getHost(machine.id))?.torn).toBe(0);
  });

  it('three times in a row says NONE, and asks for everything then', async () => {
    await using agent = new StreamAgent(house, machine);
    await agent.round();
    for (let attempt = 1; attempt <= 3; attempt++) {
      if (attempt === 1) hurry(agent);
      agent.answer(await agent.challenge(), { afterQuote: tear });
      expect(await agent.expect('torn')).toEqual({ kind: 'torn', attempt });
    }
    const { result } = await agent.expect('result');
    expect(result).toMatchObject({ status: 'none', validUntil: null });
    expect(reasons(result)).toEqual(['EVIDENCE_TORN']);
    expect((await agent.challenge()).selection).toBe('all');
  });

  it('of a later boot is evidence of the reboot all the same', async () => {
    await using agent = new StreamAgent(house, machine);
    await agent.round();
    machine.tpm.reset();
    hurry(agent);
    agent.answer(await agent.challenge(), { afterQuote: tear });
    const { result } = await agent.expect('result');
    expect(result.status).toBe('none');
    expect(reasons(result)).toEqual(['TPM_RESET']);
    expect((await agent.challenge()).selection).toBe('all');
  });

  it('is counted across streams: who reconnects does not begin anew', async () => {
    for (let attempt = 1; attempt <= 2; attempt++) {
      await using agent = new StreamAgent(house, machine);
      agent.answer(await agent.challenge(), { afterQuote: tear });
      expect(await agent.expect('torn')).toMatchObject({ attempt });
    }
  });
});

describe('a reboot', () => {
  it('while the stream is open drops trust at once and then asks for every bank and log', async () => {
    await using agent = new StreamAgent(house, machine);
    expect((await agent.round()).status).toBe('affirming');
    machine.tpm.reset({ clock: 5n });
    hurry(agent);
    const fallen = await agent.round();
    expect(fallen.status).toBe('none');
    expect(reasons(fallen)).toEqual(['TPM_RESET']);
    const challenge = await agent.challenge();
    expect(challenge.selection).toBe('all');
    expect(challenge.logs.map(({ kind }) => kind)).toEqual(['boot', 'userspace', 'ima']);
    agent.answer(challenge);
    const { result } = await agent.expect('result');
    expect(result).toMatchObject({ status: 'affirming', resetCount: machine.tpm.clockInfo.resetCount });
  });

  it('that the hello tells of is asked about at once', async () => {
    await new StreamAgent(house, machine)[Symbol.asyncDispose]();
    machine.tpm.reset();
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    expect(challenge.selection).toBe('all');
    agent.answer(challenge);
    expect((await agent.expect('result')).result.status).toBe('affirming');
  });

  it('that the hello hides is found by the quote', async () => {
    const { resetCount, restartCount } = machine.tpm.clockInfo;
    machine.tpm.reset();
    await using agent = new StreamAgent(house, machine, { boot: { resetCount, restartCount } });
    expect(reasons(await agent.round())).toEqual(['TPM_RESET']);
    expect((await agent.challenge()).selection).toBe('all');
  });
});

describe('a clock that goes back', () => {
  it('contraindicates the host, also when it goes forward again and over other streams', async () => {
    const old = machine.tpm.clockInfo;
    {
      await using agent = new StreamAgent(house, machine);
      expect((await agent.round()).status).toBe('affirming');
      machine.tpm.clockInfo = { ...old, resetCount: old.resetCount - 1 };
      hurry(agent);
      const regressed = await agent.round();
      expect(regressed.status).toBe('contraindicated');
      expect(reasons(regressed)).toContain('CLOCK_REGRESSED');
      machine.tpm.clockInfo = { ...old, clock: old.clock + 1_000_000n };
      hurry(agent);
      const forward = await agent.round();
      expect(forward.status).toBe('contraindicated');
      expect(reasons(forward)).toEqual(['CLOCK_REGRESSED']);
    }
    await using next = new StreamAgent(house, machine);
    expect(reasons(await next.round())).toEqual(['CLOCK_REGRESSED']);
    expect((await house.store.getHost(machine.id))?.clock.resetCount).toBe(old.resetCount);
  });

  it('never moves the mark back: a clone that was behind stays behind', async () => {
    await using agent = new StreamAgent(house, machine);
    await agent.round();
    const mark = (await house.store.getHost(machine.id))?.clock;
    machine.tpm.clockInfo = { ...machine.tpm.clockInfo, clock: 1n };
    hurry(agent);
    await agent.round();
    expect((await house.store.getHost(machine.id))?.clock).toEqual(mark);
  });

  it('ends with a new AK only', async () => {
    await using agent = new StreamAgent(house, machine);
    await agent.round();
    machine.tpm.clockInfo = { ...machine.tpm.clockInfo, clock: 1n };
    hurry(agent);
    await agent.round();
    await enroll(house, machine.tpm, machine.ak, { tls: machine.tls });
    expect((await house.store.getHost(machine.id))?.findings).toEqual(['CLOCK_REGRESSED']);
    const { host } = await enroll(house, machine.tpm, machine.tpm.createAk(), {
      callerHostId: machine.id,
      tls: machine.tls,
    });
    expect(host.findings).toEqual(['AK_REPLACED']);
  });
});

const strict = {
  pcrRules: [{ bank: 'sha256', index: 8, allowed: ['11'.repeat(32)], severity: undefined, message: '' }],
};

describe('an EK certificate', () => {
  it('that ends while the stream is open endorses no longer, and no verdict outlives it', async () => {
    const end = house.store.now() + 90_000;
    const tpm = new SoftwareTpm();
    const certificates = tpm.eks.map((_, index) => ekCertificate(tpm, index, { notAfter: new Date(end) }));
    const brief = await enrollMachine(house, { tpm, certificates });
    await using agent = new StreamAgent(house, brief);
    const first = await agent.round();
    expect(first.status).toBe('affirming');
    // X.509 tells whole seconds.
    expect(first.validUntil).toBe(Math.floor(end / 1000) * 1000);
    hurry(agent, 91_000);
    const next = await agent.round();
    expect(next.status).toBe('warning');
    expect(reasons(next)).toEqual(['EK_UNENDORSED']);
  });
});

describe('a change of policy', () => {
  it('while evidence is due fences the verdict: it is judged anew, by the new one', async () => {
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    await putPolicy(house.store, strict);
    agent.answer(challenge);
    const next = await agent.challenge();
    expect(next.selection).toEqual([{ hash: 11, pcrs: [8] }]);
    expect(reasons(await house.store.getResult(machine.id))).toEqual(['AWAITING_EVIDENCE']);
    agent.answer(next);
    expect((await agent.expect('result')).result).toMatchObject({ status: 'contraindicated', policyVersion: 2 });
  });

  it('between two rounds drops the verdict and brings a challenge at once', async () => {
    await using agent = new StreamAgent(house, machine);
    expect((await agent.round()).status).toBe('affirming');
    await putPolicy(house.store, strict);
    expect(await house.store.getResult(machine.id)).toMatchObject({ status: 'none' });
    expect((await agent.round()).status).toBe('contraindicated');
  });

  it('that concerns more hosts than are asked at once brings the challenge when it is its turn', async () => {
    await using agent = new StreamAgent(house, machine);
    await agent.round();
    let others = 0;
    for (let index = 0; index < 75; index++) house.services.wakeUps.soon(() => (others += 1));
    await putPolicy(house.store, strict);
    await caughtUp(house);
    expect(await house.store.getResult(machine.id)).toMatchObject({ status: 'none' });
    const challenge = await agent.challenge();
    expect(others).toBe(75);
    agent.answer(challenge);
    expect((await agent.expect('result')).result).toMatchObject({ status: 'contraindicated', policyVersion: 2 });
  });

  it('is not asked about again by a stream that was asked before its turn', async () => {
    await using agent = new StreamAgent(house, machine);
    await agent.round();
    const { wakeUps } = house.services;
    for (let index = 0; index < 75; index++) wakeUps.soon(() => undefined);
    await putPolicy(house.store, strict);
    await caughtUp(house);
    hurry(agent);
    agent.answer(await agent.challenge());
    expect((await agent.expect('result')).result.policyVersion).toBe(2);
    const behind = Promise.withResolvers<void>();
    wakeUps.soon(behind.resolve);
    await behind.promise;
    const asked = Promise.withResolvers<string>();
    void agent.challenge().then(
      () => asked.resolve('asked'),
      () => asked.resolve('ended'),
    );
    setTimeout(() => asked.resolve('left alone'), 100);
    expect(await asked.promise).toBe('left alone');
  });

  it('that gives a host its first one brings a challenge at once', async () => {
    await house.store.deletePolicy('base', { ...OPERATOR, expected: 'any' });
    await using agent = new StreamAgent(house, machine);
    expect(reasons(await agent.round())).toEqual(['POLICY_MISSING']);
    await putPolicy(house.store);
    expect((await agent.round()).status).toBe('affirming');
  });

  it('of anchors between two rounds drops the verdict and brings a challenge at once', async () => {
    await using agent = new StreamAgent(house, machine);
    expect((await agent.round()).status).toBe('affirming');
    for (const { fingerprint, anchor } of await house.store.allTrustAnchors()) {
      if (anchor) await house.store.removeTrustAnchor(fingerprint, { ...OPERATOR, expected: 'any' });
    }
    expect(await house.store.getResult(machine.id)).toMatchObject({ status: 'none' });
    expect(reasons(await agent.round())).toEqual(['EK_UNENDORSED']);
  });

  it('of a reference set that the policy names drops the verdict, and is in the digest of the next one', async () => {
    const digest = 'ab'.repeat(32);
    const draft = await house.store.openReferenceDraft('known', { from: 'nothing', expected: 'any' });
    await house.store.addReferenceEntries(draft, [{ algorithm: 'sha256', digest, path: '/bin/sh' }]);
    await house.store.commitReferenceDraft(draft, { ...OPERATOR, detail: '' });
    const written = await house.store.getPolicy('base', null);
    if (written === null) throw new TypeError('no policy');
    const { id, attachment, body } = written;
    const naming = { id, attachment, body, references: ['referenceSets/known'] };
    await house.store.putPolicy(naming, { ...OPERATOR, expected: 'any' });
    await using agent = new StreamAgent(house, machine);
    const before = await agent.round();
    expect(before.status).toBe('affirming');
    await house.store.withdrawReferenceDigests('known', [digest], { ...OPERATOR, expected: 'any' });
    expect(await house.store.getResult(machine.id)).toMatchObject({ status: 'none' });
    const after = await agent.round();
    expect(after).toMatchObject({ status: 'affirming', policyVersion: before.policyVersion });
    expect(after.inputDigest).not.toBe(before.inputDigest);
  });

  it('of anchors or inventory fences a verdict, too', async () => {
    await using agent = new StreamAgent(house, machine);
    const { endorsement: before } = await house.store.epochs();
    const challenge = await agent.challenge();
    const anchors = await house.store.allTrustAnchors();
    for (const { fingerprint } of anchors) {
      await house.store.removeTrustAnchor(fingerprint, { ...OPERATOR, expected: 'any' });
    }
    agent.answer(challenge);
    const result = await agent.round();
    expect(result.status).toBe('warning');
    expect(reasons(result)).toEqual(['EK_UNENDORSED']);
    expect(result.endorsementVersion).toBe(before + anchors.length);
    const { changes } = await house.store.listEndorsementChanges({ limit: 1, after: '' }, '');
    expect(changes.items).toMatchObject([{ epoch: result.endorsementVersion, action: 'trustAnchor.remove' }]);
  });
});

describe('what an operator does to a host whose stream is open', () => {
  it.each([
    [
      'revoking it',
      (): Promise<unknown> => house.store.revokeHost(machine.id, { ...OPERATOR, reason: '' }),
      'HOST_REVOKED',
    ],
    ['deleting it', (): Promise<unknown> => house.store.deleteHost(machine.id, OPERATOR), 'HOST_UNKNOWN'],
  ] as const)('%s ends the stream between two rounds', async (_name, act, code) => {
    await using agent = new StreamAgent(house, machine);
    await agent.round();
    await act();
    await caughtUp(house);
    expect(await agent.ended()).toMatchObject({ code });
  });

  it('revoking it while evidence is due lets no verdict through', async () => {
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    await house.store.revokeHost(machine.id, { ...OPERATOR, reason: '' });
    agent.answer(challenge);
    expect(await agent.ended()).toMatchObject({ code: 'HOST_REVOKED' });
    expect(await house.store.getResult(machine.id)).toMatchObject({ status: 'contraindicated', validUntil: null });
  });

  it('labelling it so that another policy judges it brings a challenge at once', async () => {
    await putPolicy(house.store, {
      ...strict,
      id: 'gpu',
      precedence: 1,
      selector: { matchLabels: { kind: 'gpu' }, allHosts: false },
    });
    await using agent = new StreamAgent(house, machine);
    expect((await agent.round()).policyId).toBe('base');
    await house.store.updateHost(machine.id, { labels: { kind: 'gpu' } }, { ...OPERATOR, version: null });
    expect(await agent.round()).toMatchObject({ policyId: 'gpu', labels: { kind: 'gpu' } });
  });

  it('acknowledging a replaced AK brings back its affirmation', async () => {
    const next = machine.tpm.createAk();
    const { tls } = await enroll(house, machine.tpm, next, { callerHostId: machine.id, tls: machine.tls });
    await caughtUp(house);
    await using agent = new StreamAgent(house, { ...machine, ak: next, tls });
    const replaced = await agent.round();
    expect(replaced.status).toBe('warning');
    expect(reasons(replaced)).toEqual(['AK_REPLACED']);
    const host = await house.store.getHost(machine.id);
    const approval = { ...OPERATOR, acknowledgeFindings: true, akCertificate: '', expectedVersion: host?.version ?? 0 };
    await house.store.approveHost(machine.id, approval);
    await caughtUp(house);
    expect((await agent.round()).status).toBe('affirming');
  });
});
