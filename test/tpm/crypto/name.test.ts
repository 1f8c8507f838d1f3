import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { digest } from '../../../tpm/crypto/digest.ts';
import { childQualifiedName, objectName, primaryQualifiedName } from '../../../tpm/crypto/name.ts';
import {
  TPM_ALG_NULL,
  TPM_ALG_SHA256,
  TPM_ALG_SHA384,
  TPM_ECC_NIST_P256,
  TPM_RH_OWNER,
} from '../../../tpm/structures/constants.ts';
import { decodeSizedPublicArea } from '../../../tpm/structures/public-area.ts';
import { conformancePath } from '../../support/data.ts';
import { makeAk, makeEk } from '../../support/tpm-keys.ts';

const keylime = (file: string) => readFileSync(conformancePath('keylime+keylime', 'test-data', 'files', file));

// Public areas of real Intel TPMs (tpm2-tools, BSD-3-Clause), names computed there.
const intel = JSON.parse(readFileSync(conformancePath('derived', 'tpm2-tools-intel-ek-publics.json'), 'utf8')) as {
  readonly eks: readonly { readonly tpm2bPublicHex: string; readonly nameHex: string; readonly type: string }[];
};

describe('objectName', () => {
  it('is the name that the TPM gave keylime’s attestation key', () => {
    expect(objectName(decodeSizedPublicArea(keylime('ak.pub')))).toEqual(keylime('ak.name'));
  });

  it.each(intel.eks)('is the known name of the Intel $type EK', ({ tpm2bPublicHex, nameHex }) => {
    expect(objectName(decodeSizedPublicArea(Buffer.from(tpm2bPublicHex, 'hex'))).toString('hex')).toBe(nameHex);
  });

  it('does not exist without a nameAlg', () => {
    const { publicArea } = makeEk({ curveID: TPM_ECC_NIST_P256 }, { nameAlg: TPM_ALG_SHA256, aesBits: 128 });
    expect(() => objectName({ ...publicArea, nameAlg: TPM_ALG_NULL })).toThrow(
      expect.objectContaining({ code: 'UNSUPPORTED_HASH' }),
    );
  });
});

describe('qualified name', () => {
  const ek = makeEk({ curveID: TPM_ECC_NIST_P256 }, { nameAlg: TPM_ALG_SHA384, aesBits: 256 }).publicArea;
  const ak = makeAk({ curveID: TPM_ECC_NIST_P256 }, { hashAlg: TPM_ALG_SHA256 }).publicArea;
  const prefixed = (alg: string, bytes: Buffer) => Buffer.concat([Buffer.from(alg, 'hex'), bytes]);
  const ekQualified = prefixed('000c', digest(TPM_ALG_SHA384, Buffer.from('4000000b', 'hex'), objectName(ek)));

  it('of a primary hashes the handle of the endorsement hierarchy', () => {
    expect(primaryQualifiedName(ek)).toEqual(ekQualified);
  });

  it('of a child hashes the parent’s qualified name with the child’s own hash', () => {
    const expected = prefixed('000b', digest(TPM_ALG_SHA256, ekQualified, objectName(ak)));
    expect(childQualifiedName(ak, primaryQualifiedName(ek))).toEqual(expected);
  });

  it('tells hierarchies, primaries and children apart', () => {
    const names = [
      primaryQualifiedName(ak),
      primaryQualifiedName(ak, TPM_RH_OWNER),
      childQualifiedName(ak, primaryQualifiedName(ek)),
      childQualifiedName(ak, primaryQualifiedName(ek, TPM_RH_OWNER)),
    ];
    expect(new Set(names.map((name) => name.toString('hex'))).size).toBe(4);
  });
});
