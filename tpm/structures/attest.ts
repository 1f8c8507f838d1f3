/** TPMS_ATTEST (Part 2 §10.12): what a TPM states and an attestation key signs. */
import { Reader } from '../codec/reader.ts';
import { decode, fields, joined, restBytes, u16, u32, u64, union, yesNo } from '../codec/structure.ts';
import type { ValueOf } from '../codec/structure.ts';
import { TPM2B_DATA, TPM2B_DIGEST, TPM2B_NAME } from './buffers.ts';
import { TPM_ST_ATTEST_QUOTE, TPM_ST_ATTEST_SESSION_AUDIT } from './constants.ts';
import { TPML_PCR_SELECTION } from './pcr-selection.ts';

/** Bytes of the largest statement that is taken in. */
const MAX_ATTEST_SIZE = 2048;

/** §10.11.1: clock in milliseconds; `safe` is no when the clock may have gone back after an unorderly shutdown. */
export const TPMS_CLOCK_INFO = fields({ clock: u64, resetCount: u32, restartCount: u32, safe: yesNo });
export type TPMS_CLOCK_INFO = ValueOf<typeof TPMS_CLOCK_INFO>;

/** What TPM2_Quote attests: the selection as the TPM took it, and the digest over its values. */
export const TPMS_QUOTE_INFO = fields({ pcrSelect: TPML_PCR_SELECTION, pcrDigest: TPM2B_DIGEST });
export type TPMS_QUOTE_INFO = ValueOf<typeof TPMS_QUOTE_INFO>;

/** What TPM2_GetSessionAuditDigest attests. */
export const TPMS_SESSION_AUDIT_INFO = fields({ exclusiveSession: yesNo, sessionDigest: TPM2B_DIGEST });
export type TPMS_SESSION_AUDIT_INFO = ValueOf<typeof TPMS_SESSION_AUDIT_INFO>;

const magic = fields({ magic: u32 });
const header = fields({ magic: u32, type: u16 });
const common = {
  qualifiedSigner: TPM2B_NAME,
  extraData: TPM2B_DATA,
  clockInfo: TPMS_CLOCK_INFO,
  firmwareVersion: u64,
} as const;

/** The statements that this project reads. The magic is read as it stands: to judge it is a named check of the verifier. */
export const TPMS_ATTEST = joined(
  magic,
  union('type', u16, {
    [TPM_ST_ATTEST_QUOTE]: fields({ ...common, attested: TPMS_QUOTE_INFO }),
    [TPM_ST_ATTEST_SESSION_AUDIT]: fields({ ...common, attested: TPMS_SESSION_AUDIT_INFO }),
  }),
);
export type TPMS_ATTEST = ValueOf<typeof TPMS_ATTEST>;

/** A statement of any other type: the common fields are the same, what is attested stays opaque. */
const TPMS_ATTEST_OTHER = fields({ magic: u32, type: u16, ...common, attested: restBytes(MAX_ATTEST_SIZE) });

type ArmOf<Type extends TPMS_ATTEST['type']> = Extract<TPMS_ATTEST, { readonly type: Type }>;

/** `raw` holds the received bytes, over which the signature is. */
export type QuoteAttest = ArmOf<typeof TPM_ST_ATTEST_QUOTE> & { readonly kind: 'quote'; readonly raw: Buffer };
export type SessionAuditAttest = ArmOf<typeof TPM_ST_ATTEST_SESSION_AUDIT> & {
  readonly kind: 'sessionAudit';
  readonly raw: Buffer;
};
export type OtherAttest = ValueOf<typeof TPMS_ATTEST_OTHER> & { readonly kind: 'other'; readonly raw: Buffer };

/**
 * A decoded statement by kind. An attestation key signs many kinds (NV_Certify took in verifiers that did not look); whoever
 * wants a quote has to narrow to it.
 */
export type Attest = QuoteAttest | SessionAuditAttest | OtherAttest;

/** Decodes a TPMS_ATTEST (the content of a TPM2B_ATTEST). Nothing is checked but its form. */
export function decodeAttest(raw: Buffer): Attest {
  const { type } = header.read(new Reader(raw));
  if (type !== TPM_ST_ATTEST_QUOTE && type !== TPM_ST_ATTEST_SESSION_AUDIT) {
    return { kind: 'other', raw, ...decode(TPMS_ATTEST_OTHER, raw) };
  }
  const attest = decode(TPMS_ATTEST, raw);
  return attest.type === TPM_ST_ATTEST_QUOTE
    ? { kind: 'quote', raw, ...attest }
    : { kind: 'sessionAudit', raw, ...attest };
}
