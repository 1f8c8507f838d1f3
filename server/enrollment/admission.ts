import type { EndorsementVerdict } from '../endorsement/endorsements.ts';
import type { EkRefusal } from '../../tpm/endorsement/verify-ek.ts';
import type { Admission } from '../store/records.ts';
import { EnrollmentError } from './enrollment-error.ts';

export interface AdmissionDecision {
  readonly admission: Admission;
  /** State of a host that is new, or that still waits. */
  readonly state: 'pending' | 'active';
}

/**
 * By which way a host comes in, of those that the operator has opened: `certificate` where every EK chains to a trust anchor,
 * `inventory` where every EK was registered, `approval` where an operator decides (trust on first use). Throws
 * {@link EnrollmentError} where no way is open; the error names the first obstacle.
 */
export function decideAdmission(methods: readonly Admission[], verdict: EndorsementVerdict): AdmissionDecision {
  const refusals = verdict.certificates.filter(
    (certificate): certificate is EkRefusal => certificate?.status === 'refused',
  );
  // A certificate of another key is no missing endorsement but a false statement, and one that its issuer took back is a warning
  // about this very TPM: no way is open to these.
  const forged = refusals.find(({ code }) => code === 'EK_CERT_KEY_MISMATCH') ?? verdict.revoked;
  if (forged !== null) throw new EnrollmentError(forged.code, forged.detail);
  if (methods.includes('certificate') && verdict.certified) return { admission: 'certificate', state: 'active' };
  if (methods.includes('inventory') && verdict.registered) return { admission: 'inventory', state: 'active' };
  if (methods.includes('approval')) return { admission: 'approval', state: 'pending' };
  const [refusal] = refusals;
  if (methods.includes('certificate') && refusal !== undefined) throw new EnrollmentError(refusal.code, refusal.detail);
  const wanted = methods.includes('inventory')
    ? 'an entry of the inventory for every ek'
    : 'a certificate for every ek';
  throw new EnrollmentError('ADMISSION_DENIED', `admission asks for ${wanted}`);
}

/**
 * What can be refused before any proof, without telling a stranger what the store knows of hosts and inventory: EK certificates
 * that do not hold where certificates are the only way in, forged and revoked ones always.
 */
export function precheckAdmission(methods: readonly Admission[], verdict: EndorsementVerdict): void {
  const open = methods.includes('inventory') || methods.includes('approval');
  decideAdmission(open ? ['approval'] : methods, { ...verdict, registered: false });
}
