import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { verifyCertificatePath } from '../../../tpm/endorsement/certificate-path.ts';
import { EndorsementError } from '../../../tpm/endorsement/endorsement-error.ts';
import { checkKeySanity } from '../../../tpm/endorsement/key-sanity.ts';
import { MAX_BUNDLE_BYTES, parseCertificateBundle } from '../../../tpm/endorsement/certificate-bundle.ts';
import { verifySignature } from '../../../tpm/endorsement/verify-signature.ts';
import { conformancePath } from '../../support/data.ts';
import { makeEk, makeIntermediate, makeRoot } from '../../support/test-ek-pki.ts';

const pem = (der: Buffer) => `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`;

describe('a file of certificates', () => {
  const [root, intermediate] = [makeRoot(), makeIntermediate()];

  it('in PEM, with text between, is sorted into anchors and intermediates, each once', () => {
    const text = `# vendor\n${pem(root)}subject=x\r\n${pem(intermediate)}${pem(root)}`;
    const bundle = parseCertificateBundle(Buffer.from(text));
    expect(bundle.anchors.map((each) => each.subject.text)).toEqual(['CN=Test Root CA']);
    expect(bundle.intermediates.map((each) => each.subject.text)).toEqual(['CN=Test Intermediate CA']);
    expect(bundle.rejected).toEqual([]);
  });

  it('in DER may hold several, with padding after them', () => {
    const bundle = parseCertificateBundle(Buffer.concat([root, intermediate, Buffer.alloc(10, 0xff)]));
    expect([bundle.anchors.length, bundle.intermediates.length, bundle.padding]).toEqual([1, 1, 10]);
  });

  it('does not lose the others to one that is bad', () => {
    const bundle = parseCertificateBundle(Buffer.from(`${pem(Buffer.from('junk'))}${pem(root)}`));
    expect(bundle.anchors).toHaveLength(1);
    expect(bundle.rejected).toMatchObject([{ index: 0 }]);
  });

  it.each<[string, Buffer, string]>([
    ['nothing', Buffer.alloc(0), 'malformed'],
    ['other text', Buffer.from('hello'), 'malformed'],
    ['PEM that ends too early', Buffer.from(pem(root).slice(0, 100)), 'malformed'],
    ['too many bytes', Buffer.alloc(MAX_BUNDLE_BYTES + 1), 'too_large'],
    ['one certificate without end', Buffer.from(pem(Buffer.alloc(40_000))), 'too_large'],
    ['too many certificates', Buffer.from(pem(Buffer.from('x')).repeat(2049)), 'too_many'],
    ['too many elements', Buffer.from('3000'.repeat(2049), 'hex'), 'too_many'],
  ])('is refused with %s', (_name, bytes, code) => {
    let caught: unknown;
    try {
      parseCertificateBundle(bytes);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(EndorsementError);
    expect(caught).toMatchObject({ code });
  });

  it('never makes an anchor of a leaf that others issued', () => {
    expect(parseCertificateBundle(makeEk()).anchors).toEqual([]);
  });
});

describe('the catalogue of the vendors of TPMs', () => {
  const load = (file: string) =>
    parseCertificateBundle(readFileSync(conformancePath('loicsikidi+tpm-ca-certificates', file)));
  const roots = load('MIRROR.tpm-ca-certificates.pem');
  const between = load('MIRROR.tpm-intermediate-ca-certificates.pem');

  it('parses in whole', () => {
    expect([roots.rejected, between.rejected]).toEqual([[], []]);
    expect(roots.anchors.length + roots.intermediates.length).toBe(26);
    expect(between.anchors.length + between.intermediates.length).toBe(143);
  });

  it('has roots with sound keys, all of which signed themselves', () => {
    expect(roots.anchors.length).toBe(23);
    for (const root of roots.anchors) {
      const sanity = checkKeySanity(root.subjectKey);
      expect(sanity.status).toBe('sound');
      if (sanity.status === 'sound') expect(verifySignature(root, sanity.key).status).toBe('verified');
    }
  });

  it('has intermediates that all chain to its roots, some under a name in another string type', () => {
    const names = new Set<string>();
    for (const intermediate of between.intermediates) {
      const verdict = verifyCertificatePath(intermediate, {
        trustAnchors: [...roots.anchors, ...roots.intermediates],
        intermediates: between.intermediates,
        now:
          new Date('2025-01-01T00:00:00Z') < intermediate.notBefore
            ? intermediate.notBefore
            : new Date('2025-01-01T00:00:00Z'),
        extendedKeyUsage: '2.23.133.8.1',
      });
      expect(verdict).toMatchObject({ status: 'verified' });
      if (verdict.status === 'verified') verdict.deviations.forEach(({ code }) => names.add(code));
    }
    expect(names).toContain('NAME_ENCODING');
  });
});
