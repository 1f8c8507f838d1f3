import { describe, expect, it } from 'vitest';

import type { ProvenPcrValues } from '../../../tpm/crypto/pcr.ts';
import { TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';
import { appraisalInputDigest, appraise, tierOf, verdictDigest } from '../../../server/policy/appraise.ts';
import type { AppraisalInput } from '../../../server/policy/appraise.ts';
import { resolvePolicyDraft } from '../../../server/policy/policy.ts';
import type { PcrRule, TrustPolicy } from '../../../server/policy/policy.ts';
import type { TrustStatus, VectorRecord } from '../../../server/store/records.ts';
import { checkClock } from '../../../server/verifier/check-clock.ts';
import { verifyEvidence } from '../../../server/verifier/verify-evidence.ts';
import { failed, passed } from '../../../server/verifier/finding.ts';
import { demandOf, makeEvidence } from '../../support/evidence-builder.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';

const ZERO = '00'.repeat(32);
const ONE = '11'.repeat(32);

function policy(rules: readonly Partial<PcrRule>[], quote: Partial<TrustPolicy['quote']> = {}): TrustPolicy {
  const outcome = resolvePolicyDraft({
    id: 'base',
    description: '',
    selector: { matchLabels: {}, allHosts: true },
    precedence: 0,
    quote: {
      interval: undefined,
      validity: undefined,
      disconnectGrace: undefined,
      allowUnprovenBanks: false,
      allowUnendorsed: false,
      ...quote,
    },
    pcrRules: rules.map((rule) => ({
      bank: 'sha256',
      index: 7,
      allowed: [ZERO],
      severity: 'contraindicated',
      message: '',
      ...rule,
    })),
  });
  if ('problems' in outcome) throw new Error(JSON.stringify(outcome.problems));
  return outcome.policy;
}

const tpm = new SoftwareTpm();
const ak = tpm.createAk();
const extraData = Buffer.alloc(32, 1);

/** Values that a quote proves: what the TPM holds. */
function proven(): ProvenPcrValues {
  const outcome = verifyEvidence(makeEvidence(tpm, ak, extraData), demandOf(ak, extraData));
  if (outcome.kind !== 'verified' || outcome.evidence.pcrs === null) throw new Error('evidence was not verified');
  return outcome.evidence.pcrs;
}

const EPOCHS = { policy: 1, endorsement: 1 };
const BASE: AppraisalInput = {
  applicable: { kind: 'policy', policy: policy([{}]), version: 4 },
  epochs: EPOCHS,
  findings: [passed('quote', 'the quote is good'), passed('clock', 'the clock went forward', 'clock 1000')],
  pcrs: proven(),
  banks: new Set([TPM_ALG_SHA256]),
  banksProven: true,
  endorsed: true,
  standing: [],
  akName: '000b',
  resetCount: 3,
  restartCount: 1,
};

const judgedBy = (given: TrustPolicy): Partial<AppraisalInput> => ({
  applicable: { kind: 'policy', policy: given, version: 1 },
});

interface Row {
  readonly name: string;
  readonly input: Partial<AppraisalInput>;
  readonly status: TrustStatus;
  /** Reasons of what did not pass. */
  readonly reasons: readonly string[];
  readonly vector?: Partial<VectorRecord>;
}

const regressed = checkClock({ clock: 1n, resetCount: 1, restartCount: 0 }, { clock: 2n, resetCount: 1, restartCount: 0 });
const mismatch = failed('pcr-selection', { reason: 'PCR_SELECTION_MISMATCH', observed: '', expected: '', message: '' });

const ROWS: readonly Row[] = [
  {
    name: 'values that the policy allows',
    input: {},
    status: 'affirming',
    reasons: [],
    vector: { instanceIdentity: 2, configuration: 2, executables: 0, hardware: 0 },
  },
  {
    name: 'each PCR speaking for its claim',
    input: judgedBy(policy([{ index: 0 }, { index: 1 }, { index: 4 }])),
    status: 'affirming',
    reasons: [],
    vector: { instanceIdentity: 2, configuration: 2, executables: 3, hardware: 2 },
  },
  {
    name: 'a value that no rule allows',
    input: judgedBy(policy([{ allowed: [ONE] }])),
    status: 'contraindicated',
    reasons: ['PCR_MISMATCH'],
    vector: { configuration: 96 },
  },
  {
    name: 'a value that is only worth a warning',
    input: judgedBy(policy([{ allowed: [ONE], severity: 'warning' }])),
    status: 'warning',
    reasons: ['PCR_MISMATCH'],
    vector: { configuration: 32 },
  },
  {
    name: 'a warning beside a contraindication, whichever comes first',
    input: judgedBy(policy([{ index: 1, allowed: [ONE] }, { index: 7, allowed: [ONE], severity: 'warning' }, { index: 3 }])),
    status: 'contraindicated',
    reasons: ['PCR_MISMATCH', 'PCR_MISMATCH'],
    vector: { configuration: 96 },
  },
  {
    name: 'the value found among several that are allowed',
    input: judgedBy(policy([{ allowed: [ONE, ZERO] }])),
    status: 'affirming',
    reasons: [],
  },
  { name: 'no policy', input: { applicable: { kind: 'none' } }, status: 'none', reasons: ['POLICY_MISSING'] },
  {
    name: 'two policies of equal precedence',
    input: { applicable: { kind: 'ambiguous', ids: ['a', 'b'] } },
    status: 'none',
    reasons: ['POLICY_AMBIGUOUS'],
  },
  {
    name: 'a policy without rules',
    input: judgedBy({ ...policy([{}]), pcrRules: [] }),
    status: 'none',
    reasons: ['POLICY_EMPTY'],
  },
  {
    name: 'a rule for a bank that is not active',
    input: judgedBy(policy([{}, { bank: 'sha384', allowed: ['00'.repeat(48)] }])),
    status: 'none',
    reasons: ['PCR_BANK_INACTIVE'],
  },
  {
    name: 'a rule for an active bank that was not quoted',
    input: {
      ...judgedBy(policy([{}, { bank: 'sha384', allowed: ['00'.repeat(48)] }])),
      banks: new Set([TPM_ALG_SHA256, TPM_ALG_SHA384]),
    },
    status: 'none',
    reasons: ['PCR_NOT_QUOTED'],
  },
  {
    name: 'a contraindication beside a rule that cannot be evaluated',
    input: judgedBy(policy([{ allowed: [ONE] }, { bank: 'sha384', allowed: ['00'.repeat(48)] }])),
    status: 'contraindicated',
    reasons: ['PCR_MISMATCH', 'PCR_BANK_INACTIVE'],
  },
  {
    name: 'a warning beside a rule that cannot be evaluated',
    input: judgedBy(policy([{ allowed: [ONE], severity: 'warning' }, { bank: 'sha384', allowed: ['00'.repeat(48)] }])),
    status: 'none',
    reasons: ['PCR_MISMATCH', 'PCR_BANK_INACTIVE'],
  },
  {
    name: 'an EK that nobody vouches for',
    input: { endorsed: false },
    status: 'warning',
    reasons: ['EK_UNENDORSED'],
    vector: { instanceIdentity: -33 },
  },
  {
    name: 'an EK that an operator approved, where the policy allows that',
    input: { endorsed: false, ...judgedBy(policy([{}], { allowUnendorsed: true })) },
    status: 'affirming',
    reasons: [],
    vector: { instanceIdentity: -2 },
  },
  {
    name: 'banks that are not proven',
    input: { banksProven: false },
    status: 'warning',
    reasons: ['BANKS_UNPROVEN'],
    vector: { configuration: 36 },
  },
  {
    name: 'banks that are not proven, where the policy allows that',
    input: { banksProven: false, ...judgedBy(policy([{}], { allowUnprovenBanks: true })) },
    status: 'affirming',
    reasons: [],
  },
  {
    name: 'a replaced AK that nobody has acknowledged',
    input: { standing: ['AK_REPLACED'] },
    status: 'warning',
    reasons: ['AK_REPLACED'],
    vector: { instanceIdentity: -34 },
  },
  {
    name: 'a clock that once went back',
    input: { standing: ['CLOCK_REGRESSED'] },
    status: 'contraindicated',
    reasons: ['CLOCK_REGRESSED'],
    vector: { instanceIdentity: 96 },
  },
  {
    name: 'a clock that goes back now',
    input: { findings: [passed('quote', ''), regressed] },
    status: 'contraindicated',
    reasons: ['CLOCK_REGRESSED'],
    vector: { instanceIdentity: 96 },
  },
  {
    name: 'a clock that went back, with no policy to judge by',
    input: { standing: ['CLOCK_REGRESSED'], applicable: { kind: 'none' } },
    status: 'contraindicated',
    reasons: ['CLOCK_REGRESSED', 'POLICY_MISSING'],
  },
  {
    name: 'a quote over another selection',
    input: { findings: [passed('quote', ''), mismatch], pcrs: null },
    status: 'contraindicated',
    reasons: ['PCR_SELECTION_MISMATCH'],
  },
];

function reasonsOf({ checks }: ReturnType<typeof appraise>): readonly string[] {
  return checks.filter(({ outcome }) => outcome !== 'passed').map(({ reason }) => reason);
}

describe('an appraisal of', () => {
  it.each(ROWS)('$name is $status', ({ input, status, reasons, vector }) => {
    const verdict = appraise({ ...BASE, ...input });
    expect(reasonsOf(verdict)).toEqual(reasons);
    expect(verdict.status).toBe(status);
    expect(verdict.vector).toMatchObject(vector ?? {});
  });

  it('anything but a good host is never affirming', () => {
    expect(ROWS.filter(({ reasons, status }) => reasons.length > 0 && status === 'affirming')).toEqual([]);
  });

  it('a host says for each failed check what was seen, what was asked and a sentence', () => {
    for (const { input } of ROWS) {
      for (const check of appraise({ ...BASE, ...input }).checks.filter(({ outcome }) => outcome !== 'passed')) {
        if (check.id !== 'pcr-selection') expect(check).toMatchObject({ expected: expect.stringMatching(/./), message: expect.stringMatching(/\.$/) });
      }
    }
  });

  it('a host lists failures first, then what could not be evaluated', () => {
    const rules = policy([{ index: 1 }, { bank: 'sha384', index: 2, allowed: ['00'.repeat(48)] }, { allowed: [ONE] }]);
    const { checks } = appraise({ ...BASE, ...judgedBy(rules) });
    expect(checks.slice(0, 3).map(({ outcome }) => outcome)).toEqual(['failed', 'error', 'passed']);
  });

  it("a mismatch carries the operator's sentence and both values", () => {
    const { checks } = appraise({ ...BASE, ...judgedBy(policy([{ allowed: [ONE], message: 'Boot it from the approved image.' }])) });
    expect(checks[0]).toMatchObject({ id: 'pcr.sha256.7', observed: ZERO, expected: ONE });
    expect(checks[0]?.message).toContain('Boot it from the approved image.');
  });

  it('banks tells the reason that the verifier found', () => {
    const found = failed('pcr-banks', { reason: 'BANKS_UNPROVEN', observed: 'no proof was sent', expected: 'x', message: 'y' });
    const { checks } = appraise({ ...BASE, findings: [...BASE.findings, found], banksProven: false });
    expect(checks.filter(({ id }) => id === 'pcr-banks')).toEqual([found]);
  });

  it('a host names policy, version, AK and boot', () => {
    expect(appraise(BASE)).toMatchObject({ policyId: 'base', policyVersion: 4, akName: '000b', resetCount: 3, restartCount: 1 });
    expect(appraise({ ...BASE, applicable: { kind: 'none' } })).toMatchObject({ policyId: '', policyVersion: 0 });
  });
});

describe('digests', () => {
  const later: Partial<AppraisalInput> = {
    findings: [passed('quote', 'the quote is good'), passed('clock', 'the clock went forward', 'clock 2000')],
  };

  it('of verdicts stay the same while only the clock moves', () => {
    expect(verdictDigest(appraise({ ...BASE, ...later }))).toBe(verdictDigest(appraise(BASE)));
  });

  it('of verdicts stay the same whether this round brought the proof of the banks or an earlier one', () => {
    const proof = passed('pcr-banks', 'the tpm proved its active banks: sha256:0');
    expect(verdictDigest(appraise({ ...BASE, findings: [...BASE.findings, proof] }))).toBe(verdictDigest(appraise(BASE)));
  });

  it.each(ROWS.slice(1))('of a verdict on $name are their own', ({ input }) => {
    expect(verdictDigest(appraise({ ...BASE, ...input }))).not.toBe(verdictDigest(appraise(BASE)));
  });

  it('of a verdict tell a reboot, another AK and a clock that went back', () => {
    const same = verdictDigest(appraise(BASE));
    for (const change of [{ resetCount: 4 }, { restartCount: 2 }, { akName: '000c' }, { findings: [passed('quote', 'the quote is good'), regressed] }]) {
      expect(verdictDigest(appraise({ ...BASE, ...change }))).not.toBe(same);
    }
  });

  it('of the input tell policy, version and endorsements, and nothing of other policies', () => {
    const { applicable } = BASE;
    const of = (epochs: Partial<typeof EPOCHS>, given = applicable) => appraisalInputDigest(given, { ...EPOCHS, ...epochs });
    expect(of({ policy: 2 })).toBe(of({}));
    const others = [
      of({}),
      of({ endorsement: 2 }),
      of({}, { ...applicable, version: 5 } as typeof applicable),
      of({}, { kind: 'policy', policy: { ...policy([{}]), id: 'other' }, version: 4 }),
      of({}, { kind: 'none' }),
      of({}, { kind: 'ambiguous', ids: ['a', 'b'] }),
    ];
    expect(new Set(others).size).toBe(others.length);
  });
});

describe('the tier of an AR4SI code point', () => {
  it.each<[TrustStatus, readonly number[]]>([
    ['none', [-1, 0, 1]],
    ['affirming', [2, 31, -2, -32]],
    ['warning', [32, 95, -33, -96]],
    ['contraindicated', [96, 127, -97, -128]],
  ])('is %s at its bounds', (tier, values) => {
    expect(values.map(tierOf)).toEqual(values.map(() => tier));
  });
});
