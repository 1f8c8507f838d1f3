/** The proof of a TPM's PCR banks by an audit session (Part 1 §31.3; Part 3 §18.5 TPM2_GetSessionAuditDigest). */
import { decode } from '../codec/structure.ts';
import { Writer } from '../codec/writer.ts';
import type { SessionAuditAttest } from '../structures/attest.ts';
import { TPMS_CAPABILITY_DATA } from '../structures/capability.ts';
import { TPM_CAP_PCRS, TPM_CC_GetCapability } from '../structures/constants.ts';
import type { TPML_PCR_SELECTION } from '../structures/pcr-selection.ts';
import { TpmCryptoError } from './crypto-error.ts';
import { digest, digestSize, equalDigests } from './digest.ts';

/** The one audited command TPM2_GetCapability(TPM_CAP_PCRS, 0, propertyCount) and its answer. */
export interface PcrCapabilityExchange {
  readonly propertyCount: number;
  readonly moreData: boolean;
  /** TPMS_CAPABILITY_DATA, the bytes that the TPM returned. */
  readonly capabilityData: Buffer;
}

declare const proven: unique symbol;

/**
 * Every bank that the TPM implements, with the PCRs it has there: none where the bank is not active. Only
 * {@link proveAssignedPcrs} makes it.
 */
export type ProvenAssignedPcrs = TPML_PCR_SELECTION & { readonly [proven]: true };

/**
 * The digest of an audit session in which nothing but this exchange took place: H(0…0 ‖ cpHash ‖ rpHash), all hashes the
 * session's. cpHash = H(commandCode ‖ parameters), for the command has no handles; rpHash = H(responseCode ‖ commandCode ‖
 * parameters).
 */
export function pcrCapabilitySessionDigest(sessionHash: number, exchange: PcrCapabilityExchange): Buffer {
  const command = new Writer();
  command.u32(TPM_CC_GetCapability);
  command.u32(TPM_CAP_PCRS);
  command.u32(0);
  command.u32(exchange.propertyCount);
  const response = new Writer();
  response.u32(0);
  response.u32(TPM_CC_GetCapability);
  response.u8(exchange.moreData ? 1 : 0);
  response.bytes(exchange.capabilityData);
  return digest(
    sessionHash,
    Buffer.alloc(digestSize(sessionHash)),
    digest(sessionHash, command.finish()),
    digest(sessionHash, response.finish()),
  );
}

/**
 * The banks, proven by the attested session digest. Signature, extraData and qualifiedSigner of the statement must have been
 * verified before.
 */
export function proveAssignedPcrs(
  attest: SessionAuditAttest,
  exchange: PcrCapabilityExchange,
  sessionHash: number,
): ProvenAssignedPcrs {
  const expected = pcrCapabilitySessionDigest(sessionHash, exchange);
  if (!equalDigests(expected, attest.attested.sessionDigest)) {
    throw new TpmCryptoError('AUDIT_DIGEST_MISMATCH', 'capability data do not make the attested session digest');
  }
  if (exchange.moreData) {
    throw new TpmCryptoError('AUDIT_INCOMPLETE', 'the tpm has more banks than it returned');
  }
  return decode(TPMS_CAPABILITY_DATA, exchange.capabilityData).assignedPCR as ProvenAssignedPcrs;
}
