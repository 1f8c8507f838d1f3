import { failed, passed, unevaluated } from '../verifier/finding.ts';
import type { Finding } from '../verifier/finding.ts';
import {
  APPROVED_AT_BOOT,
  APPROVED_AT_RUN_TIME,
  APPROVED_SINCE_BOOT,
  CONTRAINDICATED,
  ELEMENTS_MISSING,
  UNRECOGNISED_AT_RUN_TIME,
} from './claims.ts';
import type { Claims } from './claims.ts';
import type { RuntimeReason } from './judge-entry.ts';
import { asksForSignatures, NO_RUNTIME_RULES } from './runtime-rules.ts';
import type { RuntimeAction, RuntimeRules } from './runtime-rules.ts';
import type { RuntimeFaults, RuntimeTally } from './runtime-tally.ts';

/** What is known of what ran since the boot. */
export type RuntimeEvidence =
  /**
   * Every entry that the quote covers is judged. `entries`: how many these are. `boot`: whether the list began in the boot that the
   * TPM speaks of.
   */
  | { readonly kind: 'proven'; readonly tally: RuntimeTally; readonly entries: number; readonly boot: Finding }
  /**
   * The list does not explain the quote, or cannot be judged. `tally`: what was proven and judged before; it is not forgotten.
   * `absent`: there is nothing to judge. `boot`: that what was proven began in another boot, or in none; null where nothing says so.
   */
  | {
      readonly kind: 'unproven';
      readonly finding: Finding;
      readonly absent: boolean;
      readonly tally: RuntimeTally | null;
      readonly boot: Finding | null;
    };

/** What each run-time rule of the policy says of the list; of {@link NO_RUNTIME_RULES} only whether it can be believed. */
export function appraiseRuntime(
  evidence: RuntimeEvidence | null,
  rules: RuntimeRules | null,
  claims: Claims,
): readonly Finding[] {
  if (rules === null) return [];
  const present = evidence ?? NOTHING_YET;
  const checks = checksOf(rules).map((check) => checkFaults(check, present, claims));
  const list = checkList(present, rules, claims);
  const boot = present.boot ?? unproven('runtime.boot-aggregate');
  if (boot.outcome === 'failed') claims.lower('executables', CONTRAINDICATED);
  const findings = [list, boot, ...checks];
  approve(findings, rules, claims);
  return findings;
}

/** Nothing was proven of the list of this boot so far. */
export const NOTHING_YET: RuntimeEvidence & { readonly kind: 'unproven' } = {
  kind: 'unproven',
  absent: false,
  tally: null,
  boot: null,
  finding: unevaluated('runtime.list', {
    reason: 'RUNTIME_LIST_MISSING',
    observed: 'no list for this boot',
    expected: 'the list of run-time measurements with a quote of PCR 10',
    message: 'The list of run-time measurements has not come yet. It is being asked for.',
  }),
};

interface Doubt {
  readonly reason: RuntimeReason;
  readonly expected: string;
  readonly message: string;
}

/** One kind of fault: where it shows in a result, and what it means. */
interface FaultCheck {
  readonly id: string;
  readonly reason: RuntimeReason;
  /** Without a fault: what keeps the check from being passed. */
  readonly doubt?: Doubt;
  readonly action: RuntimeAction;
  readonly message: string;
  /** Sentences for what holds and what does not. */
  readonly good: string;
  readonly bad: string;
  readonly expected: string;
}

function checksOf(rules: RuntimeRules): readonly FaultCheck[] {
  const { files, forbiddenFiles, invalidSignatures, violations, otherKernels } = rules;
  if (rules === NO_RUNTIME_RULES) return [];
  const checks: FaultCheck[] = [
    {
      id: 'runtime.kernels',
      reason: 'KERNEL_REPLACED',
      ...otherKernels,
      good: 'No other kernel was loaded.',
      bad: 'Another kernel was loaded or started: what is known of the boot is of the first one only.',
      expected: 'one kernel since the boot',
    },
    {
      id: 'runtime.violations',
      reason: 'IMA_VIOLATION',
      ...violations,
      good: 'No file was written while it was measured or in use.',
      bad: 'A file was written while it was measured or in use, so that nobody knows what of it was used.',
      expected: 'no violation',
    },
    ...(forbiddenFiles === null
      ? []
      : [
          {
            id: 'runtime.forbidden-files',
            reason: 'FILE_FORBIDDEN',
            doubt: {
              reason: 'FILE_INCOMPARABLE',
              expected: 'forbidden digests of every hash that files were measured by',
              message:
                'Files were measured by a hash that no forbidden digest is of, so that a forbidden one may be among them.',
            },
            action: forbiddenFiles.severity,
            message: forbiddenFiles.message,
            good: 'No forbidden file was used.',
            bad: 'A forbidden file was used.',
            expected: 'no forbidden file',
          } satisfies FaultCheck,
        ]),
    ...(asksForSignatures(files)
      ? [
          {
            id: 'runtime.signatures',
            reason: 'FILE_SIGNATURE_INVALID',
            ...invalidSignatures,
            good: 'No file had a signature that is not valid.',
            bad: 'A file had a signature that is not valid: it is not what was signed.',
            expected: 'valid signatures',
          } satisfies FaultCheck,
        ]
      : []),
    {
      id: 'runtime.files',
      reason: 'FILE_UNKNOWN',
      action: files?.unknown ?? 'ignore',
      message: files?.message ?? '',
      good: 'Every file that was used is allowed.',
      bad: 'A file was used that the policy does not allow.',
      expected: files === null ? '' : describeAllowed(files),
    },
  ];
  return files === null ? checks.slice(0, -1) : checks;
}

function describeAllowed({ referenceSets, keyrings, requireSignature }: NonNullable<RuntimeRules['files']>): string {
  const sets = referenceSets.length === 0 ? [] : [`in ${referenceSets.join(' or ')}`];
  const keys = keyrings.length === 0 ? [] : [`signed by a key of ${keyrings.join(' or ')}`];
  return [...sets, ...keys].join(requireSignature ? ' and ' : ' or ');
}

function checkFaults(check: FaultCheck, evidence: RuntimeEvidence, claims: Claims): Finding {
  const { id, reason, action } = check;
  const faults = evidence.tally?.faults[reason];
  if (faults === undefined || action === 'ignore') {
    if (evidence.kind === 'unproven') return unproven(id);
    const { doubt } = check;
    const doubtful = doubt && evidence.tally.faults[doubt.reason];
    if (doubt !== undefined && doubtful !== undefined)
      return unevaluated(id, { ...doubt, observed: describeFaults(doubtful) });
    const ignored = faults === undefined ? '' : `${magnitude(faults.count)}, which the policy ignores`;
    return faults === undefined
      ? passed(id, check.good)
      : passed(id, 'What was found is ignored by the policy.', ignored);
  }
  claims.lower('executables', action === 'warning' ? UNRECOGNISED_AT_RUN_TIME : CONTRAINDICATED);
  if (reason === 'KERNEL_REPLACED') claims.lower('configuration', ELEMENTS_MISSING);
  const why = check.message === '' ? '' : ` ${check.message}`;
  return failed(id, {
    reason,
    observed: describeFaults(faults),
    expected: check.expected,
    message: `${check.bad}${why}`,
  });
}

/** Whether the list can be believed. */
function checkList(evidence: RuntimeEvidence, { list, files }: RuntimeRules, claims: Claims): Finding {
  const inconsistent = evidence.tally?.faults.IMA_LIST_INCONSISTENT;
  if (inconsistent !== undefined) {
    claims.lower('executables', CONTRAINDICATED);
    return failed('runtime.list', {
      reason: 'IMA_LIST_INCONSISTENT',
      observed: describeFaults(inconsistent),
      expected: 'a list as kernels write it',
      message: 'The list of run-time measurements explains the PCRs and holds what no kernel writes.',
    });
  }
  if (evidence.kind === 'unproven') {
    const { finding } = evidence;
    if (!evidence.absent) {
      if (finding.outcome === 'failed') claims.lower('executables', CONTRAINDICATED);
      return finding;
    }
    return judgeAbsence(finding, list, claims);
  }
  const unreadable = evidence.tally.faults.IMA_ENTRY_UNREADABLE;
  if (unreadable === undefined) {
    if ((list !== null || files !== null) && isBare(evidence.tally))
      return judgeAbsence(NOTHING_MEASURED, list, claims);
    return passed('runtime.list', 'The list of run-time measurements explains the PCR values that the TPM signed.');
  }
  return unevaluated('runtime.list', {
    reason: 'IMA_ENTRY_UNREADABLE',
    observed: describeFaults(unreadable),
    expected: 'entries of templates that are known here',
    message:
      'The list of run-time measurements holds entries that cannot be read, so that nobody knows what they measured.',
  });
}

/** There is nothing to judge. */
function judgeAbsence(finding: Finding, list: RuntimeRules['list'], claims: Claims): Finding {
  if (list === null) return { ...finding, outcome: 'error' };
  claims.lower('executables', list.severity === 'warning' ? UNRECOGNISED_AT_RUN_TIME : CONTRAINDICATED);
  const why = list.message === '' ? '' : ` ${list.message}`;
  return { ...finding, outcome: 'failed', message: `${finding.message}${why}` };
}

/** Kernels that have IMA and no policy for it begin a list, and measure nothing into it. */
function isBare({ counts }: RuntimeTally): boolean {
  return counts.files === 0 && counts.violations === 0 && counts.buffers === 0;
}

const NOTHING_MEASURED = unevaluated('runtime.list', {
  reason: 'RUNTIME_NOTHING_MEASURED',
  observed: 'boot_aggregate alone',
  expected: 'files that were measured before they were used',
  message: 'Nothing was measured since the boot but the boot itself: the kernel runs without a policy for IMA.',
});

function unproven(id: string): Finding {
  return unevaluated(id, {
    reason: 'RUNTIME_UNVERIFIED',
    observed: 'no list that explains the quote',
    expected: 'a list of run-time measurements that explains PCR 10',
    message: 'What ran since the boot is not proven, so this rule cannot be judged.',
  });
}

/** Only what looks at every file, and finds all of them allowed, approves of what runs. */
function approve(findings: readonly Finding[], { files }: RuntimeRules, claims: Claims): void {
  if (files === null || files.unknown === 'ignore') return;
  if (findings.some(({ outcome }) => outcome !== 'passed')) return;
  const atBoot = claims.vector().executables === APPROVED_AT_BOOT;
  claims.improve('executables', atBoot ? APPROVED_SINCE_BOOT : APPROVED_AT_RUN_TIME);
}

const MAX_SHOWN = 4;
const MAX_SHOWN_PATH = 96;

/** The first ones by name, and how many there are about. */
function describeFaults({ count, examples }: RuntimeFaults): string {
  const shown = examples.slice(0, MAX_SHOWN).map(({ path, digest, detail }) => {
    const name = path.length > MAX_SHOWN_PATH ? `${path.slice(0, MAX_SHOWN_PATH).toWellFormed()}…` : path;
    const what = digest === '' ? name : `${name} (${digest})`;
    return detail === '' ? what : `${what}: ${detail}`;
  });
  // Of some only the number is known.
  const named = count > shown.length ? [...shown, '…'] : shown;
  return `${magnitude(count)}: ${named.join('; ')}`;
}

const MAGNITUDES = [10, 100, 1_000, 10_000, 100_000] as const;

/** About how many: an exact number of what grows would make each round another verdict. */
export function magnitude(count: number): string {
  const over = MAGNITUDES.findLast((limit) => count > limit);
  return over === undefined ? String(count) : `more than ${over}`;
}
