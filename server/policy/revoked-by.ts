/** What the firmware's list of revoked signatures names (UEFI §32.4.1). */
import { createHash } from 'node:crypto';

import { SignatureLists } from '../../tpm/eventlog/signature-list.ts';
import type { SignatureKind } from '../../tpm/eventlog/signature-list.ts';

/** Bytes of the digest that an entry begins with; behind that of a certificate stands a time. */
const DIGEST_BYTES: Partial<Readonly<Record<SignatureKind, number>>> = {
  sha1: 20,
  sha256: 32,
  sha384: 48,
  sha512: 64,
  'x509-sha256': 32,
  'x509-sha384': 48,
  'x509-sha512': 64,
};

/** Digests in lower-case hex, each once: of images, and of certificates or of their signed part. Other entries name neither. */
export function revokedBy(dbx: Uint8Array): readonly string[] {
  const { signatures } = SignatureLists.read(Buffer.from(dbx));
  const digests = signatures.flatMap(({ kind, data }) => {
    if (kind === 'x509') return [createHash('sha256').update(data).digest('hex')];
    const size = DIGEST_BYTES[kind];
    return size === undefined ? [] : [data.toString('hex', 0, size)];
  });
  return [...new Set(digests)];
}
