import { describe, expect, it } from 'vitest';

import { ChainReader } from '../../../tpm/endorsement/certificate-chain.ts';
import { PathSignatures } from '../../../tpm/endorsement/path-signatures.ts';
import { verifyEk } from '../../../tpm/endorsement/verify-ek.ts';
import { costlyEks } from '../../support/costly-chain.ts';
import { ext, testKey } from '../../support/test-ca.ts';
import {
  ekEvidence,
  ekExtensions,
  intermediateExtensions,
  intermediateName,
  makeEk,
  makeIntermediate,
} from '../../support/test-ek-pki.ts';

const mallory = testKey('P-384', 'mallory');
/** A CA that the root has not signed, under the name and key identifier of one that it has. */
const forged = (serial: number): Buffer =>
  makeIntermediate({ serial: Buffer.from([serial]), spki: mallory.spki, signer: mallory.privateKey });

describe('the signatures of a path', () => {
  it('are not verified at all where no anchor stands at its end, whatever the host brings', () => {
    const { tpm, eks } = costlyEks();
    const signatures = new PathSignatures();
    for (const [index, { certificate, chain }] of eks.entries()) {
      const spki = tpm.ekSpki(index);
      const verdict = verifyEk(ekEvidence({ spki, certificate, chain, intermediates: [], signatures }));
      expect(verdict).toMatchObject({ status: 'refused', code: 'EK_CERT_CHAIN_TOO_COMPLEX' });
    }
    expect(signatures.count).toBe(0);
  });

  it('are verified from the anchor down: of a chain that it did not sign, one is', () => {
    const signatures = new PathSignatures();
    const evidence = { certificate: makeEk({ signer: mallory.privateKey }), chain: [forged(0x30)], intermediates: [] };
    expect(verifyEk(ekEvidence({ ...evidence, signatures }))).toMatchObject({
      code: 'EK_CERT_SIGNATURE',
      detail: expect.stringContaining('under CN=') as string,
    });
    expect(signatures.count).toBe(1);
  });

  it('are verified once for all EKs that share them', () => {
    const signatures = new PathSignatures();
    const shared = ekEvidence({ signatures });
    for (let serial = 1; serial <= 8; serial += 1) {
      const certificate = makeEk({ serial: Buffer.from([serial]) });
      expect(verifyEk({ ...shared, certificate })).toMatchObject({ status: 'verified' });
    }
    expect(signatures.count).toBe(9);
  });

  it('are bounded for all EKs together', () => {
    const signatures = new PathSignatures(24);
    const codes = Array.from({ length: 8 }, (_, ek) => {
      const certificate = makeEk({ serial: Buffer.from([0x50 + ek]), signer: mallory.privateKey });
      const chain = Array.from({ length: 8 }, (_each, index) => forged(8 * ek + index + 1));
      const verdict = verifyEk(ekEvidence({ certificate, chain, intermediates: [], signatures }));
      return verdict.status === 'refused' ? verdict.code : verdict.status;
    });
    expect(codes).toEqual([
      ...Array.from({ length: 3 }, () => 'EK_CERT_SIGNATURE'),
      ...Array.from({ length: 5 }, () => 'EK_CERT_CHAIN_TOO_COMPLEX'),
    ]);
    expect(signatures.count).toBe(24);
  });

  it('prove a path beside others that do not hold', () => {
    const signatures = new PathSignatures();
    const chain = Array.from({ length: 7 }, (_, index) => forged(0x60 + index));
    expect(verifyEk(ekEvidence({ chain, signatures }))).toMatchObject({ status: 'verified' });
  });

  it('are not believed of a CA that vouches for itself under the name of the one that signed the EK', () => {
    const certificate = makeEk({
      signer: mallory.privateKey,
      extensions: ekExtensions({ aki: undefined }),
    });
    const self = makeIntermediate({
      issuer: intermediateName,
      spki: mallory.spki,
      signer: mallory.privateKey,
      extensions: [...intermediateExtensions.slice(0, 2), ext.ski('mallory')],
    });
    expect(verifyEk(ekEvidence({ certificate, chain: [self] }))).toMatchObject({ code: 'EK_CERT_SIGNATURE' });
  });
});

describe('the chains of EKs that are judged together', () => {
  it('are read once where they are the same, and so many in all', () => {
    const chains = new ChainReader(16);
    const shared = Array.from({ length: 8 }, (_, index) => forged(index + 1));
    const first = chains.read(shared);
    for (let ek = 1; ek < 8; ek += 1) expect(chains.read(shared).certificates[7]).toBe(first.certificates[7]);
    chains.read(Array.from({ length: 8 }, (_, index) => forged(index + 0x11)));
    expect(() => chains.read([forged(0x70)])).toThrow('too long together');
    expect(chains.read(shared).certificates).toHaveLength(8);
  });

  it('count also what cannot be read', () => {
    const chains = new ChainReader(2);
    for (let count = 0; count < 2; count += 1) expect(() => chains.read([Buffer.from('3003020101', 'hex')])).toThrow();
    expect(() => chains.read([forged(1)])).toThrow('too long together');
  });
});
