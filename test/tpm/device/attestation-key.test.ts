import { randomBytes } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { CreatedAk } from '../../../tpm/device/attestation-key.ts';
import type { EndorsementKey } from '../../../tpm/device/endorsement-key.ts';
import { type Ak, Tpm } from '../../../tpm/device/tpm.ts';
import { TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { type Swtpm, startSwtpm } from '../../support/swtpm.ts';

const SELECTION = [{ hash: TPM_ALG_SHA256, pcrs: [0, 1, 2] }];

let swtpm: Swtpm;
let tpm: Tpm;
let ek: EndorsementKey;
let created: CreatedAk;
let ak: Ak;

beforeAll(async () => {
  swtpm = await startSwtpm();
  tpm = await Tpm.open({ tcti: swtpm.tcti });
  const [first] = await tpm.endorsementKeys();
  if (first === undefined) throw new Error('no endorsement key');
  ek = first;
  created = await tpm.createAk(ek);
  ak = await tpm.loadAk(ek, created);
});

afterAll(async () => {
  await tpm?.close();
  await swtpm?.stop();
});

describe('bytes that are no TPM structures', () => {
  it.each([
    { what: 'nothing', bytes: Buffer.alloc(0), codes: ['MALFORMED'] },
    { what: 'one byte', bytes: Buffer.alloc(1), codes: ['MALFORMED'] },
    { what: 'a size beyond the end', bytes: Buffer.from('ffff00', 'hex'), codes: ['MALFORMED'] },
    { what: 'an empty structure', bytes: Buffer.alloc(2), codes: ['MALFORMED', 'REFUSED'] },
    { what: 'trailing bytes', bytes: Buffer.from('000400000000ff', 'hex'), codes: ['MALFORMED'] },
    { what: 'more than any buffer', bytes: Buffer.alloc(70_000, 0x41), codes: ['MALFORMED'] },
    { what: 'a long string of zeros', bytes: Buffer.alloc(9_000), codes: ['MALFORMED'] },
  ])('are refused before or by the TPM: $what', async ({ bytes, codes }) => {
    const code = expect.stringMatching(new RegExp(`^(${codes.join('|')})$`));

    await expect(tpm.loadAk(ek, { ...created, publicBlob: bytes })).rejects.toMatchObject({ code });
    await expect(tpm.loadAk(ek, { ...created, privateBlob: bytes })).rejects.toMatchObject({ code });
    await expect(
      tpm.activateCredential(ek, ak, { credentialBlob: bytes, encryptedSecret: bytes }),
    ).rejects.toMatchObject({ code });
    await tpm.quote(ak, { qualifyingData: randomBytes(32), selection: SELECTION });
  });

  it('are refused as a private blob that was tampered with', async () => {
    for (const offset of [4, 40, created.privateBlob.length - 1]) {
      const privateBlob = Buffer.from(created.privateBlob);
      privateBlob[offset] = (privateBlob[offset] ?? 0) ^ 1;
      await expect(tpm.loadAk(ek, { ...created, privateBlob })).rejects.toMatchObject({
        code: 'REFUSED',
        response: { name: 'INTEGRITY' },
      });
    }
  });

  it('are refused as qualifyingData longer than a digest', async () => {
    await tpm.quote(ak, { qualifyingData: randomBytes(64), selection: SELECTION });
    await expect(tpm.quote(ak, { qualifyingData: randomBytes(65), selection: SELECTION })).rejects.toMatchObject({
      code: 'MALFORMED',
    });
  });
});
