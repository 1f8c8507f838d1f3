import { describe, expect, it } from 'vitest';

import { TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';
import { appraisalInputDigest, appraise, verdictDigest } from '../../../server/policy/appraise.ts';
import type { AppraisalInput } from '../../../server/policy/appraise.ts';
import { passed } from '../../../server/verifier/finding.ts';
import { BASE, EPOCHS, judgedBy, ONE, policy, regressed } from './appraisal-input.ts';

describe('digests', () => {
  const later: Partial<AppraisalInput> = {
    findings: [passed('quote', 'the quote is good'), passed('clock', 'the clock went forward', 'clock 2000')],
  };

  it('of verdicts stay the same while only the clock moves', () => {
    expect(verdictDigest(appraise({ ...BASE, ...later }))).toBe(verdictDigest(appraise(BASE)));
  });

  it('of verdicts stay the same whether this round brought the proof of the banks or an earlier one', () => {
    const proof = passed('pcr-banks', 'the tpm proved its active banks: sha256:0');
    expect(verdictDigest(appraise({ ...BASE, findings: [...BASE.findings, proof] }))).toBe(
      verdictDigest(appraise(BASE)),
    );
  });

  it.each<[string, Partial<AppraisalInput>]>([
    ['another value', judgedBy(policy([{ allowed: [ONE] }]))],
    ['no policy', { applicable: { kind: 'none' } }],
    [
      'another version of the policy',
      { applicable: { kind: 'policy', policy: policy([{}]), version: 5, references: [] } },
    ],
    ['an EK that nobody vouches for', { endorsed: false }],
    ['an EK whose certificate was revoked', { revoked: 'CN=TPM, serial 17' }],
    ['unproven banks', { banksProven: false }],
    ['other banks', { banks: new Set([TPM_ALG_SHA256, TPM_ALG_SHA384]) }],
    ['a standing finding', { standing: ['AK_REPLACED'] }],
    ['values that are not there', { pcrs: null }],
  ])('of a verdict with %s are their own', (_name, input) => {
    expect(verdictDigest(appraise({ ...BASE, ...input }))).not.toBe(verdictDigest(appraise(BASE)));
  });

  it('of a verdict tell a reboot, another AK and a clock that went back', () => {
    const same = verdictDigest(appraise(BASE));
    for (const change of [
      { resetCount: 4 },
      { restartCount: 2 },
      { akName: '000c' },
      { findings: [passed('quote', 'the quote is good'), regressed] },
    ]) {
      expect(verdictDigest(appraise({ ...BASE, ...change }))).not.toBe(same);
    }
  });

  it('of the input tell policy, version, what it names and endorsements, and nothing of other policies', () => {
    const { applicable } = BASE;
    const of = (epochs: Partial<typeof EPOCHS>, given = applicable) =>
      appraisalInputDigest(given, { ...EPOCHS, ...epochs });
    expect(of({ policy: 2 })).toBe(of({}));
    const others = [
      of({}),
      of({ endorsement: 2 }),
      of({}, { ...applicable, version: 5 } as typeof applicable),
      of({}, { kind: 'policy', policy: { ...policy([{}]), id: 'other' }, version: 4, references: [] }),
      ...[1, 2].map((version) =>
        of({}, { ...applicable, references: [{ name: 'referenceSets/a', version }] } as typeof applicable),
      ),
      of({}, { kind: 'none' }),
      of({}, { kind: 'ambiguous', ids: ['a', 'b'] }),
    ];
    expect(new Set(others).size).toBe(others.length);
  });
});
