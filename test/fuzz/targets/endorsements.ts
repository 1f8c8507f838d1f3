import { CertificateError, verifyLeaf } from '../../../proto/certificate-profile.ts';
import { parseCertificate } from '../../../tpm/endorsement/certificate.ts';
import { EndorsementError } from '../../../tpm/endorsement/endorsement-error.ts';
import { parseRevocationList } from '../../../tpm/endorsement/revocation.ts';
import { readRevocationLists } from '../../../tpm/endorsement/revocation-lists.ts';
import { parseCertificateBundle } from '../../../tpm/endorsement/certificate-bundle.ts';
import { checkEkKey, verifyEk } from '../../../tpm/endorsement/verify-ek.ts';
import {
  ekEvidence,
  ekRsaKey,
  makeEk,
  makeIntermediate,
  makeRoot,
  NOW,
  pem,
  revocationList,
} from '../../support/test-ek-pki.ts';
import { testKey } from '../../support/test-ca.ts';
import { BrokenPromise, reader } from '../target.ts';
import type { Target } from '../target.ts';

export function endorsementTargets(): Readonly<Record<string, () => Target>> {
  const certificates = [makeEk(), makeIntermediate(), makeRoot()];
  const [ek = Buffer.alloc(0), intermediate = Buffer.alloc(0), root = Buffer.alloc(0)] = certificates;
  const list = revocationList([1, 2, 3], { number: 7 });
  const evidence = ekEvidence();
  const issuers = [intermediate, root].map((der) => parseCertificate(der));
  const keys = [ekRsaKey, testKey('P-256'), testKey('P-384')].map(({ spki }) => spki);
  return {
    certificate: () => reader(certificates, [EndorsementError], (input) => parseCertificate(input)),
    'certificate-bundle': () =>
      reader(
        [Buffer.concat([root, intermediate]), Buffer.from(pem('CERTIFICATE', root))],
        [EndorsementError],
        (input) => parseCertificateBundle(input),
      ),
    /** No certificate but the one that its issuer signed makes an EK certified. */
    'ek-certificate': () =>
      reader([ek], [], (input) => {
        const outcome = verifyEk({ ...evidence, certificate: input });
        // Padding behind the certificate is what NV really holds; every byte of it was signed all the same.
        const padded = input.subarray(0, ek.length).equals(ek);
        if (outcome.status === 'verified' && !padded) throw new BrokenPromise('verified what nobody signed');
      }),
    'ek-chain': () =>
      reader([intermediate], [], (input) => verifyEk({ ...evidence, chain: [input], intermediates: [] })),
    'ek-key': () => reader(keys, [], (input) => checkEkKey(input)),
    'revocation-list': () => reader([list], [EndorsementError], (input) => parseRevocationList(input)),
    'revocation-lists': () =>
      reader([list, Buffer.from(pem('X509 CRL', list))], [EndorsementError], (input) => {
        for (const { raw } of readRevocationLists(input, { issuers, now: NOW }))
          if (!raw.equals(list)) throw new BrokenPromise('took a list that nobody signed');
      }),
    /** A certificate of the channel, under a CA that did not sign it. */
    'service-leaf': () =>
      reader([ek, intermediate], [CertificateError], (input) => {
        verifyLeaf(input, { authority: root, profile: 'client', now: NOW });
        throw new BrokenPromise('took a leaf that its CA did not sign');
      }),
  };
}
