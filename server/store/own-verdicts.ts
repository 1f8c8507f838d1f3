import type { CheckRecord, HostRecord, ResultRecord, VectorRecord, Verdict } from './records.ts';

/**
 * Verdicts that the store writes itself, because something happened to the host or to what it is judged by. None of them affirms.
 */

/** AR4SI: no claim is made. */
const NO_CLAIM: VectorRecord = { instanceIdentity: 0, configuration: 0, executables: 0, hardware: 0 };
/** AR4SI instance-identity 96: recognised, and contraindicated. */
const IDENTITY_CONTRAINDICATED = 96;

type Subject = Pick<Verdict, 'akName' | 'resetCount' | 'restartCount'>;

/** The host is enrolled and has not been judged yet. */
export function awaitingVerdict(host: HostRecord): Verdict {
  return noVerdict(subjectOf(host), [awaitingCheck(host)]);
}

/** Another AK took the place of the one that was trusted. */
export function akReplacedVerdict(host: HostRecord): Verdict {
  const replaced = check('attestation-key', 'error', 'AK_REPLACED', {
    message: 'The attestation key of this host was replaced. What the former key attested no longer counts.',
  });
  return noVerdict(subjectOf(host), host.state === 'pending' ? [replaced, awaitingCheck(host)] : [replaced]);
}

/** The host enrolled again after a reset or resume of its TPM. */
export function resetVerdict(host: HostRecord): Verdict {
  return noVerdict(subjectOf(host), [
    check('boot', 'error', 'TPM_RESET', {
      message: 'The host was rebooted or resumed. What it booted has not been judged yet.',
    }),
  ]);
}

/** What the former verdict was judged by has changed. */
export function inputChangedVerdict(former: Verdict): Verdict {
  return noVerdict(former, [
    check('appraisal-input', 'error', 'APPRAISAL_INPUT_CHANGED', {
      message: 'What this host is judged by has changed. It has not been judged anew yet.',
    }),
  ]);
}

/** The host is banned. */
export function revokedVerdict(host: HostRecord): Verdict {
  return {
    ...noVerdict(subjectOf(host), [
      check('host-state', 'failed', 'HOST_REVOKED', {
        observed: 'revoked',
        expected: 'active',
        message: 'An operator revoked this host. It stays banned until it is deleted.',
      }),
    ]),
    status: 'contraindicated',
    vector: { ...NO_CLAIM, instanceIdentity: IDENTITY_CONTRAINDICATED },
  };
}

/** Whether a result's validity has ended at a time. */
export function isExpired(result: Pick<ResultRecord, 'validUntil'>, now: number): boolean {
  return result.validUntil !== null && result.validUntil <= now;
}

/** The result after its validity has ended: what was found stays readable and counts for nothing. */
export function expiredResult(result: ResultRecord): ResultRecord {
  const ended = result.validUntil === null ? '' : new Date(result.validUntil).toISOString();
  const validity = check('validity', 'failed', 'RESULT_EXPIRED', {
    observed: ended,
    message: `The verdict was valid until ${ended}, and no new evidence has been accepted since.`,
  });
  return {
    ...result,
    status: 'none',
    vector: NO_CLAIM,
    checks: [...result.checks, validity],
    validUntil: null,
    connectivity: 'unreachable',
  };
}

/** The result as every reader must see it at a time, whether or not its expiry was written already. */
export function presentResult(result: ResultRecord, now: number): ResultRecord {
  return isExpired(result, now) ? expiredResult(result) : result;
}

function awaitingCheck(host: HostRecord): CheckRecord {
  return host.state === 'pending'
    ? check('evidence', 'error', 'AWAITING_APPROVAL', { message: 'An operator has not approved this host yet.' })
    : check('evidence', 'error', 'AWAITING_EVIDENCE', { message: 'The host has not sent evidence yet.' });
}

function noVerdict(subject: Subject, checks: readonly CheckRecord[]): Verdict {
  const { akName, resetCount, restartCount } = subject;
  return {
    status: 'none',
    vector: NO_CLAIM,
    checks,
    policyId: '',
    policyVersion: 0,
    inputDigest: '',
    endorsementVersion: 0,
    akName,
    resetCount,
    restartCount,
  };
}

function subjectOf(host: HostRecord): Subject {
  return { akName: host.ak.name, resetCount: host.clock.resetCount, restartCount: host.clock.restartCount };
}

function check(
  id: string,
  outcome: CheckRecord['outcome'],
  reason: string,
  text: { readonly observed?: string; readonly expected?: string; readonly message: string },
): CheckRecord {
  return { id, outcome, reason, observed: text.observed ?? '', expected: text.expected ?? '', message: text.message };
}
