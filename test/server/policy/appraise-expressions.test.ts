import { hash } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';
import { appraise } from '../../../server/policy/appraise.ts';
import type { AppraisalInput } from '../../../server/policy/appraise.ts';
import { MAX_STEPS } from '../../../server/policy/expression-value.ts';
import { COMMAND_LINE, IMAGES, SIGNERS } from '../../support/booted-machine.ts';
import { dataIsHere } from '../../support/data.ts';
import { BASE, ONE, policy, ZERO } from './appraisal-input.ts';
import { bootOf, line, secureBoot } from './boot-input.ts';
import { checkOf, judge, RULE } from './expression-input.ts';

const { facts } = BASE;
if (facts === null) throw new Error('the host of the tests is known');
const host = (change: Partial<typeof facts.host>): Partial<AppraisalInput> => ({
  facts: { ...facts, host: { ...facts.host, ...change } },
});
const [ek] = facts.host.eks;
if (ek === undefined) throw new Error('the host of the tests has an EK');

describe('an expression over a good host', () => {
  it.each([
    ['a PCR', `pcrs.sha256[7] == "${ZERO}"`],
    ['the endorsement', 'identity.endorsed && !identity.revoked'],
    ['the admission', 'identity.admission == "certificate"'],
    ['the maker', 'identity.manufacturer == "STM" && identity.model.startsWith("ST")'],
    ['the keys', 'identity.ek_algorithms.all(a, a in ["RSA-2048", "ECC-P256"]) && size(identity.deviations) == 0'],
    ['the firmware', 'tpm.firmware_version >= 0x0007000200030000 && tpm.reset_count == 3 && tpm.restart_count < 2'],
    ['the banks', 'tpm.active_banks.exists_one(b, b == "sha256") && !("sha1" in tpm.active_banks)'],
    ['its labels and name', 'host.labels["role"] == "compute" && has(host.node_name) && host.node_name.contains("-7")'],
    ['a choice', 'tpm.reset_count > 5 ? identity.revoked : "role" in host.labels'],
  ])('holds for %s', (_name, expression) => {
    const verdict = judge(expression);
    expect(checkOf(verdict)).toMatchObject({ outcome: 'passed', reason: '' });
    expect(verdict.status).toBe('affirming');
  });

  it('that is false lowers its claim by its severity, and says what it saw', () => {
    const rule = { claim: 'hardware', message: 'Update it.' } as const;
    const wrong = judge('tpm.firmware_version >= 0x0008000000000000', {}, rule);
    expect(wrong).toMatchObject({ status: 'contraindicated', vector: { hardware: 96 } });
    expect(checkOf(wrong)).toEqual({
      id: 'expression.rule',
      outcome: 'failed',
      reason: 'EXPRESSION_FALSE',
      observed: 'tpm.firmware_version = 1970333427105793',
      expected: 'tpm.firmware_version >= 0x0008000000000000',
      message: 'The expression rule does not hold. Update it.',
    });
    expect(judge('tpm.firmware_version < 1', {}, { ...rule, severity: 'warning' })).toMatchObject({
      status: 'warning',
      vector: { hardware: 32 },
    });
  });

  it('raises its claim, and never one that something else lowered', () => {
    expect(judge('identity.endorsed', {}, { claim: 'executables' }).vector).toMatchObject({ executables: 3 });
    expect(judge('tpm.reset_count == 3', { endorsed: false }, { claim: 'instanceIdentity' })).toMatchObject({
      status: 'warning',
      vector: { instanceIdentity: -33 },
    });
  });

  it('affirms by itself where the policy has nothing else', () => {
    const judging = {
      ...policy([{}]),
      pcrRules: [],
      expressions: [{ ...RULE, expression: `pcrs.sha256[7] == "${ZERO}"` }],
    };
    const applicable = { kind: 'policy', policy: judging, version: 1, references: [] } as const;
    expect(appraise({ ...BASE, applicable })).toMatchObject({ status: 'affirming', vector: { configuration: 2 } });
  });

  it('shows hostile text quoted and shortened, and not all of it', () => {
    const text = `a\u001b[2J${'x'.repeat(500)}`;
    const { observed } = checkOf(judge('host.labels["role"] == "a"', host({ labels: { role: text } })));
    expect(observed).toMatch(/^host\.labels\["role"\] = "a\\u001b\[2Jx+…"$/);
    expect(observed.length).toBeLessThan(150);
  });
});

/** Name, expression, change of the host, reason. None may ever pass: see the test below. */
const UNEVALUATED: readonly (readonly [string, string, Partial<AppraisalInput>, string])[] = [
  ['a label that is not there', 'host.labels["rack"] == "a"', {}, 'EXPRESSION_CLAIM_MISSING'],
  ['a missing label before ||', 'host.labels["rack"] == "a" || identity.endorsed', {}, 'EXPRESSION_CLAIM_MISSING'],
  ['a missing label after ||', 'identity.revoked || host.labels["rack"] == "a"', {}, 'EXPRESSION_CLAIM_MISSING'],
  [
    'a missing label before && false',
    '!(host.labels["rack"] == "a" && identity.revoked)',
    {},
    'EXPRESSION_CLAIM_MISSING',
  ],
  [
    'a missing label in exists',
    '["rack", "role"].exists(l, host.labels[l] == "compute")',
    {},
    'EXPRESSION_CLAIM_MISSING',
  ],
  ['a missing label in all', '!["role", "rack"].all(l, host.labels[l] == "x")', {}, 'EXPRESSION_CLAIM_MISSING'],
  ['a label named as what every object has', 'host.labels["constructor"] != ""', {}, 'EXPRESSION_CLAIM_MISSING'],
  ['a name that is not set', 'host.node_name != "a"', host({ nodeName: '' }), 'EXPRESSION_CLAIM_MISSING'],
  [
    'a bank that is not active',
    `pcrs.sha384[7] != "${ZERO}"`,
    { banks: new Set([TPM_ALG_SHA256]), pcrs: new Map() as never },
    'EXPRESSION_CLAIM_MISSING',
  ],
  [
    'a PCR that this round did not quote',
    `pcrs.sha256[7] != "${ONE}"`,
    { pcrs: new Map([[TPM_ALG_SHA256, new Map()]]) as never },
    'EXPRESSION_CLAIM_MISSING',
  ],
  ['PCRs that the quote does not cover', `pcrs.sha256[7] != "${ONE}"`, { pcrs: null }, 'EXPRESSION_CLAIM_MISSING'],
  ['banks that are not proven', '!("sha1" in tpm.active_banks)', { banksProven: false }, 'EXPRESSION_CLAIM_MISSING'],
  ['has() of banks that are not proven', '!has(tpm.active_banks)', { banksProven: false }, 'EXPRESSION_CLAIM_MISSING'],
  [
    'the maker of a TPM that nobody certifies',
    'identity.manufacturer != "a"',
    { facts: { ...facts, certified: false } },
    'EXPRESSION_CLAIM_MISSING',
  ],
  ['the maker of a revoked TPM', 'identity.manufacturer != "a"', { revoked: 'an EK' }, 'EXPRESSION_CLAIM_MISSING'],
  [
    'the maker that a certificate does not name',
    'identity.manufacturer != "a"',
    host({ eks: [{ ...ek, manufacturer: '' }] }),
    'EXPRESSION_CLAIM_MISSING',
  ],
  [
    'deviations that nobody certified',
    'size(identity.deviations) == 0',
    { facts: { ...facts, certified: false } },
    'EXPRESSION_CLAIM_MISSING',
  ],
  ['the identity of a host that enrols', 'identity.endorsed', { facts: null }, 'EXPRESSION_CLAIM_MISSING'],
  ['the labels of a host that enrols', 'has(host.node_name) || true', { facts: null }, 'EXPRESSION_CLAIM_MISSING'],
  ['an element that is not there', 'tpm.active_banks[9] != "a"', {}, 'EXPRESSION_CLAIM_MISSING'],
  [
    'a boot that has not come',
    'boot.secure_boot.mode != "disabled"',
    { boot: { kind: 'none' } },
    'EXPRESSION_CLAIM_MISSING',
  ],
  [
    'has() of a boot that has not come',
    '!has(boot.authorities)',
    { boot: { kind: 'none' } },
    'EXPRESSION_CLAIM_MISSING',
  ],
  ['an index that overflows', 'tpm.active_banks[99999999999999999999] != "a"', {}, 'EXPRESSION_ERROR'],
  [
    'values of a choice that are no single ones',
    '(identity.endorsed ? tpm.active_banks : identity.ek_algorithms) == (identity.endorsed ? tpm.active_banks : identity.ek_algorithms)',
    {},
    'EXPRESSION_ERROR',
  ],
  ['an order of two texts', 'identity.model > identity.manufacturer || true', {}, 'EXPRESSION_ERROR'],
];

describe('an expression that cannot be evaluated', () => {
  it.each(UNEVALUATED)('is never passed: %s', (_name, expression, change, reason) => {
    const verdict = judge(expression, change);
    expect(checkOf(verdict)).toMatchObject({ outcome: 'error', reason });
    expect(verdict.status).not.toBe('affirming');
    expect(verdict.checks.some(({ outcome }) => outcome === 'passed')).toBe(true);
  });

  it('ends at its budget, whatever stands around', () => {
    const many = Array.from({ length: MAX_STEPS / 10 }, (_, index) => `a${index}`);
    const labels = Object.fromEntries(many.map((name) => [name, name]));
    const list = `[${many
      .slice(0, 100)
      .map((name) => JSON.stringify(name))
      .join(',')}]`;
    const nested = `${list}.all(a, ${list}.all(b, a != "" && b != "")) || host.labels["a1"] == "a1"`;
    expect(checkOf(judge(nested, host({ labels })))).toMatchObject({
      outcome: 'error',
      reason: 'EXPRESSION_LIMIT',
      observed: `more than ${MAX_STEPS} steps`,
    });
  });

  it('is one that this release does not take any more', () => {
    expect(checkOf(judge('host.gone == "a"'))).toMatchObject({ outcome: 'error', reason: 'EXPRESSION_INVALID' });
  });
});

describe.skipIf(!dataIsHere('measured-boot'))('an expression over a verified boot', () => {
  it.each([
    ['Secure Boot', 'boot.secure_boot.mode == "enabled" && boot.secure_boot.used && !boot.secure_boot.setup_mode'],
    ['the signers', `boot.authorities.all(a, a in ${JSON.stringify(SIGNERS)})`],
    ['the images', `boot.images.filter(i, i.pcr == 4).all(i, i.digests.exists(d, d in ${JSON.stringify(IMAGES)}))`],
    ['the revocation level', 'boot.sbat_level["shim"] >= 4 && "grub" in boot.sbat_level'],
    // Of the firmware's own list, which holds one entry.
    ['the revoked', `size(boot.dbx) == 1 && "${hash('sha256', '')}" in boot.dbx`],
    ['the command line', `boot.command_line == ${JSON.stringify(COMMAND_LINE)}`],
    [
      'an argument',
      '"ima_policy=tcb" in boot.kernel_arguments && !boot.any_arguments.exists(a, a.startsWith("init="))',
    ],
  ])('holds for %s', (_name, expression) => {
    const verdict = judge(expression, { boot: bootOf() });
    expect(checkOf(verdict)).toMatchObject({ outcome: 'passed' });
    expect(verdict.status).toBe('affirming');
  });

  it('makes the policy need the log, as boot rules do', () => {
    const verdict = judge('boot.secure_boot.mode == "enabled"', { boot: { kind: 'none' } });
    expect(checkOf(verdict, 'boot-log')).toMatchObject({ outcome: 'error', reason: 'BOOT_LOG_MISSING' });
    expect(verdict.status).toBe('none');
  });

  it.each<[string, string, ReturnType<typeof bootOf>]>([
    [
      'a state of Secure Boot that nobody measured',
      'boot.secure_boot.mode != "disabled"',
      secureBoot({ mode: 'unknown' }),
    ],
    ['signers of whom none was measured', 'boot.authorities.all(a, a == "")', secureBoot({ authorities: [] })],
    ['a level that was not measured', 'boot.sbat_level["shim"] < 9', secureBoot({ sbatLevel: null })],
    ['a component that has no level', 'boot.sbat_level["xen"] < 9', bootOf()],
    ['images of which none was measured', 'boot.images.all(i, i.pcr == 4)', bootOf(() => ({ images: [] }))],
    ['no command line', 'boot.kernel_arguments.all(a, a != "debug")', line()],
    ['two command lines', 'boot.command_line != "a"', line('a', 'b')],
    ['a line whose text is not known', 'boot.command_line != "a"', line(null)],
    ['a boot that only SHA-1 proves', 'boot.secure_boot.mode == "enabled"', bootOf(() => ({ sha1Only: true }))],
    ['has() of a boot that only SHA-1 proves', '!has(boot.authorities)', bootOf(() => ({ sha1Only: true }))],
    ['an ambiguous line', 'boot.command_line != "a"', bootOf(() => ({ commandLineAmbiguous: true }))],
    ['signers where Secure Boot is off', 'size(boot.authorities) > 0', secureBoot({ mode: 'disabled' })],
    ['has() of signers where Secure Boot is off', '!has(boot.authorities)', secureBoot({ mode: 'disabled' })],
    ['revocations that are not in the log', '!("00" in boot.dbx)', secureBoot({ dbx: null })],
    ['has() of such', '!has(boot.dbx)', secureBoot({ dbx: null })],
    ['revocations that a PCR hides', 'size(boot.dbx) < 9', bootOf(() => ({ unexplained: [7] }))],
    ['images where Secure Boot is off', 'size(boot.images) > 0', secureBoot({ mode: 'unset' })],
    ['images where Secure Boot did not hold', 'size(boot.images) > 0', secureBoot({ setupMode: true })],
    ['a level where shim verifies nothing', 'boot.sbat_level["shim"] > 1', secureBoot({ shimOff: true })],
    ['what a PCR hides', '!has(boot.sbat_level)', bootOf(() => ({ unexplained: [7] }))],
    ['images that a PCR hides', 'size(boot.images) < 99', bootOf(() => ({ unexplained: [2] }))],
  ])('is never passed for %s', (_name, expression, boot) => {
    const verdict = judge(expression, { boot });
    expect(checkOf(verdict)).toMatchObject({ outcome: 'error', reason: 'EXPRESSION_CLAIM_MISSING' });
    expect(verdict.status).toBe('none');
  });

  it.each([
    ['a quoted argument, which x86 reads before it', '!("init=/bin/sh" in boot.any_arguments)', 'a "x init=/bin/sh"'],
    ['an argument of the first process', '!("init=/bin/sh" in boot.any_arguments)', 'a -- init=/bin/sh'],
    ['an argument that is quoted away', '"lockdown" in boot.kernel_arguments', 'a "x lockdown"'],
    ['an argument of the first process alone', '"lockdown" in boot.kernel_arguments', 'a -- lockdown'],
    ['an argument that some kernels cut off', '"lockdown" in boot.kernel_arguments', `a ${'x'.repeat(2_040)} lockdown`],
  ])('does not hold for %s', (_name, expression, text) => {
    expect(checkOf(judge(expression, { boot: line(text) }))).toMatchObject({ outcome: 'failed' });
  });

  it('may ask whether something was measured at all', () => {
    expect(checkOf(judge('!has(boot.sbat_level)', { boot: secureBoot({ sbatLevel: null }) })).outcome).toBe('passed');
  });
});

describe('banks that are active and proven', () => {
  it('let an expression ask for one of them before it looks at a PCR', () => {
    const expression = `"sha384" in tpm.active_banks ? pcrs.sha384[7] == "" : pcrs.sha256[7] == "${ZERO}"`;
    expect(checkOf(judge(expression)).outcome).toBe('passed');
    const both = new Set([TPM_ALG_SHA256, TPM_ALG_SHA384]);
    expect(checkOf(judge(expression, { banks: both })).outcome).not.toBe('passed');
  });
});
