import { encode, fields, u64 } from '../codec/structure.ts';
import { TPMS_CLOCK_INFO } from '../structures/attest.ts';
import { TPM2B_DATA } from '../structures/buffers.ts';
import { TPM_ALG_NULL, TPM_CAP_PCRS } from '../structures/constants.ts';
import type { PcrBankSelection } from '../structures/pcr-selection.ts';
import { decodeAnswer } from './answer.ts';
import { PCR_BANK_COUNT, getCapability } from './capability.ts';
import { selectionIn } from './pcr.ts';
import { SESSION_HASH, withHmacSession } from './session.ts';
import { TpmError } from './tpm-error.ts';
import { ESYS_TR, type EsysHandle, StructureIn, StructureOut, type Tss } from './tss.ts';

const { NONE, PASSWORD, RH_ENDORSEMENT } = ESYS_TR;

/** A statement of the TPM: the very bytes that were signed, and their signature. */
export interface SignedAttest {
  /** TPMS_ATTEST. */
  readonly attest: Buffer;
  /** TPMT_SIGNATURE. */
  readonly signature: Buffer;
}

/** All that a verifier needs to compute the signed session digest: see `proveAssignedPcrs` in tpm/crypto. */
export interface BanksProof extends SignedAttest {
  /** TPM_ALG_ID of the audit session. */
  readonly sessionHash: number;
  /** The propertyCount of the audited TPM2_GetCapability(TPM_CAP_PCRS, 0, propertyCount). */
  readonly propertyCount: number;
  readonly moreData: boolean;
  /** TPMS_CAPABILITY_DATA. */
  readonly capabilityData: Buffer;
}

/** TPMS_CLOCK_INFO (Part 2 §10.11.1); the clock is in milliseconds. */
export type ClockInfo = TPMS_CLOCK_INFO;

/** A digest of the largest hash. TPM2B_DATA has room for two bytes more, which TPMs without SHA-512 refuse. */
const MAX_DATA_SIZE = 64;

/** TPMS_TIME_INFO (Part 2 §10.11.6): time since the last reset, then the clock. */
const TPMS_TIME_INFO = fields({ time: u64, clockInfo: TPMS_CLOCK_INFO });

/** NULL leaves the scheme to the key, which is restricted and has one. */
function keyScheme(): StructureIn {
  const scheme = Buffer.alloc(2);
  scheme.writeUInt16BE(TPM_ALG_NULL);
  return new StructureIn('TPMT_SIG_SCHEME', scheme);
}

function dataIn(data: Buffer): StructureIn {
  if (data.length > MAX_DATA_SIZE) {
    throw new TpmError('MALFORMED', `qualifyingData has ${data.length} bytes, the most is ${MAX_DATA_SIZE}`);
  }
  return new StructureIn('TPM2B_DATA', encode(TPM2B_DATA, data));
}

/** TPM2_Quote (Part 3 §18.4). @param ak a loaded signing key */
export async function quote(
  tss: Tss,
  ak: EsysHandle,
  options: { readonly qualifyingData: Buffer; readonly selection: readonly PcrBankSelection[] },
): Promise<SignedAttest> {
  const attest = new StructureOut('TPM2B_ATTEST');
  const signature = new StructureOut('TPMT_SIGNATURE');
  await tss.call(
    'Esys_Quote',
    ak,
    PASSWORD,
    NONE,
    NONE,
    dataIn(options.qualifyingData),
    keyScheme(),
    selectionIn(options.selection),
    attest,
    signature,
  );
  return { attest: attest.content, signature: signature.wire };
}

/**
 * Proves which PCR banks the TPM implements and which are active: TPM2_GetCapability in an audit session, whose digest the
 * AK then signs (TPM2_GetSessionAuditDigest, Part 3 §18.6).
 */
export async function proveBanks(tss: Tss, ak: EsysHandle, qualifyingData: Buffer): Promise<BanksProof> {
  return withHmacSession(tss, { attributes: ['audit'] }, async (session) => {
    const request = { capability: TPM_CAP_PCRS, property: 0, count: PCR_BANK_COUNT };
    const { moreData, capabilityData } = await getCapability(tss, request, session);
    if (moreData) throw new TpmError('UNSUPPORTED', `the TPM has more than ${PCR_BANK_COUNT} PCR banks`);
    const attest = new StructureOut('TPM2B_ATTEST');
    const signature = new StructureOut('TPMT_SIGNATURE');
    await tss.call(
      'Esys_GetSessionAuditDigest',
      RH_ENDORSEMENT,
      ak,
      session,
      PASSWORD,
      PASSWORD,
      NONE,
      dataIn(qualifyingData),
      keyScheme(),
      attest,
      signature,
    );
    return {
      sessionHash: SESSION_HASH,
      propertyCount: PCR_BANK_COUNT,
      moreData,
      capabilityData,
      attest: attest.content,
      signature: signature.wire,
    };
  });
}

/** TPM2_ReadClock (Part 3 §29.1). */
export async function readClock(tss: Tss): Promise<ClockInfo> {
  const timeInfo = new StructureOut('TPMS_TIME_INFO');
  await tss.call('Esys_ReadClock', NONE, NONE, NONE, timeInfo);
  return decodeAnswer(TPMS_TIME_INFO, timeInfo.wire).clockInfo;
}
