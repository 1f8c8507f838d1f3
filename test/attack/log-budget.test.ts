import { randomBytes } from 'node:crypto';

import { expect, it } from 'vitest';

import { completeEnrollment } from '../../server/enrollment/complete.ts';
import { LOG_LIMITS } from '../../server/store/log-rules.ts';
import { answerEnrollment, feedOf } from '../support/evidence-builder.ts';
import { SoftwareTpm } from '../support/software-tpm.ts';
import { enrollMachine, StreamAgent } from '../support/stream-agent.ts';
import { beginEnrollment, enroll, openHouse, putPolicy } from '../support/test-service.ts';
import type { House } from '../support/test-service.ts';

const KINDS = ['boot', 'userspace', 'ima'] as const;
const LARGEST = KINDS.map((kind) => ({ kind, data: Buffer.alloc(LOG_LIMITS[kind]) }));
const UNCERTIFIED = { certificates: [undefined] };

/** A TPM that nobody knows announces all logs at their largest; what it sends of them is the test's. */
async function announceAll(house: House, nextChunk: Parameters<typeof completeEnrollment>[1]['nextChunk']) {
  const tpm = new SoftwareTpm({ eks: ['p256'] });
  const ak = tpm.createAk();
  const { challenge, transcript, tls } = await beginEnrollment(house, tpm, ak, UNCERTIFIED);
  const proof = answerEnrollment(tpm, ak, challenge, { transcript, logs: LARGEST });
  const caller = { tlsKeySha256: tls.sha256, tlsPublicKey: tls.spki, hostId: '' };
  return { proof, caller, end: completeEnrollment(house.complete, { proof, caller, nextChunk }) };
}

/** A host that is attested, and one that enrols by its certificate, each with a log. */
async function expectOthersServed(house: House, agent: StreamAgent): Promise<void> {
  const boot = { kind: 'boot', data: randomBytes(100) } as const;
  const challenge = await agent.challenge();
  agent.answer(challenge, { logs: challenge.logs.map(({ kind }) => ({ kind, data: randomBytes(100) })) });
  expect((await agent.expect('result')).result.connectivity).toBe('connected');
  const tpm = new SoftwareTpm();
  expect((await enroll(house, tpm, tpm.createAk(), { logs: [boot] })).host.state).toBe('active');
}

it('logs that are announced and never sent take no room from anybody', async () => {
  await using house = await openHouse({ admission: ['certificate', 'approval'] });
  await putPolicy(house.store);
  await using agent = new StreamAgent(house, await enrollMachine(house));
  const release = Promise.withResolvers<null>();
  const silent = await Promise.all(Array.from({ length: 20 }, () => announceAll(house, () => release.promise)));
  await expectOthersServed(house, agent);
  release.resolve(null);
  for (const { end } of silent) await expect(end).rejects.toMatchObject({ code: 'LOG_INCOMPLETE' });
});

it('logs that strangers send and do not end spend the room of strangers alone', async () => {
  await using house = await openHouse({ admission: ['certificate', 'approval'] });
  await putPolicy(house.store);
  await using agent = new StreamAgent(house, await enrollMachine(house));
  const release = Promise.withResolvers<null>();
  const outcomes: Promise<unknown>[] = [];
  for (let count = 0; count < 8; count += 1) {
    let offset = 0;
    const { end } = await announceAll(house, () => {
      const left = LOG_LIMITS.boot - offset;
      if (left === 0) return release.promise;
      const data = Buffer.alloc(Math.min(left, 256 * 1024));
      offset += data.length;
      return Promise.resolve({ kind: 'boot', offset: offset - data.length, data });
    });
    outcomes.push(end.catch((error: unknown) => error));
  }
  // 24 MiB are theirs: of eight boot logs of 4 MiB two do not fit, and the first of these ends before anybody lets go.
  expect(await Promise.race(outcomes)).toMatchObject({ code: 'LOG_BUDGET' });
  await expectOthersServed(house, agent);
  release.resolve(null);
  const codes = (await Promise.all(outcomes)).map((error) => (error as { readonly code: string }).code);
  expect(codes.filter((code) => code === 'LOG_BUDGET').length).toBeGreaterThanOrEqual(2);
});

it('a proof that is sent again is refused before it is looked at, also while the first is under way', async () => {
  await using house = await openHouse({ admission: ['approval'] });
  const release = Promise.withResolvers<null>();
  const { proof, caller, end } = await announceAll(house, () => release.promise);
  const asked: string[] = [];
  const store = {
    ...house.complete.store,
    findByEks: () => Promise.reject(new Error('asked')),
    now: () => house.store.now(),
  };
  for (let count = 0; count < 20; count += 1) {
    const again = completeEnrollment({ ...house.complete, store }, { proof, caller, nextChunk: feedOf([]) });
    await again.catch((error: unknown) => asked.push((error as { readonly code: string }).code));
  }
  expect(new Set(asked)).toEqual(new Set(['ENROLLMENT_USED']));
  release.resolve(null);
  await expect(end).rejects.toMatchObject({ code: 'LOG_INCOMPLETE' });
});

it('a host that waits for approval leaves none of its logs, and is asked for all of them once it is approved', async () => {
  await using house = await openHouse({ admission: ['approval'] });
  await putPolicy(house.store);
  const logs = [
    { kind: 'boot', data: randomBytes(50_000) },
    { kind: 'ima', data: randomBytes(500_000) },
  ] as const;
  const machine = await enrollMachine(house, { tpm: new SoftwareTpm({ eks: ['p256'] }), ...UNCERTIFIED, logs });
  expect(machine.host.state).toBe('pending');
  expect(await house.store.logStates(machine.id)).toEqual([]);
  expect(await house.store.getBoot(machine.id)).toBeNull();
  const { version } = machine.host;
  const approval = { acknowledgeFindings: false, akCertificate: 'aa', expectedVersion: version };
  await house.store.approveHost(machine.id, { actor: 'identities/ada', scope: {}, ...approval });
  await using agent = new StreamAgent(house, machine);
  const challenge = await agent.challenge();
  expect(challenge.selection).toBe('all');
  expect(challenge.logs).toEqual(KINDS.map((kind) => ({ kind, offset: 0 })));
});

it('so many hosts wait for approval and no more, whoever they are; those that are let in still come in', async () => {
  await using house = await openHouse({ admission: ['certificate', 'approval'], maxPendingHosts: 3 });
  const stranger = () => {
    const tpm = new SoftwareTpm({ eks: ['p256'] });
    return enroll(house, tpm, tpm.createAk(), UNCERTIFIED);
  };
  const first = await stranger();
  await stranger();
  await stranger();
  const { revision } = await house.store.heads();
  for (let count = 0; count < 5; count += 1)
    await expect(stranger()).rejects.toMatchObject({ code: 'TOO_MANY_PENDING' });
  expect((await house.store.heads()).revision).toBe(revision);
  const tpm = new SoftwareTpm();
  expect((await enroll(house, tpm, tpm.createAk())).host.state).toBe('active');
  await house.store.deleteHost(first.host.id, { actor: 'identities/ada', scope: {} });
  expect((await stranger()).host.state).toBe('pending');
});
