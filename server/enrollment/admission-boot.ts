import { appraise } from '../policy/appraise.ts';
import type { TrustPolicy } from '../policy/policy.ts';
import type { CheckRecord, LogPart } from '../store/records.ts';
import type { Epochs, Store } from '../store/store.ts';
import type { BootCache, KnownBoot } from '../verifier/boot-cache.ts';
import { logsOf, recordBoot } from '../verifier/boot-record.ts';
import { EnrollmentError } from './enrollment-error.ts';
import type { ProvenEnrollment } from './prove.ts';

export interface BootAdmission {
  readonly store: Pick<Store, 'getPolicy'>;
  readonly boots: BootCache;
  /** Id of the trust policy that every enrolment must satisfy; '' where none must. */
  readonly bootPolicy: string;
}

/** What the quote and the logs of an enrolment prove of the boot; null where they say nothing of a log. */
export function bootOfEnrollment(
  { boots }: Pick<BootAdmission, 'boots'>,
  { evidence, proof }: ProvenEnrollment,
  logs: readonly LogPart[],
): Promise<KnownBoot | null> {
  const record = recordBoot(evidence, proof.logs, logs);
  return record === null ? Promise.resolve(null) : boots.verify(record, () => logsOf(logs));
}

/**
 * Holds the boot of a host against the policy that admission names: every check of the evidence and every rule must pass. Who vouches
 * for the TPM is the other half of the admission. Returns what the audit log keeps of the boot; throws {@link EnrollmentError}.
 */
export async function admitBoot(
  { store, bootPolicy }: BootAdmission,
  { evidence }: ProvenEnrollment,
  context: { readonly boot: KnownBoot | null; readonly epochs: Epochs },
): Promise<string> {
  const { boot, epochs } = context;
  const state = describeBoot(boot);
  if (bootPolicy === '') return state;
  // Read after the epochs: a policy that changes meanwhile fences the enrolment.
  const record = await store.getPolicy(bootPolicy, null);
  if (record === null) {
    throw new EnrollmentError(
      'ADMISSION_BOOT_DENIED',
      `admission asks for the policy ${bootPolicy}, which does not exist`,
    );
  }
  if (boot?.outcome.kind === 'unverified' && boot.outcome.torn) {
    throw new EnrollmentError('ENROLLMENT_EVIDENCE_TORN', 'a log ends before the quote: try again');
  }
  const { firmwareVersion, clockInfo } = evidence.quote;
  // What runs is judged in rounds: at its enrolment a host may not even have started to.
  const policy: TrustPolicy = { ...(JSON.parse(record.body) as TrustPolicy), runtime: null };
  const { checks } = appraise({
    applicable: { kind: 'policy', policy, version: record.version, references: [] },
    epochs,
    findings: evidence.findings,
    pcrs: evidence.pcrs,
    boot: boot?.outcome ?? { kind: 'none' },
    runtime: null,
    banks: new Set(evidence.banks.map(({ hash }) => hash)),
    banksProven: evidence.banksProven,
    endorsed: true,
    revoked: null,
    standing: [],
    akName: '',
    firmwareVersion,
    resetCount: clockInfo.resetCount,
    restartCount: clockInfo.restartCount,
    facts: null,
  });
  const failures = checks.filter(({ outcome }) => outcome !== 'passed');
  if (failures.length > 0) throw denied(bootPolicy, failures);
  return `${state}, satisfies policy ${bootPolicy} version ${record.version}`;
}

const MAX_NAMED = 8;

function denied(policy: string, failures: readonly CheckRecord[]): EnrollmentError {
  const named = failures.slice(0, MAX_NAMED).map(({ id, reason }) => `${id} (${reason})`);
  const more = failures.length > MAX_NAMED ? ` and ${failures.length - MAX_NAMED} more` : '';
  const message = `the boot does not satisfy the policy ${policy}: ${named.join(', ')}${more}`;
  return new EnrollmentError('ADMISSION_BOOT_DENIED', message);
}

function describeBoot(boot: KnownBoot | null): string {
  if (boot === null) return 'no boot log';
  const { record, outcome } = boot;
  if (outcome.kind === 'missing') return 'boot log unreadable';
  const how = outcome.kind === 'verified' ? 'verified' : outcome.finding.reason;
  const mode = outcome.kind === 'verified' ? `, secure boot ${outcome.boot.secureBoot.mode}` : '';
  return `boot log ${record.bootLog.sha256} ${how}${mode}`;
}
