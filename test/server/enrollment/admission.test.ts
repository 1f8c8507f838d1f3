import { describe, expect, it } from 'vitest';

import { ekFingerprint } from '../../../tpm/endorsement/ek-fingerprint.ts';
import type { Admission } from '../../../server/store/records.ts';
import { answerEnrollment } from '../../support/evidence-builder.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import {
  beginEnrollment,
  dump,
  ekCertificate,
  enroll,
  finishEnrollment,
  importAnchors,
  importRevocationList,
  openHouse,
  OPERATOR,
} from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import { testKey } from '../../support/test-ca.ts';
import { day, revocationList } from '../../support/test-ek-pki.ts';

const CERTIFIED = 'every EK certified';
const HALF = 'one of two EKs certified';
const NONE = 'no EK certified';
const UNKNOWN = 'certificates of an unknown CA';
const FORGED = 'a certificate of another key';

/** Certificates of a TPM with two EKs. */
function certificates(tpm: SoftwareTpm, kind: string): readonly (Buffer | undefined)[] {
  const good = [ekCertificate(tpm, 0), ekCertificate(tpm, 1)];
  const stranger = testKey('P-384', 'stranger').privateKey;
  switch (kind) {
    case HALF:
      return [good[0], undefined];
    case NONE:
      return [undefined, undefined];
    case UNKNOWN:
      return [ekCertificate(tpm, 0, { signer: stranger }), ekCertificate(tpm, 1, { signer: stranger })];
    case FORGED:
      return [good[0], ekCertificate(new SoftwareTpm())];
    default:
      return good;
  }
}

async function register(house: House, tpm: SoftwareTpm, indices: readonly number[]): Promise<void> {
  const entries = indices.map((index) => ({
    fingerprint: ekFingerprint(tpm.ekSpki(index)),
    group: 'rack 1',
    comment: '',
  }));
  if (entries.length > 0) await house.store.putInventory(entries, OPERATOR);
}

interface Row {
  readonly ways: readonly Admission[];
  readonly kind: string;
  /** EKs that are in the inventory. */
  readonly registered?: readonly number[];
  /** Admission and state, or the reason of the refusal. */
  readonly outcome: string;
}

const ROWS: readonly Row[] = [
  { ways: ['certificate'], kind: CERTIFIED, outcome: 'certificate active' },
  { ways: ['certificate'], kind: HALF, outcome: 'ADMISSION_DENIED' },
  { ways: ['certificate'], kind: NONE, outcome: 'ADMISSION_DENIED' },
  { ways: ['certificate'], kind: UNKNOWN, outcome: 'EK_CERT_SIGNATURE' },
  { ways: ['certificate'], kind: FORGED, outcome: 'EK_CERT_KEY_MISMATCH' },
  { ways: ['certificate'], kind: NONE, registered: [0, 1], outcome: 'ADMISSION_DENIED' },
  { ways: ['inventory'], kind: NONE, registered: [0, 1], outcome: 'inventory active' },
  { ways: ['inventory'], kind: CERTIFIED, outcome: 'ADMISSION_DENIED' },
  { ways: ['inventory'], kind: NONE, registered: [0], outcome: 'ADMISSION_DENIED' },
  { ways: ['inventory'], kind: UNKNOWN, registered: [0, 1], outcome: 'inventory active' },
  { ways: ['inventory'], kind: FORGED, registered: [0, 1], outcome: 'EK_CERT_KEY_MISMATCH' },
  { ways: ['approval'], kind: NONE, outcome: 'approval pending' },
  { ways: ['approval'], kind: CERTIFIED, outcome: 'approval pending' },
  { ways: ['approval'], kind: FORGED, outcome: 'EK_CERT_KEY_MISMATCH' },
  { ways: ['certificate', 'inventory'], kind: CERTIFIED, outcome: 'certificate active' },
  { ways: ['certificate', 'inventory'], kind: NONE, registered: [0, 1], outcome: 'inventory active' },
  { ways: ['certificate', 'inventory'], kind: HALF, registered: [1], outcome: 'ADMISSION_DENIED' },
  { ways: ['certificate', 'approval'], kind: HALF, outcome: 'approval pending' },
  { ways: ['certificate', 'approval'], kind: CERTIFIED, outcome: 'certificate active' },
  { ways: ['certificate', 'inventory', 'approval'], kind: UNKNOWN, outcome: 'approval pending' },
  { ways: ['certificate', 'inventory', 'approval'], kind: NONE, registered: [0, 1], outcome: 'inventory active' },
];

describe('admission', () => {
  it.each(ROWS)('by $ways with $kind and EKs $registered in the inventory: $outcome', async (row) => {
    await using house = await openHouse({ admission: row.ways });
    const tpm = new SoftwareTpm({ eks: ['p256', 'p384'] });
    await register(house, tpm, row.registered ?? []);
    const before = await dump(house.store);
    let outcome: string;
    try {
      const { host, akCertificate, clientCertificate } = await enroll(house, tpm, tpm.createAk(), {
        certificates: certificates(tpm, row.kind),
      });
      outcome = `${host.admission} ${host.state}`;
      expect(clientCertificate.length).toBeGreaterThan(0);
      expect(akCertificate.length > 0).toBe(host.state === 'active');
      expect(host.ak.certificate).toBe(akCertificate.toString('hex'));
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'EnrollmentError' || !('code' in error)) throw error;
      outcome = String(error.code);
      expect(await dump(house.store)).toEqual(before);
    }
    expect(outcome).toBe(row.outcome);
  });

  it('without any anchor tells that the CA is not known', async () => {
    await using house = await openHouse({ anchors: false });
    const tpm = new SoftwareTpm();
    await expect(enroll(house, tpm, tpm.createAk())).rejects.toMatchObject({ code: 'EK_CERT_UNKNOWN_CA' });
  });

  it('does not tell a stranger before the proof whether an EK is in the inventory', async () => {
    await using house = await openHouse({ admission: ['inventory'] });
    const tpm = new SoftwareTpm();
    const ak = tpm.createAk();
    const request = { publicArea: tpm.ek(0).publicArea.raw, certificate: Buffer.alloc(0), chain: [] };
    const challenge = await house.beginner.begin({
      eks: [request],
      akPublicArea: ak.publicArea.raw,
      parentIndex: 0,
      tlsKeySha256: Buffer.alloc(32),
    });
    expect(challenge.credentials).toHaveLength(1);
  });

  it.each<readonly Admission[]>([
    ['certificate'],
    ['inventory'],
    ['approval'],
    ['certificate', 'inventory', 'approval'],
  ])(
    'by %s refuses an EK whose certificate was revoked, before any credential, and stores nothing',
    async (...ways) => {
      await using house = await openHouse({ admission: ways });
      const tpm = new SoftwareTpm({ eks: ['p256', 'p384'] });
      await register(house, tpm, [0, 1]);
      await importRevocationList(house.store, revocationList(0x17));
      const before = await dump(house.store);
      const begun = beginEnrollment(house, tpm, tpm.createAk(), {
        certificates: [ekCertificate(tpm, 0, { serial: Buffer.from([0x18]) }), ekCertificate(tpm, 1)],
      });
      await expect(begun).rejects.toMatchObject({ code: 'EK_CERT_REVOKED' });
      expect(await dump(house.store)).toEqual(before);
    },
  );

  it('counts a revocation list that is imported between begin and completion', async () => {
    await using house = await openHouse({ admission: ['certificate', 'approval'] });
    const tpm = new SoftwareTpm();
    const ak = tpm.createAk();
    const { challenge, transcript, tls } = await beginEnrollment(house, tpm, ak);
    await importRevocationList(house.store, revocationList(0x17));
    const finished = finishEnrollment(house, answerEnrollment(tpm, ak, challenge, { transcript }), { tls });
    await expect(finished).rejects.toMatchObject({ code: 'EK_CERT_REVOKED' });
  });

  it('by a stale revocation list that does not name the certificate is told as a deviation', async () => {
    await using house = await openHouse();
    await importRevocationList(house.store, revocationList(0x18, { nextUpdate: day('2025-12-15') }));
    const tpm = new SoftwareTpm();
    const { host } = await enroll(house, tpm, tpm.createAk());
    expect(host.state).toBe('active');
    expect(host.eks.map(({ deviations }) => deviations)).toEqual([['CRL_STALE']]);
  });

  it('counts an anchor that is imported between begin and completion', async () => {
    await using house = await openHouse({ admission: ['certificate', 'approval'], anchors: false });
    const tpm = new SoftwareTpm();
    const ak = tpm.createAk();
    const { challenge, transcript, tls } = await beginEnrollment(house, tpm, ak);
    await importAnchors(house.store);
    const { host } = await finishEnrollment(house, answerEnrollment(tpm, ak, challenge, { transcript }), { tls });
    expect(host).toMatchObject({ admission: 'certificate', state: 'active' });
  });
});
