/**
 * Constants of TPM 2.0 Library Part 2 and of the TCG Algorithm Registry, under their TCG names.
 * Only what this project reads, writes or names in a finding is here.
 */

// TPM_ALG_ID (Part 2 §6.3)
export const TPM_ALG_RSA = 0x0001;
export const TPM_ALG_TDES = 0x0003;
export const TPM_ALG_SHA1 = 0x0004;
export const TPM_ALG_HMAC = 0x0005;
export const TPM_ALG_AES = 0x0006;
export const TPM_ALG_MGF1 = 0x0007;
export const TPM_ALG_KEYEDHASH = 0x0008;
export const TPM_ALG_XOR = 0x000a;
export const TPM_ALG_SHA256 = 0x000b;
export const TPM_ALG_SHA384 = 0x000c;
export const TPM_ALG_SHA512 = 0x000d;
export const TPM_ALG_NULL = 0x0010;
export const TPM_ALG_SM3_256 = 0x0012;
export const TPM_ALG_SM4 = 0x0013;
export const TPM_ALG_RSASSA = 0x0014;
export const TPM_ALG_RSAES = 0x0015;
export const TPM_ALG_RSAPSS = 0x0016;
export const TPM_ALG_OAEP = 0x0017;
export const TPM_ALG_ECDSA = 0x0018;
export const TPM_ALG_ECDH = 0x0019;
export const TPM_ALG_ECDAA = 0x001a;
export const TPM_ALG_SM2 = 0x001b;
export const TPM_ALG_ECSCHNORR = 0x001c;
export const TPM_ALG_ECMQV = 0x001d;
export const TPM_ALG_KDF1_SP800_56A = 0x0020;
export const TPM_ALG_KDF2 = 0x0021;
export const TPM_ALG_KDF1_SP800_108 = 0x0022;
export const TPM_ALG_ECC = 0x0023;
export const TPM_ALG_SYMCIPHER = 0x0025;
export const TPM_ALG_CAMELLIA = 0x0026;
export const TPM_ALG_SHA3_256 = 0x0027;
export const TPM_ALG_SHA3_384 = 0x0028;
export const TPM_ALG_SHA3_512 = 0x0029;
export const TPM_ALG_CTR = 0x0040;
export const TPM_ALG_OFB = 0x0041;
export const TPM_ALG_CBC = 0x0042;
export const TPM_ALG_CFB = 0x0043;
export const TPM_ALG_ECB = 0x0044;

// TPM_ECC_CURVE (Part 2 §6.4)
export const TPM_ECC_NIST_P256 = 0x0003;
export const TPM_ECC_NIST_P384 = 0x0004;
export const TPM_ECC_NIST_P521 = 0x0005;

// TPM_ST (Part 2 §6.9)
export const TPM_ST_NO_SESSIONS = 0x8001;
export const TPM_ST_SESSIONS = 0x8002;
export const TPM_ST_ATTEST_NV = 0x8014;
export const TPM_ST_ATTEST_COMMAND_AUDIT = 0x8015;
export const TPM_ST_ATTEST_SESSION_AUDIT = 0x8016;
export const TPM_ST_ATTEST_CERTIFY = 0x8017;
export const TPM_ST_ATTEST_QUOTE = 0x8018;
export const TPM_ST_ATTEST_TIME = 0x8019;
export const TPM_ST_ATTEST_CREATION = 0x801a;
export const TPM_ST_ATTEST_NV_DIGEST = 0x801c;

// TPM_CC (Part 2 §6.5.2)
export const TPM_CC_CreatePrimary = 0x0000_0131;
export const TPM_CC_PCR_Event = 0x0000_013c;
export const TPM_CC_ActivateCredential = 0x0000_0147;
export const TPM_CC_GetSessionAuditDigest = 0x0000_014d;
export const TPM_CC_NV_Read = 0x0000_014e;
export const TPM_CC_PolicySecret = 0x0000_0151;
export const TPM_CC_Create = 0x0000_0153;
export const TPM_CC_Load = 0x0000_0157;
export const TPM_CC_Quote = 0x0000_0158;
export const TPM_CC_FlushContext = 0x0000_0165;
export const TPM_CC_NV_ReadPublic = 0x0000_0169;
export const TPM_CC_PolicyOR = 0x0000_0171;
export const TPM_CC_ReadPublic = 0x0000_0173;
export const TPM_CC_StartAuthSession = 0x0000_0176;
export const TPM_CC_GetCapability = 0x0000_017a;
export const TPM_CC_GetRandom = 0x0000_017b;
export const TPM_CC_PCR_Read = 0x0000_017e;
export const TPM_CC_ReadClock = 0x0000_0181;
export const TPM_CC_PCR_Extend = 0x0000_0182;

// TPM_CAP (Part 2 §6.12)
export const TPM_CAP_ALGS = 0x0000_0000;
export const TPM_CAP_HANDLES = 0x0000_0001;
export const TPM_CAP_PCRS = 0x0000_0005;
export const TPM_CAP_TPM_PROPERTIES = 0x0000_0006;

// TPM_GENERATED (Part 2 §6.2): the first four bytes of all that a restricted key signs for the TPM itself.
export const TPM_GENERATED_VALUE = 0xff54_4347;

// TPM_RH (Part 2 §7.4)
export const TPM_RH_OWNER = 0x4000_0001;
export const TPM_RH_NULL = 0x4000_0007;
export const TPM_RS_PW = 0x4000_0009;
export const TPM_RH_LOCKOUT = 0x4000_000a;
export const TPM_RH_ENDORSEMENT = 0x4000_000b;
export const TPM_RH_PLATFORM = 0x4000_000c;

// TPM_SE (Part 2 §6.11)
export const TPM_SE_HMAC = 0x00;
export const TPM_SE_POLICY = 0x01;
export const TPM_SE_TRIAL = 0x03;

/** PCRs that a bank of a PC Client TPM has (PC Client Platform TPM Profile §3.7). */
export const IMPLEMENTATION_PCR = 24;

/** A row of the table of hashes. `node` is the name that `node:crypto` knows; `size` and `blockSize` are bytes. */
export interface HashAlgorithm {
  readonly alg: number;
  readonly name: string;
  readonly node: string;
  readonly size: number;
  readonly blockSize: number;
}

/** Hashes by TPM_ALG_ID. */
export const HASH_ALGORITHMS: ReadonlyMap<number, HashAlgorithm> = new Map(
  (
    [
      [TPM_ALG_SHA1, 'sha1', 'sha1', 20, 64],
      [TPM_ALG_SHA256, 'sha256', 'sha256', 32, 64],
      [TPM_ALG_SHA384, 'sha384', 'sha384', 48, 128],
      [TPM_ALG_SHA512, 'sha512', 'sha512', 64, 128],
      [TPM_ALG_SM3_256, 'sm3_256', 'sm3', 32, 64],
      [TPM_ALG_SHA3_256, 'sha3_256', 'sha3-256', 32, 136],
      [TPM_ALG_SHA3_384, 'sha3_384', 'sha3-384', 48, 104],
      [TPM_ALG_SHA3_512, 'sha3_512', 'sha3-512', 64, 72],
    ] as const
  ).map(([alg, name, node, size, blockSize]) => [alg, { alg, name, node, size, blockSize }]),
);

/** The TPM_ALG_ID of a hash by its name (`sha256`), as policies and PCR listings write it. */
export function hashAlgorithmByName(name: string): HashAlgorithm | undefined {
  return HASHES_BY_NAME.get(name);
}

const HASHES_BY_NAME: ReadonlyMap<string, HashAlgorithm> = new Map(
  [...HASH_ALGORITHMS.values()].map((hash) => [hash.name, hash]),
);

/** A row of the table of curves. `coordinateSize` is ceil(bits / 8): 66 for P-521. `jwk` and `node` are their names there. */
export interface EccCurve {
  readonly curve: number;
  readonly name: string;
  readonly jwk: string;
  readonly node: string;
  readonly bits: number;
  readonly coordinateSize: number;
}

/** Curves by TPM_ECC_CURVE; a curve without a row is not accepted for any key. */
export const ECC_CURVES: ReadonlyMap<number, EccCurve> = new Map([
  [
    TPM_ECC_NIST_P256,
    { curve: TPM_ECC_NIST_P256, name: 'P-256', jwk: 'P-256', node: 'prime256v1', bits: 256, coordinateSize: 32 },
  ],
  [
    TPM_ECC_NIST_P384,
    { curve: TPM_ECC_NIST_P384, name: 'P-384', jwk: 'P-384', node: 'secp384r1', bits: 384, coordinateSize: 48 },
  ],
  [
    TPM_ECC_NIST_P521,
    { curve: TPM_ECC_NIST_P521, name: 'P-521', jwk: 'P-521', node: 'secp521r1', bits: 521, coordinateSize: 66 },
  ],
]);

const ALGORITHM_NAMES: ReadonlyMap<number, string> = new Map([
  [TPM_ALG_RSA, 'rsa'],
  [TPM_ALG_HMAC, 'hmac'],
  [TPM_ALG_AES, 'aes'],
  [TPM_ALG_KEYEDHASH, 'keyedhash'],
  [TPM_ALG_XOR, 'xor'],
  [TPM_ALG_NULL, 'null'],
  [TPM_ALG_SM4, 'sm4'],
  [TPM_ALG_RSASSA, 'rsassa'],
  [TPM_ALG_RSAES, 'rsaes'],
  [TPM_ALG_RSAPSS, 'rsapss'],
  [TPM_ALG_OAEP, 'oaep'],
  [TPM_ALG_ECDSA, 'ecdsa'],
  [TPM_ALG_ECDH, 'ecdh'],
  [TPM_ALG_ECDAA, 'ecdaa'],
  [TPM_ALG_SM2, 'sm2'],
  [TPM_ALG_ECSCHNORR, 'ecschnorr'],
  [TPM_ALG_ECC, 'ecc'],
  [TPM_ALG_SYMCIPHER, 'symcipher'],
  [TPM_ALG_CAMELLIA, 'camellia'],
  [TPM_ALG_CFB, 'cfb'],
]);

/** A name for people and findings: `sha256`, `rsapss`; an id without a name as `0x0099`. */
export function algorithmName(alg: number): string {
  return HASH_ALGORITHMS.get(alg)?.name ?? ALGORITHM_NAMES.get(alg) ?? `0x${alg.toString(16).padStart(4, '0')}`;
}
