import { describe, expect, it } from 'vitest';

import { TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';
import type { ProvenPcrValues } from '../../../tpm/crypto/pcr.ts';
import { appraise, verdictDigest } from '../../../server/policy/appraise.ts';
import type { AppraisalInput } from '../../../server/policy/appraise.ts';
import { Appraiser } from '../../../server/policy/appraiser.ts';
import { SharedParts } from '../../../server/policy/shared-parts.ts';
import { failed, passed } from '../../../server/verifier/finding.ts';
import type { Finding } from '../../../server/verifier/finding.ts';
import { BASE, ONE, policy, ZERO } from './appraisal-input.ts';

const finding = failed('boot-log', { reason: 'R', observed: '', expected: '', message: '' });
const bank = BASE.pcrs?.get(TPM_ALG_SHA256) ?? new Map<number, Buffer>();
const withValues = (...banks: (readonly [number, ReadonlyMap<number, Buffer>])[]) =>
  ({ pcrs: new Map(banks) as unknown as ProvenPcrValues }) satisfies Partial<AppraisalInput>;
const withFindings = (...findings: Finding[]): Partial<AppraisalInput> => ({ findings });
const [quote, clock] = BASE.findings as [Finding, Finding];
const { applicable } = BASE;
const BASE_FACTS = BASE.facts ?? expect.unreachable('the input has facts');

/** For each part of an input, others of it. A part without an entry does not compile. */
const OTHERS: { readonly [Part in keyof Required<AppraisalInput>]: readonly Partial<AppraisalInput>[] } = {
  applicable: [
    { applicable: { kind: 'none' } },
    { applicable: { kind: 'ambiguous', ids: ['a', 'b'] } },
    { applicable: { ...applicable, version: 5 } as typeof applicable },
    { applicable: { ...applicable, policy: policy([{ allowed: [ONE] }]) } as typeof applicable },
    { applicable: { ...applicable, references: [{ name: 'referenceSets/a', version: 1 }] } as typeof applicable },
  ],
  epochs: [{ epochs: { policy: 2, endorsement: 1 } }, { epochs: { policy: 1, endorsement: 2 } }],
  findings: [
    withFindings(),
    withFindings(quote),
    withFindings(clock, quote),
    withFindings(quote, clock, quote),
    withFindings(quote, { ...clock, outcome: 'failed' }),
    withFindings(quote, { ...clock, message: 'The first signed clock of this AK.' }),
    ...(['id', 'outcome', 'reason', 'observed', 'expected', 'message'] as const).map((field) =>
      withFindings({ ...quote, [field]: field === 'outcome' ? 'failed' : 'another' }, clock),
    ),
  ],
  pcrs: [
    { pcrs: null },
    withValues(),
    withValues([TPM_ALG_SHA384, bank]),
    withValues([TPM_ALG_SHA256, bank], [TPM_ALG_SHA384, bank]),
    ...[...bank.keys()].flatMap((index) => [
      withValues([TPM_ALG_SHA256, new Map([...bank].filter(([other]) => other !== index))]),
      withValues([TPM_ALG_SHA256, new Map([...bank, [index, Buffer.from(ONE, 'hex')]])]),
      withValues([TPM_ALG_SHA256, new Map([...bank, [index, Buffer.alloc(0)]])]),
    ]),
    withValues([TPM_ALG_SHA256, new Map([...bank, [30, Buffer.from(ZERO, 'hex')]])]),
  ],
  boot: [
    { boot: { kind: 'moved', finding } },
    { boot: { kind: 'unverified', finding, torn: false } },
    { boot: { kind: 'missing', finding } },
  ],
  runtime: [
    { runtime: { kind: 'unproven', finding, absent: false, tally: null, boot: null } },
    { runtime: { kind: 'unproven', finding, absent: true, tally: null, boot: null } },
  ],
  banks: [
    { banks: new Set() },
    { banks: new Set([TPM_ALG_SHA384]) },
    { banks: new Set([TPM_ALG_SHA256, TPM_ALG_SHA384]) },
  ],
  banksProven: [{ banksProven: false }],
  endorsed: [{ endorsed: false }],
  revoked: [{ revoked: 'CN=TPM, serial 17' }],
  standing: [{ standing: ['AK_REPLACED'] }, { standing: ['CLOCK_REGRESSED'] }, { standing: ['a', 'b'] }],
  akName: [{ akName: '000c' }],
  resetCount: [{ resetCount: 4 }],
  restartCount: [{ restartCount: 2 }],
  firmwareVersion: [{ firmwareVersion: 1n }],
  facts: [{ facts: null }, { facts: { host: BASE_FACTS.host, certified: false } }, { facts: { ...BASE_FACTS } }],
};

/** The same content in objects of its own, but for what the service makes once and shares. */
function anew(input: AppraisalInput, observed: string): AppraisalInput {
  return {
    ...input,
    epochs: { ...input.epochs },
    findings: [{ ...quote }, passed('clock', clock.message, observed)],
    ...withValues([TPM_ALG_SHA256, new Map([...bank].map(([index, value]) => [index, Buffer.from(value)]))]),
    boot: { kind: 'none' },
    banks: new Set(input.banks),
    standing: [...input.standing],
  };
}

describe('an appraiser', () => {
  const cases = Object.values(OTHERS).flat();

  it.each(cases.map((change, at) => [at, Object.keys(change)[0], change] as const))(
    'appraises anew what differs (%i: %s), and again what is as it was before that',
    (_at, _part, change) => {
      const appraiser = new Appraiser(new SharedParts());
      const before = appraiser.judge(BASE);
      const changed = { ...BASE, ...change };
      const after = appraiser.judge(changed);
      expect(after).not.toBe(before);
      expect(after).toEqual({ verdict: appraise(changed), digest: verdictDigest(appraise(changed)) });
      const back = appraiser.judge(BASE);
      expect(back).not.toBe(after);
      expect(back).toEqual(before);
    },
  );

  it('has looked at every part of the input', () => {
    expect(Object.keys(OTHERS).toSorted()).toEqual(Object.keys(BASE).toSorted());
    expect(Object.values(OTHERS).every(({ length }) => length > 0)).toBe(true);
  });

  it('keeps the verdict where only the clock went on, and that verdict is the one of an appraisal', () => {
    const appraiser = new Appraiser(new SharedParts());
    const before = appraiser.judge(BASE);
    const next = anew(BASE, 'clock 2000');
    expect(appraiser.judge(next)).toBe(before);
    expect(verdictDigest(appraise(next))).toBe(before.digest);
  });

  it('keeps nothing where a list of run-time measurements goes on', () => {
    const appraiser = new Appraiser(new SharedParts());
    const input: AppraisalInput = {
      ...BASE,
      runtime: { kind: 'unproven', finding, absent: true, tally: null, boot: null },
    };
    const before = appraiser.judge(input);
    const after = appraiser.judge(anew(input, 'clock 2000'));
    expect(after).not.toBe(before);
    expect(after).toEqual({ verdict: appraise(anew(input, 'clock 2000')), digest: before.digest });
    // What it is made of is held once all the same.
    const others = after.verdict.checks.filter(({ id }) => id !== 'clock');
    expect(others.length).toBeGreaterThan(0);
    for (const check of others) expect(before.verdict.checks.some((held) => held === check)).toBe(true);
  });

  it('keeps nothing of a clock that went back', () => {
    const appraiser = new Appraiser(new SharedParts());
    const back = (observed: string): AppraisalInput => ({
      ...BASE,
      findings: [quote, failed('clock', { reason: 'CLOCK_REGRESSED', observed, expected: '', message: 'went back' })],
    });
    expect(appraiser.judge(back('one'))).not.toBe(appraiser.judge(back('two')));
  });
});
