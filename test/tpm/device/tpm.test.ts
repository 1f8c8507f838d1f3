import { X509Certificate, randomBytes } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { makeCredential } from '../../../tpm/crypto/make-credential.ts';
import { childQualifiedName, objectName, primaryQualifiedName } from '../../../tpm/crypto/name.ts';
import { extendPcr, provePcrValues } from '../../../tpm/crypto/pcr.ts';
import { subjectPublicKeyInfo } from '../../../tpm/crypto/public-key.ts';
import { proveAssignedPcrs } from '../../../tpm/crypto/session-audit.ts';
import { signingKeyOf, verifySignature } from '../../../tpm/crypto/verify-signature.ts';
import { listHandles } from '../../../tpm/device/capability.ts';
import type { EndorsementKey } from '../../../tpm/device/endorsement-key.ts';
import type { PcrReading } from '../../../tpm/device/pcr.ts';
import type { AkAlgorithm } from '../../../tpm/device/templates.ts';
import { type Ak, Tpm } from '../../../tpm/device/tpm.ts';
import { Tss } from '../../../tpm/device/tss.ts';
import { decodeAttest } from '../../../tpm/structures/attest.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';
import { attributeNames } from '../../../tpm/structures/object-attributes.ts';
import {
  type PcrBankSelection,
  comparePcrSelections,
  makePcrSelection,
} from '../../../tpm/structures/pcr-selection.ts';
import { decodePublicArea, decodeSizedPublicArea } from '../../../tpm/structures/public-area.ts';
import { decodeSignature } from '../../../tpm/structures/signature.ts';
import { type Swtpm, startSwtpm } from '../../support/swtpm.ts';

const ALL_PCRS = Array.from({ length: 24 }, (_, index) => index);
const SELECTION: readonly PcrBankSelection[] = [
  { hash: TPM_ALG_SHA1, pcrs: [0, 7] },
  { hash: TPM_ALG_SHA256, pcrs: ALL_PCRS },
];

let swtpm: Swtpm;
let tpm: Tpm;
let eks: readonly EndorsementKey[];

beforeAll(async () => {
  swtpm = await startSwtpm({ banks: 'sha1,sha256' });
  tpm = await Tpm.open({ tcti: swtpm.tcti });
  eks = await tpm.endorsementKeys();
});

afterAll(async () => {
  await tpm?.close();
  await swtpm?.stop();
});

function ekOf(template: string): EndorsementKey {
  const ek = eks.find((candidate) => candidate.template === template);
  if (ek === undefined) throw new Error(`no endorsement key ${template}`);
  return ek;
}

async function withAk<T>(template: string, algorithm: AkAlgorithm, use: (ak: Ak) => Promise<T>): Promise<T> {
  const ek = ekOf(template);
  const ak = await tpm.loadAk(ek, await tpm.createAk(ek, { algorithm }));
  try {
    return await use(ak);
  } finally {
    await ak.flush();
  }
}

function byBank(readings: readonly PcrReading[]): Map<number, Map<number, Buffer>> {
  const banks = new Map<number, Map<number, Buffer>>();
  for (const { hash, index, value } of readings) {
    banks.set(hash, (banks.get(hash) ?? new Map<number, Buffer>()).set(index, value));
  }
  return banks;
}

/** Transient objects, HMAC sessions and policy sessions that are in the TPM, over a connection of its own. */
async function loadedHandles(): Promise<readonly number[]> {
  const tss = await Tss.open(swtpm.tcti);
  try {
    const ranges = [0x80000000, 0x02000000, 0x03000000];
    const listed = ranges.map((first) => tss.exclusively(() => listHandles(tss, first, first + 0xffffff)));
    return (await Promise.all(listed)).flat();
  } finally {
    await tss.close();
  }
}

function valueOf(readings: readonly PcrReading[], hash: number): Buffer {
  const reading = readings.find((candidate) => candidate.hash === hash);
  if (reading === undefined) throw new Error(`no value in bank ${hash}`);
  return reading.value;
}

describe('what a TPM says of itself', () => {
  it('tells manufacturer, model and firmware version', async () => {
    const properties = await tpm.properties();

    expect(properties.manufacturer).toBe('IBM');
    expect(properties.vendorString).toBe('SW TPM');
    expect(properties.firmwareVersion >> 32n).toBe(0x20191023n);
  });

  it('tells active banks and those that are implemented only', async () => {
    const banks = await tpm.pcrBanks();

    expect(banks.find(({ hash }) => hash === TPM_ALG_SHA1)?.pcrs).toEqual(ALL_PCRS);
    expect(banks.find(({ hash }) => hash === TPM_ALG_SHA256)?.pcrs).toEqual(ALL_PCRS);
    expect(banks.find(({ hash }) => hash === TPM_ALG_SHA384)?.pcrs).toEqual([]);
  });

  it('has a clock that runs and counts resets', async () => {
    const first = await tpm.clock();
    const second = await tpm.clock();

    expect(first.resetCount).toBeGreaterThan(0);
    expect(second.resetCount).toBe(first.resetCount);
    expect(second.clock).toBeGreaterThanOrEqual(first.clock);
  });
});

describe.each([
  { template: 'L-1', algorithm: 'ecdsa-p256-sha256' },
  { template: 'L-1', algorithm: 'rsassa-2048-sha256' },
  { template: 'H-3', algorithm: 'ecdsa-p256-sha256' },
  { template: 'H-3', algorithm: 'rsassa-2048-sha256' },
] as const)('an $algorithm attestation key under the endorsement key $template', ({ template, algorithm }) => {
  it('is restricted, signs, and was made by the TPM for itself', async () => {
    const created = await tpm.createAk(ekOf(template), { algorithm });
    const publicArea = decodePublicArea(created.publicArea);

    expect(decodeSizedPublicArea(created.publicBlob).raw).toEqual(created.publicArea);
    expect(attributeNames(publicArea.objectAttributes)).toEqual([
      'fixedTPM',
      'fixedParent',
      'sensitiveDataOrigin',
      'userWithAuth',
      'noDA',
      'restricted',
      'sign',
    ]);
  });

  it('opens the credential that was made for it', async () => {
    await withAk(template, algorithm, async (ak) => {
      const secret = randomBytes(32);
      const ek = decodePublicArea(ekOf(template).publicArea);
      const akName = objectName(ak.publicArea);
      const credential = makeCredential({ ek, akName }, secret, { random: randomBytes });

      expect(await tpm.activateCredential(ekOf(template), ak, credential)).toEqual(secret);
    });
  });

  it('does not open a credential for another name', async () => {
    await withAk(template, algorithm, async (ak) => {
      const ek = decodePublicArea(ekOf(template).publicArea);
      const akName = Buffer.from(ak.name);
      akName[5] = (akName[5] ?? 0) ^ 1;
      const credential = makeCredential({ ek, akName }, randomBytes(32), { random: randomBytes });

      await expect(tpm.activateCredential(ekOf(template), ak, credential)).rejects.toMatchObject({
        code: 'REFUSED',
        response: { layer: 'tpm', name: 'INTEGRITY' },
      });
    });
  });

  it('has the names that its ancestry gives it', async () => {
    await withAk(template, algorithm, async (ak) => {
      const ek = decodePublicArea(ekOf(template).publicArea);

      expect(ak.name).toEqual(objectName(ak.publicArea));
      expect(ak.qualifiedName).toEqual(childQualifiedName(ak.publicArea, primaryQualifiedName(ek)));
    });
  });

  it('signs quotes whose values are the ones that are read', async () => {
    await withAk(template, algorithm, async (ak) => {
      const qualifyingData = randomBytes(32);
      const { attest, signature } = await tpm.quote(ak, { qualifyingData, selection: SELECTION });
      const readings = await tpm.pcrRead(SELECTION);

      verifySignature(signingKeyOf(ak.publicArea), attest, decodeSignature(signature));
      const quoted = decodeAttest(attest);
      if (quoted.kind !== 'quote') throw new Error(`a quote is no ${quoted.kind}`);
      expect(quoted.extraData).toEqual(qualifyingData);
      expect(quoted.qualifiedSigner).toEqual(ak.qualifiedName);
      const asked = SELECTION.map(({ hash, pcrs }) => makePcrSelection(hash, pcrs));
      expect(comparePcrSelections(asked, quoted.attested.pcrSelect)).toEqual([]);
      expect(provePcrValues(quoted.attested, byBank(readings), TPM_ALG_SHA256).size).toBe(2);
    });
  });

  it('proves which banks are active', async () => {
    await withAk(template, algorithm, async (ak) => {
      const qualifyingData = randomBytes(32);
      const proof = await tpm.proveBanks(ak, qualifyingData);

      verifySignature(signingKeyOf(ak.publicArea), proof.attest, decodeSignature(proof.signature));
      const audited = decodeAttest(proof.attest);
      if (audited.kind !== 'sessionAudit') throw new Error(`a session audit is no ${audited.kind}`);
      expect(audited.extraData).toEqual(qualifyingData);
      expect(audited.qualifiedSigner).toEqual(ak.qualifiedName);
      const proven = proveAssignedPcrs(audited, proof, proof.sessionHash);
      const active = proven.filter(({ pcrSelect }) => pcrSelect.some((byte) => byte !== 0));
      expect(active.map(({ hash }) => hash)).toEqual([TPM_ALG_SHA1, TPM_ALG_SHA256]);
    });
  });
});

describe('endorsement keys', () => {
  it('are those with a certificate or a persistent handle', () => {
    expect(eks.map(({ template, location }) => [template, location])).toEqual([
      ['L-1', { kind: 'persistent', handle: 0x81010001 }],
      ['H-3', { kind: 'persistent', handle: 0x81010016 }],
    ]);
  });

  it.each(['L-1', 'H-3'])('have a certificate for their own key, of the CA of this TPM: %s', (template) => {
    const { certificate, publicArea } = ekOf(template);
    const parsed = new X509Certificate(certificate ?? Buffer.alloc(0));

    expect(parsed.publicKey.export({ type: 'spki', format: 'der' })).toEqual(
      subjectPublicKeyInfo(decodePublicArea(publicArea)),
    );
    const issuer = new X509Certificate(swtpm.caCertificates[0]?.pem ?? '');
    expect(parsed.verify(issuer.publicKey)).toBe(true);
  });
});

describe('PCRs', () => {
  it('change by an extend in every bank that has a digest', async () => {
    const selection = [TPM_ALG_SHA1, TPM_ALG_SHA256].map((hash) => ({ hash, pcrs: [16] }));
    const before = await tpm.pcrRead(selection);
    const sha1 = randomBytes(20);
    const sha256 = randomBytes(32);

    await tpm.pcrExtend(16, [
      { hash: TPM_ALG_SHA1, digest: sha1 },
      { hash: TPM_ALG_SHA256, digest: sha256 },
    ]);

    const after = await tpm.pcrRead(selection);
    expect(valueOf(after, TPM_ALG_SHA1)).toEqual(extendPcr(TPM_ALG_SHA1, valueOf(before, TPM_ALG_SHA1), sha1));
    expect(valueOf(after, TPM_ALG_SHA256)).toEqual(extendPcr(TPM_ALG_SHA256, valueOf(before, TPM_ALG_SHA256), sha256));
  });

  it('are read in the order asked, beyond the eight of one answer', async () => {
    const readings = await tpm.pcrRead([
      { hash: TPM_ALG_SHA256, pcrs: ALL_PCRS.toReversed() },
      { hash: TPM_ALG_SHA1, pcrs: [23] },
    ]);

    expect(readings.map(({ hash, index }) => [hash, index])).toEqual([
      ...ALL_PCRS.map((index) => [TPM_ALG_SHA256, index]),
      [TPM_ALG_SHA1, 23],
    ]);
  });

  it('of a bank that is not active are left out', async () => {
    expect(await tpm.pcrRead([{ hash: TPM_ALG_SHA384, pcrs: [0] }])).toEqual([]);
    expect(await tpm.pcrRead([])).toEqual([]);
  });

  it.each([
    { index: 24, digests: [{ hash: TPM_ALG_SHA256, digest: Buffer.alloc(32) }], code: 'REFUSED' },
    { index: 16, digests: [{ hash: 0x12, digest: Buffer.alloc(32) }], code: 'REFUSED' },
  ])('are not extended where the TPM has none: %o', async ({ index, digests, code }) => {
    await expect(tpm.pcrExtend(index, digests)).rejects.toMatchObject({ code });
  });

  it.each([
    { index: -1, digests: [] },
    { index: 32, digests: [] },
    { index: 1.5, digests: [] },
    { index: 16, digests: [{ hash: TPM_ALG_SHA256, digest: Buffer.alloc(31) }] },
  ])('are not extended by what cannot be: %o', async ({ index, digests }) => {
    await expect(tpm.pcrExtend(index, digests)).rejects.toThrow(TypeError);
  });
});

describe('many operations', () => {
  it('may be asked for at once and run one after the other', async () => {
    await withAk('L-1', 'ecdsa-p256-sha256', async (ak) => {
      const results = await Promise.all(
        Array.from({ length: 8 }, async (_, index) => {
          if (index % 4 === 1) return (await tpm.pcrRead(SELECTION)).length;
          if (index % 4 === 2) return (await tpm.createAk(ekOf('H-3'))).publicArea.length;
          if (index % 4 === 3) return (await tpm.proveBanks(ak, randomBytes(8))).attest.length;
          return (await tpm.quote(ak, { qualifyingData: randomBytes(8), selection: SELECTION })).attest.length;
        }),
      );

      expect(results.every((length) => length > 0)).toBe(true);
    });
  });

  it('leave nothing loaded: 500 quotes, 20 keys, and 20 activations that fail, with three slots', async () => {
    await withAk('H-3', 'ecdsa-p256-sha256', async (ak) => {
      for (let index = 0; index < 500; index += 1) {
        await tpm.quote(ak, { qualifyingData: randomBytes(32), selection: SELECTION });
      }
    });
    for (let index = 0; index < 20; index += 1) {
      await withAk('L-1', 'ecdsa-p256-sha256', async (ak) => {
        const bad = { credentialBlob: Buffer.alloc(2), encryptedSecret: Buffer.alloc(2) };
        await expect(tpm.activateCredential(ekOf('L-1'), ak, bad)).rejects.toMatchObject({ code: 'REFUSED' });
        await tpm.proveBanks(ak, randomBytes(8));
      });
    }
    expect(await loadedHandles()).toEqual([]);
  });

  it('say that the TPM is busy when its slots are full', async () => {
    const ek = ekOf('L-1');
    const created = await tpm.createAk(ek);
    // Three slots, one of which the TPM itself needs for the persistent parent.
    const loaded = await Promise.all([1, 2].map(() => tpm.loadAk(ek, created)));
    try {
      await expect(tpm.loadAk(ek, created)).rejects.toMatchObject({
        code: 'BUSY',
        response: { name: 'OBJECT_MEMORY' },
      });
    } finally {
      await Promise.all(loaded.map((ak) => ak.flush()));
    }
  });
});
