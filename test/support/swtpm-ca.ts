/** The CA of a software TPM, for what swtpm_localca does not do: revoke. */
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { parseCertificate } from '../../tpm/endorsement/certificate.ts';
import { parseEkCertificate } from '../../tpm/endorsement/ek-certificate.ts';
import { DER_TAG, encodeDer } from '../../tpm/endorsement/der.ts';
import { Tpm } from '../../tpm/device/tpm.ts';
import type { Swtpm } from './swtpm.ts';
import { ext, extension, makeCertificate, SIGNATURE } from './test-ca.ts';
import { pem, revocationList } from './test-ek-pki.ts';
import type { Serial } from './test-ek-pki.ts';

const DAY = 86_400_000;

export interface SwtpmCa {
  /** The issuing CA under the same name and key, with the usage cRLSign, which swtpm_localca leaves out; PEM. */
  readonly certificate: string;
  /** Serial numbers of the TPM's EK certificates. */
  readonly ekSerials: readonly Buffer[];
  /** A revocation list of the issuing CA, PEM, issued an hour ago. */
  readonly revoke: (serials: readonly Serial[], number: number, options?: { readonly stale?: boolean }) => string;
}

export async function openSwtpmCa(tpm: Swtpm): Promise<SwtpmCa> {
  const [issuer] = tpm.caCertificates;
  if (issuer === undefined) throw new Error('the TPM was made without a CA');
  const keyOf = async (name: string) => createPrivateKey(await readFile(join(dirname(issuer.path), name)));
  const signer = await keyOf('signkey.pem');
  const { subject, subjectKey, issuer: root, extensions } = parseCertificate(new X509Certificate(issuer.pem).raw);
  if (subjectKey.kind === 'unusable') throw new Error('the CA has no usable key');
  const identifier = (bytes: Buffer | undefined, tag: number): Buffer => encodeDer(tag, bytes ?? Buffer.alloc(0));
  const certificate = makeCertificate({
    issuer: root.raw,
    subject: subject.raw,
    notBefore: new Date(Date.now() - DAY),
    notAfter: new Date(Date.now() + DAY),
    spki: subjectKey.spki,
    extensions: [
      ext.ca(),
      ext.keyUsage(0x06),
      extension('2.5.29.14', identifier(extensions.subjectKeyIdentifier, DER_TAG.octetString)),
      extension(
        '2.5.29.35',
        encodeDer(DER_TAG.sequence, identifier(extensions.authorityKeyIdentifier?.keyIdentifier, 0x80)),
      ),
    ],
    signature: SIGNATURE.rsaSha256,
    signer: await keyOf('swtpm-localca-rootca-privkey.pem'),
  });
  return {
    certificate: pem('CERTIFICATE', certificate),
    ekSerials: await readEkSerials(tpm),
    revoke: (serials, number, { stale = false } = {}) =>
      pem(
        'X509 CRL',
        revocationList(serials, {
          issuer: subject.raw,
          signer: { privateKey: signer },
          signature: SIGNATURE.rsaSha256,
          thisUpdate: new Date(Date.now() - 3_600_000),
          nextUpdate: new Date(Date.now() + (stale ? -60_000 : DAY)),
          number,
        }),
      ),
  };
}

async function readEkSerials({ tcti }: Swtpm): Promise<readonly Buffer[]> {
  await using tpm = await Tpm.open({ tcti });
  const eks = await tpm.endorsementKeys();
  return eks.flatMap(({ certificate }) =>
    certificate === undefined ? [] : [Buffer.from(parseEkCertificate(certificate).serial.hex, 'hex')],
  );
}
