/**
 * A TPM in software, for tests of the Verifier: it makes the bytes that a real one makes, and it lies in any field on request.
 */
import { generateKeyPairSync } from 'node:crypto';

import { encode } from '../../tpm/codec/structure.ts';
import { Writer } from '../../tpm/codec/writer.ts';
import { digestSize } from '../../tpm/crypto/digest.ts';
import type { Credential } from '../../tpm/crypto/make-credential.ts';
import { childQualifiedName, objectName, primaryQualifiedName } from '../../tpm/crypto/name.ts';
import { extendPcr, pcrDigest } from '../../tpm/crypto/pcr.ts';
import type { PcrValues } from '../../tpm/crypto/pcr.ts';
import { pcrCapabilitySessionDigest } from '../../tpm/crypto/session-audit.ts';
import { subjectPublicKeyInfo } from '../../tpm/crypto/public-key.ts';
import { TPMS_ATTEST } from '../../tpm/structures/attest.ts';
import type { TPMS_CLOCK_INFO } from '../../tpm/structures/attest.ts';
import { TPMS_CAPABILITY_DATA } from '../../tpm/structures/capability.ts';
import {
  TPM_ALG_RSA,
  TPM_ALG_SHA1,
  TPM_ALG_SHA256,
  TPM_ALG_SHA384,
  TPM_CAP_PCRS,
  TPM_ECC_NIST_P256,
  TPM_ECC_NIST_P384,
  TPM_GENERATED_VALUE,
  TPM_ST_ATTEST_QUOTE,
  TPM_ST_ATTEST_SESSION_AUDIT,
} from '../../tpm/structures/constants.ts';
import { makePcrSelection } from '../../tpm/structures/pcr-selection.ts';
import type { PcrBankSelection } from '../../tpm/structures/pcr-selection.ts';
import { makePublicArea } from '../../tpm/structures/public-area.ts';
import { BANK_PROPERTY_COUNT, BANK_SESSION_HASH } from '../../server/verifier/verify-evidence.ts';
import type { BankProof } from '../../server/verifier/verify-evidence.ts';
import type { SignedAttest } from '../../server/verifier/verify-quote.ts';
import { openCredential } from './open-credential.ts';
import { makeAk, makeEk, signWithAk } from './tpm-keys.ts';
import type { SoftwareKey } from './tpm-keys.ts';

export type EkKind = 'rsa2048' | 'p256' | 'p384';
export type AkKind = 'ecdsa' | 'rsassa';

/** An AK that lives under one of the TPM's EKs. */
export interface SoftwareAk extends SoftwareKey {
  readonly parentIndex: number;
  readonly name: Buffer;
  readonly qualifiedName: Buffer;
}

export type QuoteFields = Extract<TPMS_ATTEST, { readonly type: typeof TPM_ST_ATTEST_QUOTE }>;
export type AuditFields = Extract<TPMS_ATTEST, { readonly type: typeof TPM_ST_ATTEST_SESSION_AUDIT }>;

export interface QuoteRequest {
  readonly extraData: Buffer;
  /** Every active bank when left out. */
  readonly selection?: readonly PcrBankSelection[];
  /** What the TPM states in place of the truth. It signs that. */
  readonly lie?: (truth: QuoteFields) => QuoteFields;
}

export interface BankRequest {
  readonly extraData: Buffer;
  readonly lie?: (truth: AuditFields) => AuditFields;
  readonly moreData?: boolean;
}

const INDICES = Array.from({ length: 24 }, (_, index) => index);

export class SoftwareTpm {
  readonly eks: readonly SoftwareKey[];
  /** Values of the active banks. */
  readonly pcrs: Map<number, Map<number, Buffer>>;
  #banks: readonly number[];
  clockInfo: TPMS_CLOCK_INFO = { clock: 100_000n, resetCount: 3, restartCount: 1, safe: true };

  /** `banks` are the active ones; sha1, sha256 and sha384 are implemented, too. */
  constructor(options: { readonly eks?: readonly EkKind[]; readonly banks?: readonly number[] } = {}) {
    this.eks = (options.eks ?? ['p256']).map(makeEkOf);
    this.#banks = options.banks ?? [TPM_ALG_SHA256];
    this.pcrs = new Map();
    this.#clearPcrs();
  }

  /** Every PCR of every active bank. */
  get activeBanks(): readonly PcrBankSelection[] {
    return this.#banks.map((hash) => ({ hash, pcrs: INDICES }));
  }

  createAk(kind: AkKind = 'ecdsa', parentIndex = 0): SoftwareAk {
    const key =
      kind === 'ecdsa'
        ? makeAk({ curveID: TPM_ECC_NIST_P256 }, { hashAlg: TPM_ALG_SHA256 })
        : withFreshRsaKey(makeAk({ rsaBits: 2048 }, { hashAlg: TPM_ALG_SHA256 }));
    return this.adopt(key, parentIndex);
  }

  /** A key with any public area, as if this TPM held it under one of its EKs. */
  adopt(key: SoftwareKey, parentIndex = 0): SoftwareAk {
    const name = objectName(key.publicArea);
    const qualifiedName = childQualifiedName(key.publicArea, primaryQualifiedName(this.ek(parentIndex).publicArea));
    return { ...key, parentIndex, name, qualifiedName };
  }

  ek(index: number): SoftwareKey {
    const ek = this.eks[index];
    if (ek === undefined) throw new TypeError(`no ek ${index}`);
    return ek;
  }

  /** SubjectPublicKeyInfo of an EK, as its certificate would hold it. */
  ekSpki(index = 0): Buffer {
    return subjectPublicKeyInfo(this.ek(index).publicArea);
  }

  /** TPM2_ActivateCredential. */
  activate(ak: SoftwareAk, ekIndex: number, credential: Credential): Buffer {
    return openCredential(this.ek(ekIndex), ak.name, credential);
  }

  /** TPM2_Quote. */
  quote(ak: SoftwareAk, { extraData, selection, lie = same }: QuoteRequest): SignedAttest {
    this.tick();
    const pcrSelect = (selection ?? this.activeBanks).map(({ hash, pcrs }) => makePcrSelection(hash, pcrs));
    const attest = lie({
      magic: TPM_GENERATED_VALUE,
      type: TPM_ST_ATTEST_QUOTE,
      qualifiedSigner: ak.qualifiedName,
      extraData,
      clockInfo: this.clockInfo,
      firmwareVersion: 0x2020_0101_0000_0000n,
      attested: { pcrSelect, pcrDigest: pcrDigest(pcrSelect, this.pcrs, signingHashOf(ak)) },
    });
    return signAttest(ak, encode(TPMS_ATTEST, attest));
  }

  /** TPM2_GetCapability(TPM_CAP_PCRS) in an audit session, and TPM2_GetSessionAuditDigest over it. */
  proveBanks(ak: SoftwareAk, { extraData, lie = same, moreData = false }: BankRequest): BankProof {
    const implemented = new Set([TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384, ...this.#banks]);
    const assignedPCR = [...implemented].map((hash) =>
      makePcrSelection(hash, this.#banks.includes(hash) ? INDICES : []),
    );
    const capabilityData = encode(TPMS_CAPABILITY_DATA, { capability: TPM_CAP_PCRS, assignedPCR });
    const exchange = { propertyCount: BANK_PROPERTY_COUNT, moreData, capabilityData };
    const attest = lie({
      magic: TPM_GENERATED_VALUE,
      type: TPM_ST_ATTEST_SESSION_AUDIT,
      qualifiedSigner: ak.qualifiedName,
      extraData,
      clockInfo: this.clockInfo,
      firmwareVersion: 0x2020_0101_0000_0000n,
      attested: {
        exclusiveSession: true,
        sessionDigest: pcrCapabilitySessionDigest(BANK_SESSION_HASH, exchange),
      },
    });
    const signed = signAttest(ak, encode(TPMS_ATTEST, attest));
    return { ...signed, capabilityData: Buffer.concat([Buffer.from([moreData ? 1 : 0]), capabilityData]) };
  }

  /** TPM2_PCR_Read of a selection. */
  read(selection: readonly PcrBankSelection[] = this.activeBanks): PcrValues {
    return new Map(
      selection.map(({ hash, pcrs }) => [hash, new Map(pcrs.map((index) => [index, this.#pcr(hash, index)]))]),
    );
  }

  /** TPM2_PCR_Extend. */
  extend(index: number, data = Buffer.alloc(32, 1), hash: number = TPM_ALG_SHA256): void {
    this.pcrs.get(hash)?.set(index, extendPcr(hash, this.#pcr(hash, index), data));
  }

  /**
   * A reboot: the clock goes on from its last saved value, which after a power cut lies behind. `banks`: what TPM2_PCR_Allocate
   * asked for before takes effect.
   */
  reset({
    clock = this.clockInfo.clock,
    banks = this.#banks,
  }: { readonly clock?: bigint; readonly banks?: readonly number[] } = {}): void {
    this.clockInfo = { clock, resetCount: this.clockInfo.resetCount + 1, restartCount: 0, safe: false };
    this.#banks = banks;
    this.#clearPcrs();
  }

  #clearPcrs(): void {
    this.pcrs.clear();
    for (const hash of this.#banks)
      this.pcrs.set(hash, new Map(INDICES.map((index) => [index, Buffer.alloc(digestSize(hash))])));
  }

  /** The host slept: TPM2_Startup(STATE) after TPM2_Shutdown(STATE) keeps the PCRs. */
  resume(): void {
    this.clockInfo = { ...this.clockInfo, restartCount: this.clockInfo.restartCount + 1 };
  }

  tick(milliseconds = 10): void {
    this.clockInfo = { ...this.clockInfo, clock: this.clockInfo.clock + BigInt(milliseconds) };
  }

  #pcr(hash: number, index: number): Buffer {
    const value = this.pcrs.get(hash)?.get(index);
    if (value === undefined) throw new TypeError(`no pcr ${index} in bank ${hash}`);
    return value;
  }
}

/** An attest structure that is none of those the project reads: the common fields, then whatever was attested. */
export function encodeOtherAttest(
  type: number,
  fields: Omit<QuoteFields, 'type' | 'attested'>,
  attested: Buffer,
): Buffer {
  const writer = new Writer();
  writer.u32(fields.magic);
  writer.u16(type);
  for (const bytes of [fields.qualifiedSigner, fields.extraData]) {
    writer.u16(bytes.length);
    writer.bytes(bytes);
  }
  writer.u64(fields.clockInfo.clock);
  writer.u32(fields.clockInfo.resetCount);
  writer.u32(fields.clockInfo.restartCount);
  writer.u8(fields.clockInfo.safe ? 1 : 0);
  writer.u64(fields.firmwareVersion);
  writer.bytes(attested);
  return writer.finish();
}

export function signAttest(ak: SoftwareKey, attest: Buffer): SignedAttest {
  return { attest, signature: signWithAk(ak, attest) };
}

/** The digest that a quote over these selections and values holds. */
export function digestOf(ak: SoftwareAk, selection: QuoteFields['attested']['pcrSelect'], values: PcrValues): Buffer {
  return pcrDigest(selection, values, signingHashOf(ak));
}

function signingHashOf({ publicArea }: SoftwareKey): number {
  const scheme = 'scheme' in publicArea.parameters ? publicArea.parameters.scheme : undefined;
  if (typeof scheme === 'object' && 'hashAlg' in scheme) return scheme.hashAlg;
  throw new TypeError('the ak has no hash of its own');
}

function makeEkOf(kind: EkKind): SoftwareKey {
  switch (kind) {
    case 'rsa2048':
      return withFreshRsaKey(makeEk({ rsaBits: 2048 }, { nameAlg: TPM_ALG_SHA256, aesBits: 128 }));
    case 'p256':
      return makeEk({ curveID: TPM_ECC_NIST_P256 }, { nameAlg: TPM_ALG_SHA256, aesBits: 128 });
    case 'p384':
      return makeEk({ curveID: TPM_ECC_NIST_P384 }, { nameAlg: TPM_ALG_SHA384, aesBits: 256 });
  }
}

/** RSA keys are made once per size where their identity does not matter; here it does. */
function withFreshRsaKey({ publicArea }: SoftwareKey): SoftwareKey {
  if (publicArea.type !== TPM_ALG_RSA) throw new TypeError('no rsa key');
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: publicArea.parameters.keyBits });
  const unique = Buffer.from(publicKey.export({ format: 'jwk' }).n ?? '', 'base64url');
  return { privateKey, publicArea: makePublicArea({ ...publicArea, unique }) };
}

function same<T>(value: T): T {
  return value;
}
