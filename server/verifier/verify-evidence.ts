import { CodecError } from '../../tpm/codec/codec-error.ts';
import { TpmCryptoError } from '../../tpm/crypto/crypto-error.ts';
import { provePcrValues } from '../../tpm/crypto/pcr.ts';
import type { PcrValues, ProvenPcrValues } from '../../tpm/crypto/pcr.ts';
import { proveAssignedPcrs } from '../../tpm/crypto/session-audit.ts';
import { IMPLEMENTATION_PCR, TPM_ALG_SHA256 } from '../../tpm/structures/constants.ts';
import {
  comparePcrSelections,
  formatPcrSelection,
  makePcrSelection,
  selectedBanks,
} from '../../tpm/structures/pcr-selection.ts';
import type { PcrBankSelection } from '../../tpm/structures/pcr-selection.ts';
import { checkClock } from './check-clock.ts';
import type { TpmClock } from './check-clock.ts';
import { EvidenceError } from './evidence-error.ts';
import { failed, passed } from './finding.ts';
import type { Finding } from './finding.ts';
import { verifyQuote, verifySessionAudit } from './verify-quote.ts';
import type { AttestationKey, SignedAttest, VerifiedQuote } from './verify-quote.ts';

/** Count of properties that the audited TPM2_GetCapability asks for; docs/protocol.md fixes it. */
export const BANK_PROPERTY_COUNT = 16;

/** Hash of the audit session; docs/protocol.md fixes it. */
export const BANK_SESSION_HASH = TPM_ALG_SHA256;

/** moreData (one byte) and TPMS_CAPABILITY_DATA, with the attestation of the session in which they were read. */
export interface BankProof extends SignedAttest {
  readonly capabilityData: Buffer;
}

/** Evidence as it arrived. */
export interface Evidence extends SignedAttest {
  readonly pcrValues: PcrValues;
  readonly bankProof: BankProof | null;
}

/** What the service knows and has asked for. */
export interface EvidenceDemand {
  readonly ak: AttestationKey;
  readonly extraData: Buffer;
  /** extraData of the bank proof. */
  readonly bankExtraData: Buffer;
  /** Exactly these banks and PCRs, or every PCR of every active bank. */
  readonly selection: readonly PcrBankSelection[] | 'all';
  /** The clock as the AK last signed it; null at enrolment. */
  readonly lastClock: TpmClock | null;
}

declare const verified: unique symbol;

/** Evidence that is the host's, and what was found of it. Only {@link verifyEvidence} makes it. */
export interface VerifiedEvidence {
  readonly [verified]: true;
  readonly quote: VerifiedQuote;
  /** Null where the selection was not the one asked for: nothing is proven then that a policy may look at. */
  readonly pcrs: ProvenPcrValues | null;
  /** The active banks: proven ones, or those of the quote. Empty where they were not asked for. */
  readonly banks: readonly PcrBankSelection[];
  readonly banksProven: boolean;
  readonly findings: readonly Finding[];
}

/** What nearly all evidence passes is found once, so that the findings of two rounds are compared by identity. */
const QUOTE_PASSED = passed('quote', 'The quote is signed by the enrolled AK and answers this challenge.');
const SELECTION_PASSED = passed('pcr-selection', 'The quote covers exactly the PCRs that were asked for.');
const DIGEST_PASSED = passed('pcr-digest', 'The PCR values are those that the TPM signed.');

export type EvidenceOutcome =
  | { readonly kind: 'verified'; readonly evidence: VerifiedEvidence }
  /** A PCR moved between quote and read: no guilt and no verdict. */
  | { readonly kind: 'torn'; readonly quote: VerifiedQuote };

/**
 * Verifies quote, banks, clock and PCR values in one call: nothing can be verified in part and believed in whole.
 *
 * Until the quote is proven to be the host's, a fault throws {@link EvidenceError}; from then on it is a finding.
 */
export function verifyEvidence(evidence: Evidence, demand: EvidenceDemand): EvidenceOutcome {
  const quote = verifyQuote(demand.ak, evidence, demand.extraData);
  const clock = checkClock(quote.clockInfo, demand.lastClock);
  const banks = checkBanks(evidence, demand, quote);
  const selection = checkPcrSelection(quote, banks.selection);
  const proven = [QUOTE_PASSED, clock];
  if (selection.outcome !== 'passed') {
    return verifiedOutcome({ quote, pcrs: null, banks, findings: [...proven, ...banks.findings, selection] });
  }
  const pcrs = checkPcrDigest(quote, evidence.pcrValues, demand.ak.signingKey.hashAlg);
  if (pcrs === null) return { kind: 'torn', quote };
  return verifiedOutcome({ quote, pcrs, banks, findings: [...proven, ...banks.findings, selection, DIGEST_PASSED] });
}

interface BankOutcome {
  /** What the quote must select. */
  readonly selection: readonly PcrBankSelection[];
  readonly banks: readonly PcrBankSelection[];
  readonly proven: boolean;
  readonly findings: readonly Finding[];
}

/** Which banks are active: by the proof, or, unproven, the banks of the quote itself. */
function checkBanks(evidence: Evidence, demand: EvidenceDemand, quote: VerifiedQuote): BankOutcome {
  if (demand.selection !== 'all') return { selection: demand.selection, banks: [], proven: false, findings: [] };
  const proof = proveBanks(evidence.bankProof, demand, quote);
  if (typeof proof !== 'string') {
    const finding = passed('pcr-banks', `The TPM proved its active banks: ${describe(proof)}.`);
    return { selection: proof, banks: proof, proven: true, findings: [finding] };
  }
  const claimed = selectedBanks(quote.attested.pcrSelect).map(({ hash }) => ({ hash, pcrs: everyPcr() }));
  const finding = failed('pcr-banks', {
    reason: 'BANKS_UNPROVEN',
    observed: proof,
    expected: 'a signed audit session over the list of pcr banks',
    message: 'It is not proven which PCR banks of the TPM are active.',
  });
  return { selection: claimed, banks: claimed, proven: false, findings: [finding] };
}

/** The active banks, or why they are not proven. */
function proveBanks(
  proof: BankProof | null,
  demand: EvidenceDemand,
  quote: VerifiedQuote,
): readonly PcrBankSelection[] | string {
  if (proof === null) return 'no proof was sent';
  try {
    const audit = verifySessionAudit(demand.ak, proof, demand.bankExtraData);
    const { resetCount, restartCount } = audit.clockInfo;
    if (resetCount !== quote.clockInfo.resetCount || restartCount !== quote.clockInfo.restartCount) {
      return 'the proof is from another boot than the quote';
    }
    const moreData = proof.capabilityData[0];
    if (moreData !== 0 && moreData !== 1) return 'moreData is no truth value';
    const assigned = proveAssignedPcrs(
      audit,
      {
        propertyCount: BANK_PROPERTY_COUNT,
        moreData: moreData === 1,
        capabilityData: proof.capabilityData.subarray(1),
      },
      BANK_SESSION_HASH,
    );
    const active = selectedBanks(assigned).map(({ hash, pcrs }) => ({
      hash,
      pcrs: pcrs.filter((pcr) => pcr < IMPLEMENTATION_PCR),
    }));
    return active.length === 0 ? 'no bank is active' : active;
  } catch (error) {
    if (error instanceof EvidenceError || error instanceof TpmCryptoError || error instanceof CodecError)
      return error.message;
    throw error;
  }
}

/** Exactly what was asked: a missing, additional or duplicate bank or PCR is refused. */
function checkPcrSelection(quote: VerifiedQuote, wanted: readonly PcrBankSelection[]): Finding {
  const expected = wanted.map(({ hash, pcrs }) => makePcrSelection(hash, pcrs));
  const differences = comparePcrSelections(expected, quote.attested.pcrSelect);
  if (differences.length === 0 && wanted.some(({ pcrs }) => pcrs.length > 0)) {
    return SELECTION_PASSED;
  }
  return failed('pcr-selection', {
    reason: 'PCR_SELECTION_MISMATCH',
    observed: formatPcrSelection(quote.attested.pcrSelect),
    expected: formatPcrSelection(expected),
    message: `The quote does not cover what was asked for: ${differences[0]?.kind ?? 'empty'} selection.`,
  });
}

/** Null where the values do not make the quoted digest: something moved between quote and read, or the values are wrong. */
function checkPcrDigest(quote: VerifiedQuote, values: PcrValues, signingHash: number): ProvenPcrValues | null {
  try {
    return provePcrValues(quote.attested, values, signingHash);
  } catch (error) {
    if (!(error instanceof TpmCryptoError)) throw error;
    return null;
  }
}

function verifiedOutcome(parts: {
  readonly quote: VerifiedQuote;
  readonly pcrs: ProvenPcrValues | null;
  readonly banks: BankOutcome;
  readonly findings: readonly Finding[];
}): EvidenceOutcome {
  const { quote, pcrs, banks, findings } = parts;
  const evidence = {
    quote,
    pcrs,
    banks: banks.banks,
    banksProven: banks.proven,
    findings,
  } as unknown as VerifiedEvidence;
  return { kind: 'verified', evidence };
}

function everyPcr(): readonly number[] {
  return Array.from({ length: IMPLEMENTATION_PCR }, (_, index) => index);
}

function describe(banks: readonly PcrBankSelection[]): string {
  return formatPcrSelection(banks.map(({ hash, pcrs }) => makePcrSelection(hash, pcrs)));
}
