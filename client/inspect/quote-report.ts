import { TpmCryptoError } from '../../tpm/crypto/crypto-error.ts';
import { objectName } from '../../tpm/crypto/name.ts';
import type { PcrValues } from '../../tpm/crypto/pcr.ts';
import type { Attest } from '../../tpm/structures/attest.ts';
import {
  TPM_ST_ATTEST_CERTIFY,
  TPM_ST_ATTEST_COMMAND_AUDIT,
  TPM_ST_ATTEST_CREATION,
  TPM_ST_ATTEST_NV,
  TPM_ST_ATTEST_NV_DIGEST,
  TPM_ST_ATTEST_QUOTE,
  TPM_ST_ATTEST_SESSION_AUDIT,
  TPM_ST_ATTEST_TIME,
  algorithmName,
} from '../../tpm/structures/constants.ts';
import { attributeNames } from '../../tpm/structures/object-attributes.ts';
import { selectedBanks } from '../../tpm/structures/pcr-selection.ts';
import { describeAk } from './attestation-key.ts';
import type { OfflineAk } from './attestation-key.ts';
import type { OfflineFinding } from './offline-finding.ts';
import type { CheckOutcome, QuoteCheck, QuoteInspection } from './quote.ts';

/** A quote in the shape that `assay inspect quote --output json` prints. Bytes are hexadecimal, 64-bit numbers are text. */
export interface QuoteReport {
  readonly result: 'verified' | 'refused';
  readonly checks: Readonly<Record<QuoteCheck, CheckOutcome>>;
  readonly attest: AttestReport;
  readonly ak: AkReport;
  readonly signature: {
    readonly form: string;
    readonly scheme: string;
    readonly hash: string | null;
  };
  /** By bank, then by PCR; null where they are not proven. */
  readonly pcrs: PcrReport | null;
  readonly findings: readonly OfflineFinding[];
}

interface AttestReport {
  readonly magic: string;
  /** `TPM_ST_ATTEST_QUOTE`; one that has no name as `0x8013`. */
  readonly type: string;
  readonly qualifiedSigner: string;
  readonly extraData: string;
  /** Milliseconds. */
  readonly clock: string;
  readonly resetCount: number;
  readonly restartCount: number;
  readonly safe: boolean;
  readonly firmwareVersion: string;
  /** PCRs by bank, in the order of the quote; null for a statement of another type. */
  readonly selection: Readonly<Record<string, readonly number[]>> | null;
  readonly pcrDigest: string | null;
}

interface AkReport {
  readonly form: string;
  readonly type: string;
  /** SHA-256 of the SubjectPublicKeyInfo. */
  readonly sha256: string;
  /** Null for a bare key, as the attributes are. */
  readonly name: string | null;
  readonly attributes: readonly string[] | null;
}

export type PcrReport = Readonly<Record<string, Readonly<Record<string, string>>>>;

const TYPE_NAMES: ReadonlyMap<number, string> = new Map([
  [TPM_ST_ATTEST_NV, 'TPM_ST_ATTEST_NV'],
  [TPM_ST_ATTEST_COMMAND_AUDIT, 'TPM_ST_ATTEST_COMMAND_AUDIT'],
  [TPM_ST_ATTEST_SESSION_AUDIT, 'TPM_ST_ATTEST_SESSION_AUDIT'],
  [TPM_ST_ATTEST_CERTIFY, 'TPM_ST_ATTEST_CERTIFY'],
  [TPM_ST_ATTEST_QUOTE, 'TPM_ST_ATTEST_QUOTE'],
  [TPM_ST_ATTEST_TIME, 'TPM_ST_ATTEST_TIME'],
  [TPM_ST_ATTEST_CREATION, 'TPM_ST_ATTEST_CREATION'],
  [TPM_ST_ATTEST_NV_DIGEST, 'TPM_ST_ATTEST_NV_DIGEST'],
]);

export function reportQuote(inspection: QuoteInspection): QuoteReport {
  const { attest, ak, signature, checks, verified, findings } = inspection;
  const pcrs = verified?.pcrs ?? null;
  return {
    result: verified === null || checks.pcrDigest === 'failed' ? 'refused' : 'verified',
    checks,
    attest: reportAttest(attest),
    ak: reportAk(ak),
    signature: {
      form: signature.form,
      scheme: algorithmName(signature.signature.sigAlg),
      hash: 'hash' in signature.signature ? algorithmName(signature.signature.hash) : null,
    },
    pcrs: pcrs === null ? null : reportPcrs(pcrs),
    findings,
  };
}

function reportAttest(attest: Attest): AttestReport {
  const { clock, ...counters } = attest.clockInfo;
  const quoted = attest.kind === 'quote' ? attest.attested : undefined;
  return {
    magic: attest.magic.toString(16).padStart(8, '0'),
    type: TYPE_NAMES.get(attest.type) ?? `0x${attest.type.toString(16).padStart(4, '0')}`,
    qualifiedSigner: attest.qualifiedSigner.toString('hex'),
    extraData: attest.extraData.toString('hex'),
    clock: String(clock),
    ...counters,
    firmwareVersion: `0x${attest.firmwareVersion.toString(16).padStart(16, '0')}`,
    selection:
      quoted === undefined
        ? null
        : Object.fromEntries(selectedBanks(quoted.pcrSelect).map(({ hash, pcrs }) => [algorithmName(hash), pcrs])),
    pcrDigest: quoted?.pcrDigest.toString('hex') ?? null,
  };
}

function reportAk(ak: OfflineAk): AkReport {
  const { form, publicArea, sha256 } = ak;
  return {
    form,
    type: describeAk(ak),
    sha256,
    name: publicArea === undefined ? null : nameOf(publicArea),
    attributes: publicArea === undefined ? null : attributeNames(publicArea.objectAttributes),
  };
}

/** Null where the hash of its name is not known here. */
function nameOf(publicArea: NonNullable<OfflineAk['publicArea']>): string | null {
  try {
    return objectName(publicArea).toString('hex');
  } catch (error) {
    if (error instanceof TpmCryptoError) return null;
    throw error;
  }
}

export function reportPcrs(values: PcrValues): PcrReport {
  return Object.fromEntries(
    [...values].map(([alg, bank]) => [
      algorithmName(alg),
      Object.fromEntries([...bank].map(([pcr, value]) => [String(pcr), value.toString('hex')])),
    ]),
  );
}
