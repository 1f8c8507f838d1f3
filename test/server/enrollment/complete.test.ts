import { createHash, randomBytes, verify, X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { EXTENDED_KEY_USAGE, verifyLeaf } from '../../../proto/certificate-profile.ts';
import { enrollmentKey, enrollmentOutcomeDigest, enrollmentOutcomeMac } from '../../../proto/transcript.ts';
import { TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';
import { makePcrSelection } from '../../../tpm/structures/pcr-selection.ts';
import type { EnrollmentProof } from '../../../server/enrollment/prove.ts';
import { openState } from '../../../server/enrollment/token.ts';
import {
  answerEnrollment,
  announce,
  announcementOf,
  FACTS,
  macOf,
  makeTlsKey,
} from '../../support/evidence-builder.ts';
import { digestOf, SoftwareTpm } from '../../support/software-tpm.ts';
import type { QuoteFields } from '../../support/software-tpm.ts';
import { beginEnrollment, dump, enroll, finishEnrollment, openHouse, OPERATOR } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import { SeededRandom } from '../../support/seeded-random.ts';

const random = new SeededRandom(7);
const tpm = new SoftwareTpm({ eks: ['rsa2048', 'p384'], banks: [TPM_ALG_SHA256, TPM_ALG_SHA384] });
const ak = tpm.createAk('ecdsa', 1);
const boot = { kind: 'boot', data: random.bytes(5000) } as const;
let house: House;
beforeAll(async () => {
  house = await openHouse();
});
afterAll(() => house[Symbol.asyncDispose]());

function flipped(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes);
  const at = copy.length >> 1;
  copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
  return copy;
}

/** Changes one part after the HMAC was made. */
type Tamper = (proof: EnrollmentProof) => EnrollmentProof;

const BREAK_THE_HMAC: readonly (readonly [string, Tamper])[] = [
  ['attest', (proof) => ({ ...proof, attest: flipped(proof.attest) })],
  ['signature', (proof) => ({ ...proof, signature: flipped(proof.signature) })],
  ['hmac', (proof) => ({ ...proof, hmac: flipped(proof.hmac) })],
  ['hmac, cut short', (proof) => ({ ...proof, hmac: proof.hmac.subarray(0, 31) })],
  ['hmac, empty', (proof) => ({ ...proof, hmac: Buffer.alloc(0) })],
  ['order of the PCR values', (proof) => ({ ...proof, readings: proof.readings.toReversed() })],
  [
    'a PCR value',
    (proof) => ({
      ...proof,
      readings: proof.readings.map((each, index) => (index === 3 ? { ...each, digest: flipped(each.digest) } : each)),
    }),
  ],
  ['the number of PCR values', (proof) => ({ ...proof, readings: proof.readings.slice(1) })],
  ['the bank proof, left out', (proof) => ({ ...proof, bankProof: null })],
  ...(['capabilityData', 'attest', 'signature'] as const).map((field): readonly [string, Tamper] => [
    `the bank proof's ${field}`,
    (proof) => ({
      ...proof,
      bankProof: proof.bankProof === null ? null : { ...proof.bankProof, [field]: flipped(proof.bankProof[field]) },
    }),
  ]),
  ...(Object.keys(FACTS) as (keyof typeof FACTS)[]).map((field): readonly [string, Tamper] => [
    `the claimed ${field}`,
    (proof) => ({ ...proof, facts: { ...proof.facts, [field]: `${proof.facts[field]}x` } }),
  ]),
  ['the logs, left out', (proof) => ({ ...proof, announcements: [] })],
  ...(['kind', 'offset', 'size', 'sha256', 'unreadable'] as const).map((field): readonly [string, Tamper] => {
    const other = { kind: 3, offset: 1, size: 1, sha256: Buffer.alloc(32), unreadable: 'permission denied' };
    return [
      `the ${field} of a log`,
      (proof) => ({ ...proof, announcements: proof.announcements.map((log) => ({ ...log, [field]: other[field] })) }),
    ];
  }),
];

describe('the completion of an enrolment', () => {
  it('makes the host, keeps its logs and proves the service to it', async () => {
    const { challenge, transcript, tls } = await beginEnrollment(house, tpm, ak);
    const proof = answerEnrollment(tpm, ak, challenge, { transcript, logs: [boot] });
    const enrolled = await finishEnrollment(house, proof, { tls, logs: [boot] });
    const { host } = enrolled;
    expect(host).toMatchObject({
      state: 'active',
      admission: 'certificate',
      tlsKeySha256: tls.sha256.toString('hex'),
      banksProven: true,
      claimed: FACTS,
      findings: [],
      akGeneration: 1,
      ak: { name: ak.name.toString('hex'), qualifiedName: ak.qualifiedName.toString('hex') },
    });
    expect(host.eks.map(({ algorithm, certified, manufacturer }) => [algorithm, certified, manufacturer])).toEqual([
      ['ECC P-384', true, 'IFX'],
      ['RSA-2048', true, 'IFX'],
    ]);
    expect(host.banks.map(({ algorithm }) => algorithm)).toEqual([TPM_ALG_SHA256, TPM_ALG_SHA384]);
    expect(Buffer.from(await house.store.readLog(host.id, 'boot', 0, 10_000))).toEqual(boot.data);

    const secrets = challenge.credentials.map((credential, index) => tpm.activate(ak, index, credential));
    const digest = enrollmentOutcomeDigest({
      transcript,
      proofMac: proof.hmac,
      hostId: host.id,
      state: 2,
      replacementPending: false,
      akCertificate: enrolled.akCertificate,
      clientCertificate: enrolled.clientCertificate,
    });
    expect(enrolled.hmac).toEqual(enrollmentOutcomeMac(enrollmentKey(secrets, transcript), digest));
    const service = new X509Certificate(house.keys.current.serviceIdentity.certificate).publicKey;
    expect(verify('sha256', digest, service, enrolled.signature)).toBe(true);
    await house.store.deleteHost(host.id, OPERATOR);
  });

  it('issues a client certificate for the TLS key and an AK certificate for the AK', async () => {
    const { host, tls, clientCertificate, akCertificate } = await enroll(house, tpm, ak);
    const { certificate: authority } = house.keys.current.authority;
    const now = new Date(house.store.now());
    const client = verifyLeaf(clientCertificate, { authority, profile: 'client', now });
    expect(client.identity).toMatchObject({ kind: 'host', host: host.id });
    const key = new X509Certificate(clientCertificate).publicKey.export({ type: 'spki', format: 'der' });
    expect(createHash('sha256').update(key).digest()).toEqual(tls.sha256);
    const leaf = verifyLeaf(akCertificate, { authority, profile: 'ak', now });
    expect(leaf.identity).toMatchObject({ kind: 'host', host: host.id });
    expect(new X509Certificate(akCertificate).keyUsage).toEqual([EXTENDED_KEY_USAGE.ak]);
    expect(host.ak.certificate).toBe(akCertificate.toString('hex'));
    await house.store.deleteHost(host.id, OPERATOR);
  });

  it.each(BREAK_THE_HMAC)(
    'is refused with another %s than the HMAC covers, and stores nothing',
    async (_name, change) => {
      const before = await dump(house.store);
      await expect(enroll(house, tpm, ak, { logs: [boot], change })).rejects.toMatchObject({
        code: 'ENROLLMENT_PROOF_INVALID',
      });
      expect(await dump(house.store)).toEqual(before);
    },
  );
});

/** A proof whose HMAC is right for what it holds: the host itself lies. */
const resigned =
  (change: (proof: EnrollmentProof) => EnrollmentProof, transcript: Buffer): Tamper =>
  (proof) => {
    const lying = change(proof);
    const { secrets } = openState(proof.token, house.keys.current.tokenMasters);
    return { ...lying, hmac: macOf(lying, enrollmentKey(secrets, transcript), transcript) };
  };

async function codeOf(act: Promise<unknown>): Promise<string> {
  const error: unknown = await act.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof Error && 'code' in error
    ? `${String(error.code)} ${error.message}`
    : `ended ${String(error)}`;
}

describe('a host that lies under its own HMAC', () => {
  const hiding = (truth: QuoteFields): QuoteFields => {
    const pcrSelect = [makePcrSelection(TPM_ALG_SHA256, [0, 1, 2])];
    return { ...truth, attested: { pcrSelect, pcrDigest: digestOf(ak, pcrSelect, tpm.pcrs) } };
  };
  it.each<[string, Parameters<typeof enroll>[3], RegExp]>([
    ['another magic', { lie: (truth) => ({ ...truth, magic: 1 }) }, /^ENROLLMENT_EVIDENCE_REFUSED ATTEST_MAGIC_WRONG/],
    [
      'another extraData',
      { lie: (truth) => ({ ...truth, extraData: Buffer.alloc(32) }) },
      /^ENROLLMENT_EVIDENCE_REFUSED EXTRA_DATA_MISMATCH/,
    ],
    [
      'the qualified name under its other EK',
      { lie: (truth) => ({ ...truth, qualifiedSigner: tpm.adopt(ak, 0).qualifiedName }) },
      /^ENROLLMENT_EVIDENCE_REFUSED QUALIFIED_SIGNER_MISMATCH/,
    ],
    ['a quote over fewer PCRs', { lie: hiding }, /^ENROLLMENT_EVIDENCE_REFUSED PCR_SELECTION_MISMATCH/],
    ['a PCR that moved after the quote', { afterQuote: () => tpm.extend(16) }, /^ENROLLMENT_EVIDENCE_TORN/],
  ])('by %s is refused, and nothing is stored', async (_name, options, code) => {
    const before = await dump(house.store);
    expect(await codeOf(enroll(house, tpm, ak, options ?? {}))).toMatch(code);
    expect(await dump(house.store)).toEqual(before);
  });

  it('by a quote that another AK signed is refused', async () => {
    const { challenge, transcript, tls } = await beginEnrollment(house, tpm, ak);
    const proof = answerEnrollment(tpm, ak, challenge, { transcript });
    const other = answerEnrollment(tpm, tpm.createAk('ecdsa', 1), { ...challenge, credentials: [] }, { transcript });
    const forged = resigned(() => ({ ...proof, attest: other.attest, signature: other.signature }), transcript)(proof);
    expect(await codeOf(finishEnrollment(house, forged, { tls }))).toMatch(/SIGNATURE_INVALID/);
  });

  it('by a proof of its banks that does not hold is enrolled, its banks unproven', async () => {
    const { host } = await enroll(house, tpm, ak, { bankLie: (truth) => ({ ...truth, extraData: Buffer.alloc(32) }) });
    expect(host.banksProven).toBe(false);
    await house.store.deleteHost(host.id, OPERATOR);
  });
});

describe('the logs of an enrolment', () => {
  const cases: readonly (readonly [string, { readonly announced: Buffer; readonly sent: Buffer }, string])[] = [
    ['that do not come', { announced: boot.data, sent: Buffer.alloc(0) }, 'LOG_INCOMPLETE'],
    ['that end too early', { announced: boot.data, sent: boot.data.subarray(0, 100) }, 'LOG_INCOMPLETE'],
    ['that are others than announced', { announced: boot.data, sent: flipped(boot.data) }, 'LOG_DIGEST_MISMATCH'],
  ];
  it.each(cases)('%s are refused, and nothing is stored', async (_name, { announced, sent }, code) => {
    const before = await dump(house.store);
    const { challenge, transcript, tls } = await beginEnrollment(house, tpm, ak);
    const proof = answerEnrollment(tpm, ak, challenge, { transcript, logs: [{ kind: 'boot', data: announced }] });
    const completing = finishEnrollment(house, proof, { tls, logs: [{ kind: 'boot', data: sent }] });
    await expect(completing).rejects.toMatchObject({ code });
    expect(await dump(house.store)).toEqual(before);
  });

  it('are not asked for before the proof holds', async () => {
    const { challenge, transcript, tls } = await beginEnrollment(house, tpm, ak);
    const proof = answerEnrollment(tpm, ak, challenge, { transcript, logs: [boot] });
    const forged = { ...proof, hmac: randomBytes(32) };
    expect(await codeOf(finishEnrollment(house, forged, { tls, logs: [] }))).toMatch(/^ENROLLMENT_PROOF_INVALID/);
  });

  it('that cannot be read are remembered as such', async () => {
    const { challenge, transcript, tls } = await beginEnrollment(house, tpm, ak);
    const unreadable = { ...announce({ kind: 'ima', data: Buffer.alloc(0) }), unreadable: 'permission denied' };
    const proof = answerEnrollment(tpm, ak, challenge, { transcript });
    const told = resigned(
      (each) => ({ ...each, logs: [unreadable], announcements: [announcementOf(unreadable)] }),
      transcript,
    )(proof);
    const { host } = await finishEnrollment(house, told, { tls });
    expect(await house.store.logStates(host.id)).toEqual([{ kind: 'ima', size: 0, unreadable: 'permission denied' }]);
    await house.store.deleteHost(host.id, OPERATOR);
  });
});

describe('a token', () => {
  it('is refused with any one byte changed', async () => {
    const { challenge, transcript, tls } = await beginEnrollment(house, tpm, ak);
    const proof = answerEnrollment(tpm, ak, challenge, { transcript });
    const step = Math.max(1, Math.floor(challenge.token.length / 60));
    for (let at = 0; at < challenge.token.length; at += at < 40 ? 1 : step) {
      const token = Buffer.from(challenge.token);
      token.writeUInt8(token.readUInt8(at) ^ 0x20, at);
      expect(await codeOf(finishEnrollment(house, { ...proof, token }, { tls })), `byte ${at}`).toMatch(
        /^ENROLLMENT_TOKEN_INVALID/,
      );
    }
  });

  it.each([
    ['nothing', () => Buffer.alloc(0)],
    ['random bytes', () => randomBytes(300)],
    ['its first half', (token: Buffer) => token.subarray(0, token.length >> 1)],
    ['itself and a byte more', (token: Buffer) => Buffer.concat([token, Buffer.from([0])])],
    ['300 KiB', () => Buffer.alloc(300 * 1024, 1)],
  ])('is refused where it is %s', async (_name, change) => {
    const { challenge, transcript, tls } = await beginEnrollment(house, tpm, ak);
    const proof = answerEnrollment(tpm, ak, challenge, { transcript });
    expect(await codeOf(finishEnrollment(house, { ...proof, token: change(challenge.token) }, { tls }))).toMatch(
      /^ENROLLMENT_TOKEN_INVALID/,
    );
  });

  it('of another enrolment opens nothing: the secrets are others', async () => {
    const one = await beginEnrollment(house, tpm, ak);
    const two = await beginEnrollment(house, tpm, ak, { tls: one.tls });
    const proof = answerEnrollment(tpm, ak, one.challenge, { transcript: one.transcript });
    const crossed = { ...proof, token: two.challenge.token };
    expect(await codeOf(finishEnrollment(house, crossed, { tls: one.tls }))).toMatch(/^ENROLLMENT_PROOF_INVALID/);
  });

  it('is good for its TLS key alone', async () => {
    const other = makeTlsKey();
    expect(await codeOf(enroll(house, tpm, ak, { completeTls: other }))).toMatch(/^TLS_KEY_MISMATCH/);
    const { challenge, transcript } = await beginEnrollment(house, tpm, ak);
    const proof = answerEnrollment(tpm, ak, challenge, { transcript });
    const none = { sha256: null, spki: null } as unknown as typeof other;
    expect(await codeOf(finishEnrollment(house, proof, { tls: none }))).toMatch(/^TLS_KEY_MISSING/);
  });

  it('is good until it expires, by the clock of the store', async () => {
    const late = await beginEnrollment(house, tpm, ak);
    const proof = answerEnrollment(tpm, ak, late.challenge, { transcript: late.transcript });
    house.clock.advance(60_000);
    expect(await codeOf(finishEnrollment(house, proof, { tls: late.tls }))).toMatch(/^ENROLLMENT_EXPIRED/);
    const intime = await beginEnrollment(house, tpm, ak);
    const good = answerEnrollment(tpm, ak, intime.challenge, { transcript: intime.transcript });
    house.clock.advance(59_999);
    const { host } = await finishEnrollment(house, good, { tls: intime.tls });
    await house.store.deleteHost(host.id, OPERATOR);
  });

  it('is good once, also when both come at the same time', async () => {
    const { challenge, transcript, tls } = await beginEnrollment(house, tpm, ak);
    const proof = answerEnrollment(tpm, ak, challenge, { transcript });
    const both = await Promise.allSettled([
      finishEnrollment(house, proof, { tls }),
      finishEnrollment(house, proof, { tls }),
    ]);
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(await codeOf(finishEnrollment(house, proof, { tls }))).toMatch(/^ENROLLMENT_USED/);
    const before = await dump(house.store);
    house.clock.advance(30_000);
    expect(await codeOf(finishEnrollment(house, proof, { tls }))).toMatch(/^ENROLLMENT_USED/);
    expect(await dump(house.store)).toEqual(before);
    const [host] = (await house.store.listHosts({ limit: 1, after: '' }, { states: [], matchLabels: {}, scope: {} }))
      .items;
    await house.store.deleteHost(host?.id ?? '', OPERATOR);
    expect(await codeOf(finishEnrollment(house, proof, { tls }))).toMatch(/^ENROLLMENT_USED/);
  });
});
