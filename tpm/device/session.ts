import { encode, fields, list, u16 } from '../codec/structure.ts';
import { TPM2B_DIGEST } from '../structures/buffers.ts';
import {
  TPM_ALG_AES,
  TPM_ALG_CFB,
  TPM_ALG_NULL,
  TPM_ALG_SHA256,
  TPM_SE_HMAC,
  TPM_SE_POLICY,
} from '../structures/constants.ts';
import { hasAttribute } from '../structures/object-attributes.ts';
import type { PublicArea } from '../structures/public-area.ts';
import { ekPolicyA, ekPolicyB, ekPolicyC } from './ek-policy.ts';
import { TpmError } from './tpm-error.ts';
import { ESYS_TR, type EsysHandle, NumberOut, StructureIn, type Tss } from './tss.ts';

/** TPMA_SESSION (Part 2 §8.4). */
const TPMA_SESSION = {
  continueSession: 1 << 0,
  decrypt: 1 << 5,
  encrypt: 1 << 6,
  audit: 1 << 7,
} as const;

export type SessionAttribute = 'decrypt' | 'encrypt' | 'audit';

/** The hash of every HMAC session, and so of the session digest that `proveBanks` has signed. */
export const SESSION_HASH = TPM_ALG_SHA256;

const { NONE, PASSWORD, RH_ENDORSEMENT } = ESYS_TR;

const symmetric = fields({ algorithm: u16, keyBits: u16, mode: u16 });
const AES_128_CFB = encode(symmetric, { algorithm: TPM_ALG_AES, keyBits: 128, mode: TPM_ALG_CFB });
const NO_SYMMETRIC = encode(fields({ algorithm: u16 }), { algorithm: TPM_ALG_NULL });

/** An HMAC session: salted to `tpmKey` where given, so that only its TPM can know the session key (Part 1 §19.6.11). */
export interface HmacSession {
  readonly tpmKey?: EsysHandle;
  readonly attributes: readonly SessionAttribute[];
}

/** Lends an HMAC session with AES-128-CFB parameter encryption, flushed afterwards. */
export async function withHmacSession<T>(
  tss: Tss,
  { tpmKey = NONE, attributes }: HmacSession,
  use: (session: EsysHandle) => Promise<T>,
): Promise<T> {
  const session = await startSession(tss, { tpmKey, type: TPM_SE_HMAC, symmetric: AES_128_CFB, hash: SESSION_HASH });
  return tss.flushAfter(session, async () => {
    const bits = attributes.reduce<number>((sum, name) => sum | TPMA_SESSION[name], TPMA_SESSION.continueSession);
    await tss.call('Esys_TRSess_SetAttributes', session, bits, 0xff);
    return use(session);
  });
}

/**
 * Lends what authorises the USER role of an EK: the empty password where the key takes one (high range), else a
 * satisfied policy session, flushed afterwards.
 * @throws TpmError `HIERARCHY_AUTH`; `UNSUPPORTED` where the key's policy is none of the TCG's
 */
export async function withEkAuthorization<T>(
  tss: Tss,
  ek: PublicArea,
  use: (session: EsysHandle) => Promise<T>,
): Promise<T> {
  if (hasAttribute(ek.objectAttributes, 'userWithAuth')) return use(PASSWORD);
  const branches = policyBranches(ek);
  const session = await startSession(tss, {
    tpmKey: NONE,
    type: TPM_SE_POLICY,
    symmetric: NO_SYMMETRIC,
    hash: ek.nameAlg,
  });
  return tss.flushAfter(session, async () => {
    await policySecret(tss, session);
    if (branches.length > 0) await policyOr(tss, session, branches);
    return use(session);
  });
}

/** What to put into TPM2_PolicyOR after TPM2_PolicySecret: nothing for PolicyA, both branches for PolicyB. */
function policyBranches({ nameAlg, authPolicy }: PublicArea): readonly Buffer[] {
  if (ekPolicyA(nameAlg).equals(authPolicy)) return [];
  const policyC = ekPolicyC(nameAlg);
  if (policyC !== undefined && ekPolicyB(nameAlg)?.equals(authPolicy) === true) return [ekPolicyA(nameAlg), policyC];
  throw new TpmError('UNSUPPORTED', 'the endorsement key has a policy that is none of the TCG templates');
}

/** TPM2_PolicySecret (Part 3 §23.4) with the endorsement hierarchy's empty authorisation. */
async function policySecret(tss: Tss, session: EsysHandle): Promise<void> {
  const noExpiration = 0;
  await tss.call(
    'Esys_PolicySecret',
    RH_ENDORSEMENT,
    session,
    PASSWORD,
    NONE,
    NONE,
    null,
    null,
    null,
    noExpiration,
    null,
    null,
  );
}

/** TPM2_PolicyOR (Part 3 §23.6). */
async function policyOr(tss: Tss, session: EsysHandle, branches: readonly Buffer[]): Promise<void> {
  const digests = encode(list(TPM2B_DIGEST, 8), branches);
  await tss.call('Esys_PolicyOR', session, NONE, NONE, NONE, new StructureIn('TPML_DIGEST', digests));
}

interface SessionStart {
  readonly tpmKey: EsysHandle;
  readonly type: number;
  /** TPMT_SYM_DEF. */
  readonly symmetric: Buffer;
  readonly hash: number;
}

/** TPM2_StartAuthSession (Part 3 §11.1), not bound; ESYS draws nonce and salt. */
async function startSession(tss: Tss, { tpmKey, type, symmetric, hash }: SessionStart): Promise<EsysHandle> {
  const session = new NumberOut();
  const cipher = new StructureIn('TPMT_SYM_DEF', symmetric);
  await tss.call('Esys_StartAuthSession', tpmKey, NONE, NONE, NONE, NONE, null, type, cipher, hash, session);
  return session.value;
}
