import { MAX_CERTIFICATE_BYTES } from '../../tpm/endorsement/certificate.ts';
import { MAX_CHAIN } from '../../tpm/endorsement/certificate-chain.ts';
import { DER_TAG, DerReader } from '../../tpm/endorsement/der.ts';
import { splitBundle } from '../../tpm/endorsement/encoded-bundle.ts';
import { decodeLogFile } from './eventlog-input.ts';

/** A file with an EK certificate, the first in it, and what it came along with. */
export interface EkCertificateFile {
  readonly form: 'pem' | 'der' | 'base64';
  /** As NV holds it: with a header before it or padding behind it where there are any. */
  readonly certificate: Buffer;
  /** One after another in each entry, as `parseChain` takes them. */
  readonly chain: readonly Buffer[];
}

/** Bytes of a file that is taken in: a chain in PEM, with text between the certificates. */
export const MAX_CERTIFICATE_FILE_BYTES = 1024 * 1024;

const PEM_MARK = '-----BEGIN ';

/** Reads PEM, DER or the base64 of DER; the bytes tell which. Throws `EndorsementError`. */
export function readEkCertificateFile(file: Buffer): EkCertificateFile {
  if (file.includes(PEM_MARK)) {
    const [certificate = file, ...chain] = splitBundle(file, {
      label: 'CERTIFICATE',
      noun: 'certificate',
      file: 'file of certificates',
      maxBytes: MAX_CERTIFICATE_BYTES,
      // One more than is taken, so that it is the chain which is said to be too long.
      maxCount: MAX_CHAIN + 2,
    });
    return { form: 'pem', certificate, chain };
  }
  const content = decodeLogFile(file);
  return { form: content === file ? 'der' : 'base64', ...splitDer(content) };
}

/** What follows the first certificate is a chain where it begins as one does, and padding otherwise. */
function splitDer(content: Buffer): Pick<EkCertificateFile, 'certificate' | 'chain'> {
  if (content[0] !== DER_TAG.sequence) return { certificate: content, chain: [] };
  const { raw } = new DerReader(content, 'EK certificate').next();
  const rest = content.subarray(raw.length);
  return rest[0] === DER_TAG.sequence ? { certificate: raw, chain: [rest] } : { certificate: content, chain: [] };
}
