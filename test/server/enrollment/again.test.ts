import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { completeEnrollment } from '../../../server/enrollment/complete.ts';
import type { EnrolledHost } from '../../../server/enrollment/complete.ts';
import { COMPLETION_TIME } from '../../../server/enrollment/host-records.ts';
import type { HostRecord } from '../../../server/store/records.ts';
import { answerEnrollment, chunksOf } from '../../support/evidence-builder.ts';
import type { TlsKey } from '../../support/evidence-builder.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import type { SoftwareAk } from '../../support/software-tpm.ts';
import {
  beginEnrollment,
  dump,
  ekCertificate,
  enroll,
  finishEnrollment,
  importAnchors,
  openHouse,
  OPERATOR,
} from '../../support/test-service.ts';
import type { EnrollOptions, House } from '../../support/test-service.ts';

let house: House;
let tpm: SoftwareTpm;
let ak: SoftwareAk;
let first: EnrolledHost & { readonly tls: TlsKey };

beforeEach(async () => {
  house = await openHouse();
  tpm = new SoftwareTpm({ eks: ['p256', 'p384'] });
  ak = tpm.createAk();
  first = await enroll(house, tpm, ak);
});
afterEach(() => house[Symbol.asyncDispose]());

/** A TPM that holds the given EKs of others: what a machine with stolen keys would show. */
function withEks(...eks: SoftwareTpm['eks'][number][]): SoftwareTpm {
  const machine = new SoftwareTpm();
  return Object.assign(machine, { eks });
}

async function refused(machine: SoftwareTpm, signer: SoftwareAk, options: EnrollOptions = {}): Promise<string> {
  const before = await dump(house.store);
  const error: unknown = await enroll(house, machine, signer, options).then(
    ({ host }) => new Error(`host ${host.id} was enrolled`),
    (reason: unknown) => reason,
  );
  expect(await dump(house.store)).toEqual(before);
  if (error instanceof Error && 'code' in error) return String(error.code);
  throw error;
}

const present = async (id = first.host.id): Promise<HostRecord | null> => house.store.getHost(id);

describe('enrolling again with the same EK and AK', () => {
  it('refreshes the certificates and keeps the host as it is', async () => {
    const before = await present();
    const result = await house.store.getResult(first.host.id);
    const { host, tls, clientCertificate, akCertificate, replacementPending } = await enroll(house, tpm, ak);
    expect(host).toMatchObject({
      id: first.host.id,
      akGeneration: 1,
      findings: [],
      pendingAk: null,
      round: before?.round,
    });
    expect(host.tlsKeySha256).toBe(tls.sha256.toString('hex'));
    expect(replacementPending).toBe(false);
    expect(clientCertificate).not.toEqual(first.clientCertificate);
    expect(akCertificate.length).toBeGreaterThan(0);
    expect(await house.store.getResult(host.id)).toEqual(result);
  });

  it('any number of times leaves one host', async () => {
    for (let count = 0; count < 3; count++) await enroll(house, tpm, ak);
    const { items } = await house.store.listHosts({ limit: 10, after: '' }, { states: [], matchLabels: {}, scope: {} });
    expect(items.map(({ id }) => id)).toEqual([first.host.id]);
  });

  it('adds an EK that was hidden before', async () => {
    const lone = new SoftwareTpm({ eks: ['p256', 'p384'] });
    const signer = lone.createAk();
    const hiding = withEks(lone.ek(0));
    const { host } = await enroll(house, hiding, signer);
    expect(host.eks).toHaveLength(1);
    const both = await enroll(house, lone, signer);
    expect(both.host.id).toBe(host.id);
    expect(both.host.eks).toHaveLength(2);
  });
});

describe('enrolling again with another AK', () => {
  it('over the present TLS identity replaces it: trust falls, and AK_REPLACED stands', async () => {
    const next = tpm.createAk();
    const { host, replacementPending } = await enroll(house, tpm, next, {
      tls: first.tls,
      callerHostId: first.host.id,
    });
    expect(replacementPending).toBe(false);
    expect(host).toMatchObject({ id: first.host.id, akGeneration: 2, findings: ['AK_REPLACED'], round: 0 });
    expect(host.ak.name).toBe(next.name.toString('hex'));
    expect(await house.store.getResult(host.id)).toMatchObject({ status: 'none', akName: host.ak.name });
  });

  it('without that identity waits, changes nothing and gives no certificate', async () => {
    const before = await present();
    const result = await house.store.getResult(first.host.id);
    const next = tpm.createAk();
    const answer = await enroll(house, tpm, next);
    expect(answer.replacementPending).toBe(true);
    expect(answer.akCertificate).toHaveLength(0);
    expect(answer.clientCertificate).toHaveLength(0);
    const after = await present();
    expect(after).toMatchObject({ ak: before?.ak, tlsKeySha256: before?.tlsKeySha256, akGeneration: 1, findings: [] });
    expect(after?.pendingAk?.ak.name).toBe(next.name.toString('hex'));
    expect(await house.store.getResult(first.host.id)).toEqual(result);
  });

  it('with the TLS identity of another host waits, too', async () => {
    const other = new SoftwareTpm();
    const { host } = await enroll(house, other, other.createAk());
    const answer = await enroll(house, tpm, tpm.createAk(), { callerHostId: host.id });
    expect(answer.replacementPending).toBe(true);
  });

  it('takes effect when an operator approves it', async () => {
    const next = tpm.createAk();
    const { host } = await enroll(house, tpm, next);
    const approval = { ...OPERATOR, acknowledgeFindings: false, akCertificate: 'aa', expectedVersion: host.version };
    const approved = await house.store.approveHost(host.id, approval);
    expect(approved).toMatchObject({ akGeneration: 2, pendingAk: null, findings: ['AK_REPLACED'] });
    expect(approved.ak.name).toBe(next.name.toString('hex'));
  });

  it('leaves the latest one waiting', async () => {
    await enroll(house, tpm, tpm.createAk());
    const latest = tpm.createAk();
    await enroll(house, tpm, latest);
    expect((await present())?.pendingAk?.ak.name).toBe(latest.name.toString('hex'));
  });
});

describe('an enrolment that meets others', () => {
  it('of a banned EK is refused, by whichever EK and AK it comes', async () => {
    await house.store.revokeHost(first.host.id, { ...OPERATOR, reason: 'stolen' });
    expect(await refused(tpm, ak)).toBe('HOST_REVOKED');
    expect(await refused(tpm, tpm.createAk('ecdsa', 1))).toBe('HOST_REVOKED');
    const sibling = withEks(tpm.ek(1));
    expect(await refused(sibling, sibling.createAk())).toBe('HOST_REVOKED');
  });

  it('with an AK of another host is refused', async () => {
    const other = new SoftwareTpm();
    expect(await refused(other, other.adopt(ak))).toBe('AK_CONFLICT');
  });

  it('with EKs of two hosts is refused', async () => {
    const other = new SoftwareTpm();
    await enroll(house, other, other.createAk());
    const thief = withEks(tpm.ek(0), other.ek(0));
    expect(await refused(thief, thief.createAk())).toBe('EK_CONFLICT');
  });

  it('by a second TPM that names the EK of a host cannot open its credential', async () => {
    const second = new SoftwareTpm();
    const claimed = withEks(tpm.ek(0));
    const signer = second.createAk();
    const { challenge } = await beginEnrollment(house, claimed, claimed.adopt(signer));
    const [credential] = challenge.credentials;
    if (credential === undefined) throw new TypeError('no credential');
    expect(() => second.activate(signer, 0, credential)).toThrow();
  });

  it('by a second TPM that shows the certificate of a host for its own EK is refused', async () => {
    const second = new SoftwareTpm();
    expect(await refused(second, second.createAk(), { certificates: [ekCertificate(tpm, 0)] })).toBe(
      'EK_CERT_KEY_MISMATCH',
    );
  });

  it('after the host was deleted makes a new host', async () => {
    await house.store.deleteHost(first.host.id, OPERATOR);
    const { host } = await enroll(house, tpm, tpm.createAk());
    expect(host).toMatchObject({ id: first.host.id, akGeneration: 2, findings: [], round: 0 });
  });

  it('that was begun before the ban is refused', async () => {
    const { challenge, transcript, tls } = await beginEnrollment(house, tpm, ak);
    const proof = answerEnrollment(tpm, ak, challenge, { transcript });
    await house.store.revokeHost(first.host.id, { ...OPERATOR, reason: '' });
    await expect(finishEnrollment(house, proof, { tls })).rejects.toMatchObject({ code: 'HOST_REVOKED' });
  });
});

describe('logs of an enrolment', () => {
  it('are not taken from who is not admitted', async () => {
    const { challenge, transcript, tls } = await beginEnrollment(house, tpm, ak);
    const logs = [{ kind: 'boot', data: Buffer.alloc(5_000) }] as const;
    const proof = answerEnrollment(tpm, ak, challenge, { transcript, logs });
    await house.store.revokeHost(first.host.id, { ...OPERATOR, reason: '' });
    let asked = 0;
    const nextChunk = () => {
      asked += 1;
      return Promise.resolve(null);
    };
    const caller = { tlsKeySha256: tls.sha256, tlsPublicKey: tls.spki, hostId: '' };
    await expect(completeEnrollment(house.complete, { proof, caller, nextChunk })).rejects.toMatchObject({
      code: 'HOST_REVOKED',
    });
    expect(asked).toBe(0);
  });

  it('that end after the enrolment has ended complete nothing', async () => {
    const { challenge, transcript, tls } = await beginEnrollment(house, tpm, ak);
    const logs = [{ kind: 'boot', data: Buffer.alloc(5_000) }] as const;
    const proof = answerEnrollment(tpm, ak, challenge, { transcript, logs });
    const chunks = chunksOf(logs[0]);
    const nextChunk = () => {
      house.clock.advance(COMPLETION_TIME + 60_000);
      return Promise.resolve(chunks[0] ?? null);
    };
    const caller = { tlsKeySha256: tls.sha256, tlsPublicKey: tls.spki, hostId: '' };
    await expect(completeEnrollment(house.complete, { proof, caller, nextChunk })).rejects.toMatchObject({
      code: 'ENROLLMENT_EXPIRED',
    });
  });
});

describe('a host that waits for approval', () => {
  let waiting: House;
  let machine: SoftwareTpm;
  beforeEach(async () => {
    waiting = await openHouse({ admission: ['certificate', 'approval'], anchors: false });
    machine = new SoftwareTpm();
  });
  afterEach(() => waiting[Symbol.asyncDispose]());

  it('may enrol again with another AK: there is no trust to take over', async () => {
    const one = await enroll(waiting, machine, machine.createAk());
    const two = await enroll(waiting, machine, machine.createAk());
    expect([one.host.state, two.host.state]).toEqual(['pending', 'pending']);
    expect(two.host).toMatchObject({ id: one.host.id, akGeneration: 2 });
  });

  it('has no AK certificate, not even when its EK has come to be certified meanwhile', async () => {
    const signer = machine.createAk();
    await enroll(waiting, machine, signer);
    await importAnchors(waiting.store);
    const { host, akCertificate } = await enroll(waiting, machine, signer);
    expect(akCertificate.length > 0).toBe(host.state === 'active');
    expect(host.ak.certificate).toBe(akCertificate.toString('hex'));
  });
});
