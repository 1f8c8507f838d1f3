import { CodecError } from '../../tpm/codec/codec-error.ts';
import { DER_TAG, DerReader, decodeInteger } from '../../tpm/endorsement/der.ts';
import { EndorsementError } from '../../tpm/endorsement/endorsement-error.ts';
import { decodeAttest } from '../../tpm/structures/attest.ts';
import type { Attest } from '../../tpm/structures/attest.ts';
import { ECC_CURVES, TPM_ALG_ECDSA, TPM_ALG_RSAPSS, TPM_ALG_RSASSA } from '../../tpm/structures/constants.ts';
import { decodeSignature } from '../../tpm/structures/signature.ts';
import type { TPMT_SIGNATURE } from '../../tpm/structures/signature.ts';
import { UsageError } from '../failure.ts';
import type { OfflineAk } from './attestation-key.ts';
import { decodeLogFile } from './eventlog-input.ts';
import type { NamedFile } from './trust-anchors.ts';

/** What a signature is of where neither it nor its key says so, as `tpm2_quote -f plain` under a bare key. */
export interface PlainScheme {
  readonly scheme: number | undefined;
  readonly hash: number;
}

export interface OfflineSignature {
  readonly form: 'tpmt-signature' | 'plain';
  readonly signature: TPMT_SIGNATURE;
}

/**
 * Reads a TPMS_ATTEST, or a TPM2B_ATTEST around one, also in base64.
 * @throws UsageError for what is none
 */
export function readAttest({ name, bytes }: NamedFile): Attest {
  const content = decodeLogFile(bytes);
  const sized = content.length > 2 && content.readUInt16BE(0) === content.length - 2;
  try {
    return decodeAttest(sized ? content.subarray(2) : content);
  } catch (cause) {
    if (!(cause instanceof CodecError)) throw cause;
    throw new UsageError(`${name}: no TPMS_ATTEST: ${cause.message}`, { cause });
  }
}

/**
 * Reads a TPMT_SIGNATURE, or what tpm2-tools write as `plain`: the DER of r and s, or the bare RSA signature; also in base64.
 * @throws UsageError for what is none
 */
export function readSignature({ name, bytes }: NamedFile, ak: OfflineAk, plain: PlainScheme): OfflineSignature {
  const content = decodeLogFile(bytes);
  const bare =
    ak.key.asymmetricKeyType === 'ec' ? readPlainEcdsa(content, ak, plain) : readPlainRsa(content, ak, plain);
  if (bare !== undefined) return { form: 'plain', signature: bare };
  try {
    return { form: 'tpmt-signature', signature: decodeSignature(content) };
  } catch (cause) {
    if (!(cause instanceof CodecError)) throw cause;
    throw new UsageError(`${name}: no signature: ${cause.message}`, { cause });
  }
}

/** As long as the modulus: a TPMT_SIGNATURE is six bytes longer. */
function readPlainRsa(content: Buffer, { key }: OfflineAk, { scheme, hash }: PlainScheme): TPMT_SIGNATURE | undefined {
  if (content.length * 8 !== key.asymmetricKeyDetails?.modulusLength) return undefined;
  return { sigAlg: scheme === TPM_ALG_RSAPSS ? TPM_ALG_RSAPSS : TPM_ALG_RSASSA, hash, sig: content };
}

/** ECDSA-Sig-Value (RFC 3279 §2.2.3), or r and s one after the other in the size of the curve. */
function readPlainEcdsa(content: Buffer, { key }: OfflineAk, { hash }: PlainScheme): TPMT_SIGNATURE | undefined {
  const curve = [...ECC_CURVES.values()].find(({ node }) => node === key.asymmetricKeyDetails?.namedCurve);
  const size = curve?.coordinateSize ?? 0;
  const pair = content.length === 2 * size ? [content.subarray(0, size), content.subarray(size)] : readPair(content);
  const [signatureR, signatureS] = pair ?? [];
  if (signatureR === undefined || signatureS === undefined) return undefined;
  return { sigAlg: TPM_ALG_ECDSA, hash, signatureR, signatureS };
}

function readPair(content: Buffer): readonly [Buffer, Buffer] | undefined {
  if (content[0] !== DER_TAG.sequence) return undefined;
  try {
    const outer = new DerReader(content, 'signature');
    const fields = outer.enter(DER_TAG.sequence, 'signature');
    outer.end();
    const [r, s] = ['r', 's'].map((part) => decodeInteger(fields.read(DER_TAG.integer, part).contents, part));
    fields.end();
    return r === undefined || s === undefined || r.negative || s.negative ? undefined : [r.magnitude, s.magnitude];
  } catch (error) {
    if (error instanceof EndorsementError) return undefined;
    throw error;
  }
}
