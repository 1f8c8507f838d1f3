import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { createChallenge, submitEvidence } from '../../../server/attestation/single-round.ts';
import type { AgentCaller } from '../../../server/attestation/check-host.ts';
import { CHALLENGE_LIFETIME } from '../../../server/attestation/challenge.ts';
import { answerChallenge, chunksOf, feedOf, makeTlsKey } from '../../support/evidence-builder.ts';
import type { Log, RoundOptions } from '../../support/evidence-builder.ts';
import { putRules } from '../../support/measured-host.ts';
import { filePlan, MeasuringKernel } from '../../support/measuring-kernel.ts';
import { FILES, importFiles } from '../../support/runtime-policy.ts';
import { enrollMachine, StreamAgent } from '../../support/stream-agent.ts';
import type { Machine } from '../../support/stream-agent.ts';
import { beginEnrollment, dump, enroll, openHouse, OPERATOR, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import type { RoundEvidence } from '../../../server/attestation/messages.ts';

let house: House;
let machine: Machine;
beforeEach(async () => {
  house = await openHouse({ admission: ['certificate', 'approval'] });
  await putPolicy(house.store);
  machine = await enrollMachine(house);
});
afterEach(() => house[Symbol.asyncDispose]());

const ZERO = { bank: 'sha256', allowed: ['00'.repeat(32)], severity: undefined, message: '' } as const;

const callerOf = ({ id, tls }: Machine): AgentCaller => ({
  hostId: id,
  tlsKeySha256: tls.sha256.toString('hex'),
  expires: house.store.now() + 86_400_000,
});

function draw(of: Machine = machine, akName = of.ak.name.toString('hex')) {
  const { resetCount, restartCount } = of.tpm.clockInfo;
  return createChallenge(house.services, callerOf(of), { akName, boot: { resetCount, restartCount } });
}

type Drawn = Awaited<ReturnType<typeof draw>>;

function evidenceFor({ challenge }: Drawn, change: Partial<RoundOptions> = {}, of: Machine = machine): RoundEvidence {
  return answerChallenge(of.tpm, of.ak, challenge, {
    hostId: of.id,
    tlsKeySha256: of.tls.sha256.toString('hex'),
    ...change,
  });
}

function submit(
  token: Buffer,
  evidence: RoundEvidence,
  options: { readonly as?: Machine; readonly logs?: readonly Log[] } = {},
) {
  const nextChunk = feedOf((options.logs ?? []).flatMap((log) => chunksOf(log)));
  return submitEvidence(house.services, callerOf(options.as ?? machine), { token, evidence, nextChunk });
}

async function refusedUnchanged(act: () => Promise<unknown>, code: string): Promise<void> {
  const before = await dump(house.store);
  await expect(act()).rejects.toMatchObject({ code });
  expect(await dump(house.store)).toEqual(before);
}

describe('a round without a stream', () => {
  it('draws nothing into the store, and its evidence makes a result', async () => {
    const before = await dump(house.store);
    const drawn = await draw();
    expect(await dump(house.store)).toEqual(before);
    const { result, renewal } = await submit(drawn.token, evidenceFor(drawn));
    expect(result.status).toBe('affirming');
    expect(renewal).toBeNull();
    expect(await house.store.getHost(machine.id)).toMatchObject({ round: 1, connected: false, streamEpoch: 0 });
  });

  it('keeps its nonce out of the clear of the token', async () => {
    const { challenge, token } = await draw();
    expect(token.includes(challenge.nonce)).toBe(false);
    expect(token.toString('latin1')).not.toContain(challenge.nonce.toString('hex'));
  });

  it('takes logs and renews the TLS key', async () => {
    machine.tpm.reset();
    const drawn = await draw();
    const logs = [{ kind: 'boot', data: Buffer.alloc(1_000, 7) }] as const;
    const renewed = makeTlsKey();
    const { result, renewal } = await submit(drawn.token, evidenceFor(drawn, { logs, newTlsPublicKey: renewed.spki }), {
      logs,
    });
    // What it sends is no boot log.
    expect(result).toMatchObject({ status: 'warning' });
    expect(result.checks[0]).toMatchObject({ id: 'boot-log', reason: 'BOOT_LOG_MALFORMED' });
    expect(renewal?.clientCertificate.length).toBeGreaterThan(100);
    const kept = await house.store.logStates(machine.id);
    expect(kept.find(({ kind }) => kind === 'boot')).toEqual({ kind: 'boot', size: 1_000, unreadable: '' });
    expect((await house.store.getHost(machine.id))?.nextTlsKeySha256).toBe(renewed.sha256.toString('hex'));
  });

  it('leaves the stream of the host to its holder', async () => {
    await using agent = new StreamAgent(house, machine);
    await agent.round();
    const before = await house.store.getHost(machine.id);
    const drawn = await draw();
    await submit(drawn.token, evidenceFor(drawn));
    expect(await house.store.getHost(machine.id)).toMatchObject({ connected: true, streamEpoch: before?.streamEpoch });
  });
});

describe('a token of a challenge', () => {
  it('is good once, one after another', async () => {
    const drawn = await draw();
    const evidence = evidenceFor(drawn);
    await submit(drawn.token, evidence);
    await refusedUnchanged(() => submit(drawn.token, evidence), 'HOST_CHANGED');
    await refusedUnchanged(() => submit(drawn.token, evidenceFor(drawn)), 'HOST_CHANGED');
  });

  it('is good once, both at the same time', async () => {
    const drawn = await draw();
    const both = await Promise.allSettled([
      submit(drawn.token, evidenceFor(drawn)),
      submit(drawn.token, evidenceFor(drawn)),
    ]);
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect((await house.store.getHost(machine.id))?.round).toBe(1);
  });

  it('is over when another round came between', async () => {
    const [one, two] = [await draw(), await draw()];
    await submit(one.token, evidenceFor(one));
    await refusedUnchanged(() => submit(two.token, evidenceFor(two)), 'HOST_CHANGED');
  });

  it('ends with its deadline, by the clock of the store', async () => {
    const [one, two] = [await draw(), await draw()];
    house.clock.advance(CHALLENGE_LIFETIME);
    await refusedUnchanged(() => submit(one.token, evidenceFor(one)), 'CHALLENGE_EXPIRED');
    await refusedUnchanged(() => submit(two.token, evidenceFor(two)), 'CHALLENGE_EXPIRED');
    const three = await draw();
    house.clock.advance(CHALLENGE_LIFETIME - 1);
    expect((await submit(three.token, evidenceFor(three))).result.status).toBe('affirming');
  });

  it('is refused with any one byte changed', async () => {
    const drawn = await draw();
    const evidence = evidenceFor(drawn);
    for (let at = 0; at < drawn.token.length; at += at < 40 ? 1 : 7) {
      const token = Buffer.from(drawn.token);
      token.writeUInt8(token.readUInt8(at) ^ 4, at);
      await expect(submit(token, evidence), `byte ${at}`).rejects.toMatchObject({ code: 'CHALLENGE_TOKEN_INVALID' });
    }
  });

  it('of another host is refused, whoever answers it', async () => {
    const other = await enrollMachine(house);
    const drawn = await draw(other);
    await refusedUnchanged(() => submit(drawn.token, evidenceFor(drawn)), 'CHALLENGE_TOKEN_INVALID');
    await refusedUnchanged(() => submit(drawn.token, evidenceFor(drawn, {}, other)), 'CHALLENGE_TOKEN_INVALID');
  });

  it('of an enrolment is refused', async () => {
    const { challenge } = await beginEnrollment(house, machine.tpm, machine.ak);
    const drawn = await draw();
    await refusedUnchanged(() => submit(challenge.token, evidenceFor(drawn)), 'CHALLENGE_TOKEN_INVALID');
  });

  it('is worth nothing once the clock was set back behind it', async () => {
    const drawn = await draw();
    house.clock.wall -= 3_600_000;
    await house.store.acceptClock(OPERATOR);
    await refusedUnchanged(() => submit(drawn.token, evidenceFor(drawn)), 'CHALLENGE_EXPIRED');
  });

  it('is over for an AK that was replaced meanwhile', async () => {
    const drawn = await draw();
    await enroll(house, machine.tpm, machine.tpm.createAk(), { callerHostId: machine.id, tls: machine.tls });
    await refusedUnchanged(() => submit(drawn.token, evidenceFor(drawn)), 'AK_UNKNOWN');
  });
});

describe('evidence without a stream', () => {
  it.each<[string, Partial<RoundOptions>, string]>([
    ['with another extraData', { lie: (truth) => ({ ...truth, extraData: Buffer.alloc(32) }) }, 'EXTRA_DATA_MISMATCH'],
    ['for another host', { hostId: `h-${'a'.repeat(26)}` }, 'EXTRA_DATA_MISMATCH'],
    ['under another TLS key', { tlsKeySha256: '00'.repeat(32) }, 'EXTRA_DATA_MISMATCH'],
    [
      'by a primary AK',
      { lie: (truth) => ({ ...truth, qualifiedSigner: Buffer.alloc(34) }) },
      'QUALIFIED_SIGNER_MISMATCH',
    ],
  ])('%s is refused and changes nothing', async (_name, change, code) => {
    const drawn = await draw();
    await refusedUnchanged(() => submit(drawn.token, evidenceFor(drawn, change)), code);
  });

  it('that is torn is no result, and asks for a new challenge', async () => {
    const drawn = await draw();
    const torn = evidenceFor(drawn, { afterQuote: () => machine.tpm.extend(7) });
    await expect(submit(drawn.token, torn)).rejects.toMatchObject({ code: 'HOST_CHANGED' });
    expect(await house.store.getHost(machine.id)).toMatchObject({ round: 0, torn: 1 });
  });

  it('is judged by the policy of now at the first try, whenever that changed', async () => {
    // Whoever read the policies before does not hold them for this host.
    await house.services.policies.resolve({ labels: {}, trustPolicy: '' });
    await putPolicy(house.store, { description: 'before the challenge' });
    const drawn = await draw();
    await putPolicy(house.store, { description: 'before the evidence' });
    expect((await submit(drawn.token, evidenceFor(drawn))).result).toMatchObject({
      status: 'affirming',
      policyVersion: 3,
    });
  });

  it('is asked for anew where the policy of now asks for more', async () => {
    const first = await draw();
    await submit(first.token, evidenceFor(first));
    const drawn = await draw();
    await putPolicy(house.store, { pcrRules: [7, 8].map((index) => ({ ...ZERO, index })) });
    await refusedUnchanged(() => submit(drawn.token, evidenceFor(drawn)), 'HOST_CHANGED');
    const again = await draw();
    expect((await submit(again.token, evidenceFor(again))).result).toMatchObject({
      status: 'affirming',
      policyVersion: 2,
    });
    await importFiles(house.store, ['good']);
    const listless = await draw();
    await putRules(house, { files: { ...FILES, referenceSets: ['referenceSets/base'] } });
    await refusedUnchanged(() => submit(listless.token, evidenceFor(listless)), 'HOST_CHANGED');
  });

  it('is fenced where the policy changes while it is judged', async () => {
    const drawn = await draw();
    const logs = [{ kind: 'boot', data: Buffer.alloc(100, 7) }] as const;
    const chunks = feedOf(logs.flatMap((log) => chunksOf(log)));
    const nextChunk = async () => {
      await putPolicy(house.store, { description: 'new' });
      return chunks();
    };
    const evidence = evidenceFor(drawn, { logs });
    await expect(
      submitEvidence(house.services, callerOf(machine), { token: drawn.token, evidence, nextChunk }),
    ).rejects.toMatchObject({ code: 'HOST_CHANGED' });
    expect((await house.store.getHost(machine.id))?.round).toBe(0);
  });

  it('of a host that waits or is banned is refused', async () => {
    const waiting = await enrollMachine(house, { certificates: [undefined] });
    await refusedUnchanged(() => draw(waiting), 'HOST_PENDING');
    const drawn = await draw();
    await house.store.revokeHost(machine.id, { ...OPERATOR, reason: '' });
    await refusedUnchanged(() => submit(drawn.token, evidenceFor(drawn)), 'HOST_REVOKED');
    await refusedUnchanged(() => draw(), 'HOST_REVOKED');
  });

  it('for an AK that is not the enrolled one gets no challenge', async () => {
    await refusedUnchanged(() => draw(machine, machine.tpm.createAk().name.toString('hex')), 'AK_UNKNOWN');
  });
});

describe('a round without a stream over a list of run-time measurements', () => {
  let kernel: MeasuringKernel;
  beforeEach(async () => {
    await importFiles(house.store, ['good']);
    await putRules(house, { files: { ...FILES, referenceSets: ['referenceSets/base'] } });
    kernel = new MeasuringKernel(machine.tpm);
  });

  async function attest(list = kernel.list) {
    const drawn = await draw();
    const offset = drawn.challenge.logs.find(({ kind }) => kind === 'ima')?.offset ?? 0;
    const logs = [{ kind: 'ima', data: list.subarray(offset), offset }] as const;
    return submit(drawn.token, evidenceFor(drawn, { logs }), { logs });
  }

  it('judges what is new, round by round', async () => {
    kernel.measure(filePlan('/usr/bin/a', 'good'));
    expect((await attest()).result.status).toBe('affirming');
    kernel.measure(filePlan('/usr/bin/b', 'good'));
    expect((await attest()).result).toMatchObject({ status: 'affirming', confirmations: 1 });
    kernel.measure(filePlan('/tmp/x', 'evil'));
    expect((await attest()).result.status).toBe('contraindicated');
    expect(await house.store.getRuntime(machine.id)).toMatchObject({ sequence: 3 });
  });

  it('asks twice for a list that does not lead to the quote, and judges the third', async () => {
    const short = kernel.list;
    kernel.measure(filePlan('/usr/bin/a', 'good'));
    await expect(attest(short)).rejects.toMatchObject({ code: 'HOST_CHANGED' });
    await expect(attest(short)).rejects.toMatchObject({ code: 'HOST_CHANGED' });
    const { result } = await attest(short);
    expect(result.checks[0]).toMatchObject({ id: 'runtime.list', reason: 'IMA_LOG_INCOMPLETE' });
    expect((await attest()).result.status).toBe('affirming');
  });
});

describe('a host that draws challenges and answers none', () => {
  it('is told to wait, before anything of it is read; others are not kept waiting', async () => {
    for (let drawn = 0; drawn < 40; drawn++) await draw();
    await expect(draw()).rejects.toMatchObject({ code: 'CHALLENGE_RATE' });
    const other = await enrollMachine(house);
    await draw(other);
    house.clock.advance(1_000);
    for (let drawn = 0; drawn < 4; drawn++) await draw();
    await expect(draw()).rejects.toMatchObject({ code: 'CHALLENGE_RATE' });
  });
});

describe('a host that has round after round judged', () => {
  const judge = async (of: Machine) => {
    of.tpm.extend(16);
    const drawn = await draw(of);
    return submit(drawn.token, evidenceFor(drawn, {}, of), { as: of });
  };

  it('is told to wait, and nothing of it is kept; others are not kept waiting', async () => {
    for (let round = 0; round < 20; round++) await judge(machine);
    await refusedUnchanged(() => judge(machine), 'ROUND_RATE');
    const other = await enrollMachine(house);
    expect((await judge(other)).result.hostId).toBe(other.id);
    house.clock.advance(1_000);
    await judge(machine);
    await judge(machine);
    await refusedUnchanged(() => judge(machine), 'ROUND_RATE');
  });

  it('spends nothing of another host by evidence that is not its own', async () => {
    const other = await enrollMachine(house);
    for (let round = 0; round < 30; round++) {
      const drawn = await draw();
      await expect(submit(drawn.token, evidenceFor(drawn, {}, other))).rejects.toThrow();
    }
    expect((await judge(machine)).result.hostId).toBe(machine.id);
  });
});
