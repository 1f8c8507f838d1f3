import { describe, expect, it } from 'vitest';

import { TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';
import { appraise } from '../../../server/policy/appraise.ts';
import type { AppraisalInput } from '../../../server/policy/appraise.ts';
import type { TrustStatus, VectorRecord } from '../../../server/store/records.ts';
import { failed, passed } from '../../../server/verifier/finding.ts';
import { BASE, judgedBy, ONE, policy, regressed, ZERO } from './appraisal-input.ts';

interface Row {
  readonly name: string;
  readonly input: Partial<AppraisalInput>;
  readonly status: TrustStatus;
  /** Reasons of what did not pass. */
  readonly reasons: readonly string[];
  readonly vector?: Partial<VectorRecord>;
}

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
    input: judgedBy(
      policy([{ index: 1, allowed: [ONE] }, { index: 7, allowed: [ONE], severity: 'warning' }, { index: 3 }]),
    ),
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
    input: judgedBy(
      policy([
        { allowed: [ONE], severity: 'warning' },
        { bank: 'sha384', allowed: ['00'.repeat(48)] },
      ]),
    ),
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
    name: 'an EK whose certificate was revoked, though the inventory has it',
    input: { revoked: 'CN=TPM, serial 17' },
    status: 'contraindicated',
    reasons: ['EK_CERT_REVOKED'],
    vector: { instanceIdentity: 96 },
  },
  {
    name: 'an EK whose certificate was revoked, where the policy asks for no endorsement',
    input: { endorsed: false, revoked: 'CN=TPM, serial 17', ...judgedBy(policy([{}], { allowUnendorsed: true })) },
    status: 'contraindicated',
    reasons: ['EK_CERT_REVOKED'],
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
        if (check.id !== 'pcr-selection')
          expect(check).toMatchObject({ expected: expect.stringMatching(/./), message: expect.stringMatching(/\.$/) });
      }
    }
  });

  it('a host lists failures first, then what could not be evaluated', () => {
    const rules = policy([{ index: 1 }, { bank: 'sha384', index: 2, allowed: ['00'.repeat(48)] }, { allowed: [ONE] }]);
    const { checks } = appraise({ ...BASE, ...judgedBy(rules) });
    expect(checks.slice(0, 3).map(({ outcome }) => outcome)).toEqual(['failed', 'error', 'passed']);
  });

  it("a mismatch carries the operator's sentence and both values", () => {
    const { checks } = appraise({
      ...BASE,
      ...judgedBy(policy([{ allowed: [ONE], message: 'Boot it from the approved image.' }])),
    });
    expect(checks[0]).toMatchObject({ id: 'pcr.sha256.7', observed: ZERO, expected: ONE });
    expect(checks[0]?.message).toContain('Boot it from the approved image.');
  });

  it('banks tells the reason that the verifier found', () => {
    const found = failed('pcr-banks', {
      reason: 'BANKS_UNPROVEN',
      observed: 'no proof was sent',
      expected: 'x',
      message: 'y',
    });
    const { checks } = appraise({ ...BASE, findings: [...BASE.findings, found], banksProven: false });
    expect(checks.filter(({ id }) => id === 'pcr-banks')).toEqual([found]);
  });

  it('a host names policy, version, AK and boot', () => {
    expect(appraise(BASE)).toMatchObject({
      policyId: 'base',
      policyVersion: 4,
      akName: '000b',
      resetCount: 3,
      restartCount: 1,
    });
    expect(appraise({ ...BASE, applicable: { kind: 'none' } })).toMatchObject({ policyId: '', policyVersion: 0 });
  });
});
