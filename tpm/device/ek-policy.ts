import { digest, digestSize } from '../crypto/digest.ts';
import {
  TPM_ALG_SHA256,
  TPM_ALG_SHA384,
  TPM_ALG_SHA512,
  TPM_CC_PolicyOR,
  TPM_CC_PolicySecret,
  TPM_RH_ENDORSEMENT,
} from '../structures/constants.ts';

/**
 * PolicyC, TPM2_PolicyAuthorizeNV over the TCG's reserved policy index, by hash (TCG EK Credential Profile v2.6
 * §B.6.2). The other policies are computed; the test holds their well-known values.
 */
const POLICY_C: ReadonlyMap<number, string> = new Map([
  [TPM_ALG_SHA256, '3767e2edd43ff45a3a7e1eaefcef78643dca964632e7aad82c673a30d8633fde'],
  [TPM_ALG_SHA384, 'd6032ce61f2fb3c240eb3cf6a33237ef2b6a16f4293c22b455e261cffd217ad5b4947c2d73e63005eed2dc2b3593d165'],
  [
    TPM_ALG_SHA512,
    '589ee1e146544716e8deafe6db247b01b81e9f9c7dd16b814aa159138749105fba5388dd1dea702f35240c184933121e' +
      '2c61b8f50d3ef91393a49a38c3f73fc8',
  ],
]);

/** PolicyA: TPM2_PolicySecret(TPM_RH_ENDORSEMENT) with an empty policyRef (Part 3 §23.4). */
export function ekPolicyA(hash: number): Buffer {
  const entity = Buffer.alloc(8);
  entity.writeUInt32BE(TPM_CC_PolicySecret, 0);
  entity.writeUInt32BE(TPM_RH_ENDORSEMENT, 4);
  // The second extension is by the policyRef, which is empty.
  return digest(hash, digest(hash, Buffer.alloc(digestSize(hash)), entity));
}

/** PolicyC, or undefined for a hash that no template uses. */
export function ekPolicyC(hash: number): Buffer | undefined {
  const policy = POLICY_C.get(hash);
  return policy === undefined ? undefined : Buffer.from(policy, 'hex');
}

/** PolicyB: TPM2_PolicyOR(PolicyA, PolicyC) (Part 3 §23.6), or undefined for a hash that no template uses. */
export function ekPolicyB(hash: number): Buffer | undefined {
  const policyC = ekPolicyC(hash);
  if (policyC === undefined) return undefined;
  const commandCode = Buffer.alloc(4);
  commandCode.writeUInt32BE(TPM_CC_PolicyOR);
  return digest(hash, Buffer.alloc(digestSize(hash)), commandCode, ekPolicyA(hash), policyC);
}
