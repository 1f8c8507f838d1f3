import { describe, expect, it } from 'vitest';

import { describePolicy, requirementsOf } from '../../../server/policy/describe-policy.ts';
import { resolvePolicyDraft } from '../../../server/policy/policy.ts';
import type { PolicyDraft, TrustPolicy } from '../../../server/policy/policy.ts';
import { FILES, NO_RUNTIME_RULES } from '../../support/runtime-policy.ts';

const VALUES = ['00', '11', '22', '33', '44'].map((byte) => byte.repeat(32));

function policy(change: Partial<PolicyDraft> = {}, quote: Partial<PolicyDraft['quote']> = {}): TrustPolicy {
  const outcome = resolvePolicyDraft({
    id: 'base',
    description: '',
    selector: { matchLabels: {}, allHosts: true },
    precedence: 0,
    pcrRules: [{ bank: 'sha256', index: 7, allowed: [VALUES[0] ?? ''], severity: undefined, message: '' }],
    ...change,
    quote: {
      interval: 60_000,
      validity: 180_000,
      disconnectGrace: 90_000,
      allowUnprovenBanks: false,
      allowUnendorsed: false,
      ...quote,
    },
  });
  if ('problems' in outcome) throw new Error(JSON.stringify(outcome.problems));
  return outcome.policy;
}

describe('a policy in words', () => {
  it('has a sentence for each thing that it requires', () => {
    expect(describePolicy(policy())).toEqual([
      'The TPM is certified by its manufacturer or listed in the inventory.',
      'The TPM has proven which of its PCR banks are active.',
      'Evidence is asked for every 1 min; a verdict holds for 3 min from its challenge, and for 90 s once the host is no longer connected.',
      `PCR 7 of the sha256 bank holds ${VALUES[0]}; else the host is contraindicated.`,
    ]);
  });

  it('says what it lets pass', () => {
    const [endorsement, banks] = describePolicy(policy({}, { allowUnendorsed: true, allowUnprovenBanks: true }));
    expect(endorsement).toContain('or approved by an operator on first use');
    expect(banks).toContain('need not be proven');
  });

  it('names a few of many values, what another value means, and what the operator says', () => {
    const rule = { bank: 'sha256', index: 4, allowed: VALUES, severity: 'warning', message: 'Ask Ada.' } as const;
    const sentence = describePolicy(policy({ pcrRules: [rule] })).at(-1);
    expect(sentence).toBe(
      `PCR 4 of the sha256 bank holds one of 5 values (${VALUES.slice(0, 3).join(', ')} and 2 more); else that is a warning. Ask Ada.`,
    );
  });

  it('has times in the unit that they are whole in', () => {
    const times = { interval: 86_400_000, validity: 2 * 86_400_000, disconnectGrace: 1_500 };
    expect(describePolicy(policy({}, times))[2]).toBe(
      'Evidence is asked for every 1 d; a verdict holds for 2 d from its challenge, and for 1500 ms once the host is no longer connected.',
    );
    expect(describePolicy(policy({}, { disconnectGrace: 0 }))[2]).toContain('and for 0 ms once');
  });

  it('leaves out no rule', () => {
    const pcrRules = [0, 4, 7].map((index) => ({
      ...{ bank: 'sha256', index, allowed: [VALUES[1] ?? ''], severity: undefined, message: '' },
    }));
    const words = describePolicy(policy({ pcrRules })).join('\n');
    for (const { index } of pcrRules) expect(words).toContain(`PCR ${index} `);
  });

  it('has each expression in one line, and the boot log where one looks at it', () => {
    const expression = 'boot.secure_boot.used &&\n  tpm.reset_count < 9\n';
    const rule = { id: 'used', expression, claim: 'hardware', severity: 'warning', message: 'Ask Ada.' } as const;
    expect(describePolicy(policy({ expressions: [rule] })).slice(-2)).toEqual([
      'A boot log explains the PCR values that the TPM signed, in every active bank.',
      'This holds (used): boot.secure_boot.used && tpm.reset_count < 9; else that is a warning. Ask Ada.',
    ]);
  });

  it('has a sentence for each boot rule', () => {
    const rule = { severity: undefined, message: '' } as const;
    const digest = VALUES[1] ?? '';
    const other = 'ee'.repeat(32);
    const boot = {
      secureBoot: { ...rule, message: 'No exceptions.' },
      allowedSigners: { ...rule, certificates: [digest] },
      forbiddenSigners: { ...rule, certificates: [other] },
      allowedImages: { ...rule, digests: VALUES },
      forbiddenImages: { severity: 'warning', message: '', digests: [other] },
      sbatLevel: { ...rule, minimum: { shim: 4, grub: 5 } },
      commandLine: { ...rule, allowed: [], required: ['ima_policy=tcb'], forbidden: ['init'] },
    } as const;
    const [before, after] = [describePolicy(policy()), describePolicy(policy({ boot }))];
    expect(after.slice(0, before.length)).toEqual(before);
    expect(after.slice(before.length)).toEqual([
      'A boot log explains the PCR values that the TPM signed, in every active bank.',
      'Secure Boot was on when the host booted; else the host is contraindicated. No exceptions.',
      `Only these signers vouch for what booted: ${digest}; else the host is contraindicated.`,
      `None of these signers vouches for what booted: ${other}; else the host is contraindicated.`,
      `Only 5 listed images boot (${VALUES.slice(0, 3).join(', ')} and 2 more); else the host is contraindicated.`,
      `None of 1 listed images boots (${other}); else that is a warning.`,
      "shim's revocation level is at least shim 4, grub 5; else the host is contraindicated.",
      "The kernel's command line has ima_policy=tcb and does not have init; else the host is contraindicated.",
    ]);
  });

  it('says that an expression over what ran asks for a list, and for nothing else of it', () => {
    const expression = 'runtime.violations == 0';
    const expressions = [{ id: 'rule', expression, claim: 'executables', severity: undefined, message: '' }] as const;
    const [before, after] = [policy(), policy({ expressions })].map(requirementsOf);
    expect(after?.slice(before?.length)).toEqual([
      {
        description:
          'What ran since the boot is told by a list of the kernel that explains PCR 10, as the TPM signed it.',
        check: 'runtime.list',
      },
      {
        description: 'This holds (rule): runtime.violations == 0; else the host is contraindicated.',
        check: 'expression.rule',
      },
    ]);
  });

  it('has a sentence for each run-time rule, and none for what it ignores', () => {
    const runtime = {
      list: { severity: 'warning', message: '' },
      files: {
        referenceSets: ['referenceSets/a', 'referenceSets/b'],
        keyrings: ['keyrings/k'],
        requireSignature: true,
        trustHostKeys: true,
        excludes: ['/var/log/*'],
        unknown: 'contraindicated',
        message: 'Ask the image team.',
      },
      forbiddenFiles: { severity: undefined, message: '', digests: VALUES.map(String) },
      invalidSignatures: undefined,
      violations: { action: 'ignore', message: '', applyExcludes: false },
      otherKernels: undefined,
    } as const;
    const [before, after] = [describePolicy(policy()), describePolicy(policy({ runtime }))];
    expect(after.slice(0, before.length)).toEqual(before);
    expect(after.slice(before.length)).toEqual([
      'What ran since the boot is told by a list of the kernel that explains PCR 10, as the TPM signed it.',
      'There is such a list, and something in it; else that is a warning.',
      'Every file that was used stands in referenceSets/a or referenceSets/b and is signed by a key of keyrings/k or that the host added to .ima, but for 1 patterns of paths; else the host is contraindicated. Ask the image team.',
      'None of 5 forbidden files was used; else the host is contraindicated.',
      'Every signature on a file is valid; else the host is contraindicated.',
      'No other kernel was loaded; else that is a warning.',
    ]);
  });
});

describe('the check that answers a requirement', () => {
  it('stands beside its sentence, for every kind of rule', () => {
    const rule = { severity: undefined, message: '' } as const;
    const certificates = ['ab'.repeat(32)];
    const requirements = requirementsOf(
      policy({
        boot: {
          secureBoot: rule,
          allowedSigners: { ...rule, certificates },
          forbiddenSigners: undefined,
          allowedImages: undefined,
          forbiddenImages: { ...rule, digests: ['cd'.repeat(32)] },
          sbatLevel: { ...rule, minimum: { shim: 4 } },
          commandLine: { ...rule, allowed: [], required: ['quiet'], forbidden: [] },
        },
        runtime: {
          ...NO_RUNTIME_RULES,
          list: rule,
          files: { ...FILES, keyrings: ['keyrings/vendor'] },
          forbiddenFiles: { ...rule, digests: ['ef'.repeat(32)] },
        },
      }),
    );
    expect(requirements.map(({ check, description }) => [check, description.slice(0, 24)])).toEqual([
      ['endorsement', 'The TPM is certified by '],
      ['pcr-banks', 'The TPM has proven which'],
      ['', 'Evidence is asked for ev'],
      ['pcr.sha256.7', 'PCR 7 of the sha256 bank'],
      ['boot-log', 'A boot log explains the '],
      ['boot.secure-boot', 'Secure Boot was on when '],
      ['boot.allowed-signers', 'Only these signers vouch'],
      ['boot.forbidden-images', 'None of 1 listed images '],
      ['boot.sbat-level', "shim's revocation level "],
      ['boot.command-line', "The kernel's command lin"],
      ['runtime.list', 'What ran since the boot '],
      ['runtime.list', 'There is such a list, an'],
      ['runtime.files', 'Every file that was used'],
      ['runtime.forbidden-files', 'None of 1 forbidden file'],
      ['runtime.signatures', 'Every signature on a fil'],
      ['runtime.violations', 'No file was written whil'],
      ['runtime.kernels', 'No other kernel was load'],
    ]);
  });
});
