import { hash } from 'node:crypto';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { failures, MeasuredHost, putRules } from '../../support/measured-host.ts';
import { bufferPlan, filePlan, sha256, violationPlan } from '../../support/measuring-kernel.ts';
import { FILES, importFiles, importKeys } from '../../support/runtime-policy.ts';
import { caughtUp } from '../../support/stream-agent.ts';
import { openHouse, OPERATOR } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import { digestField, nameField } from '../../tpm/ima/list-builder.ts';
import { ecSigner, rsaSigner, signV2, vouchedFor } from '../../tpm/ima/signing.ts';

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

const signer = rsaSigner();
const signed = (path: string, content: string) => filePlan(path, content, signV2(signer, 'sha256', sha256(content)));
const BOTH = { ...FILES, referenceSets: ['referenceSets/base'], keyrings: ['keyrings/vendor'] };

describe('a host with a list of run-time measurements', () => {
  it('is affirmed while every file that it used is allowed or signed, and confirmed while it uses more of them', async () => {
    await importFiles(house.store, ['good']);
    await importKeys(house.store, [signer]);
    await putRules(house, { files: BOTH });
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/usr/bin/good', 'good'), signed('/usr/bin/signed', 'signed'));
    const challenge = await host.agent.challenge();
    // What the list began in is told by the PCRs of every bank.
    expect(challenge.selection).toBe('all');
    host.answer(challenge);
    const { result } = await host.agent.expect('result');
    expect(failures(result.checks)).toEqual([]);
    expect(result).toMatchObject({ status: 'affirming', vector: { executables: -3 } });
    const size = host.kernel.list.length;
    host.kernel.measure(signed('/usr/bin/more', 'more'));
    const next = await host.hurry();
    expect(next.selection).toEqual([{ hash: TPM_ALG_SHA256, pcrs: [10] }]);
    expect(next.logs).toEqual([{ kind: 'ima', offset: size }]);
    host.answer(next);
    expect((await host.agent.expect('result')).result).toMatchObject({ revision: result.revision, confirmations: 1 });
  });

  it.each([
    ['an unsigned file', [filePlan('/tmp/x', 'evil')], ['runtime.files failed FILE_UNKNOWN']],
    [
      'a file that was changed after it was signed',
      [filePlan('/usr/bin/signed', 'changed', signV2(signer, 'sha256', sha256('signed')))],
      ['runtime.signatures failed FILE_SIGNATURE_INVALID', 'runtime.files failed FILE_UNKNOWN'],
    ],
    ['a violation', [violationPlan('/var/log/x')], ['runtime.violations failed IMA_VIOLATION']],
    [
      'a file that another key signed',
      [filePlan('/usr/bin/x', 'x', signV2(ecSigner('P-256'), 'sha256', sha256('x')))],
      ['runtime.files failed FILE_UNKNOWN'],
    ],
    [
      'a file that hides behind the name of a buffer',
      [{ ...filePlan('.ima', 'x', signV2(signer, 'sha256', sha256('y'))), template: 'ima-buf' }],
      ['runtime.list failed IMA_LIST_INCONSISTENT', 'runtime.files failed FILE_UNKNOWN'],
    ],
    [
      'a buffer that could be a file with its signature',
      [bufferPlan('.ima', signV2(signer, 'sha256', sha256('y')))],
      ['runtime.files failed FILE_UNKNOWN'],
    ],
    [
      'a file that is called boot_aggregate',
      [filePlan('boot_aggregate', 'evil')],
      ['runtime.kernels failed KERNEL_REPLACED', 'runtime.files failed FILE_UNKNOWN'],
    ],
  ])('turns within one round of %s, and stays so through clean ones', async (_name, plans, failed) => {
    await importKeys(house.store, [signer]);
    await putRules(house, { files: { ...FILES, keyrings: ['keyrings/vendor'] } });
    await using host = await MeasuredHost.enrolled(house);
    expect((await host.round()).status).toBe('affirming');
    host.kernel.measure(...plans);
    const bad = await host.next();
    expect(bad.status).toBe('contraindicated');
    expect(failures(bad.checks)).toEqual(expect.arrayContaining(failed));
    host.kernel.measure(signed('/usr/bin/later', 'later'));
    expect((await host.next()).revision).toBe(bad.revision);
    await host.reconnect();
    expect(failures((await host.round()).checks)).toEqual(failures(bad.checks));
  });

  it('only warns, or says nothing, where the policy wants it so', async () => {
    await importFiles(house.store, []);
    const files = { ...FILES, referenceSets: ['referenceSets/base'], unknown: 'warning' } as const;
    const ignored = { action: 'ignore', message: '', applyExcludes: false } as const;
    await putRules(house, { files, violations: ignored });
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(violationPlan('/var/log/x'));
    expect((await host.round()).status).toBe('affirming');
    host.kernel.measure(filePlan('/usr/bin/x', 'x'));
    expect(await host.next()).toMatchObject({ status: 'warning', vector: { executables: 33 } });
  });

  it('is warned of when another kernel is loaded', async () => {
    await importFiles(house.store, []);
    await putRules(house, { files: { ...FILES, referenceSets: ['referenceSets/base'] } });
    await using host = await MeasuredHost.enrolled(house);
    expect((await host.round()).status).toBe('affirming');
    host.kernel.measure(bufferPlan('kexec-cmdline', Buffer.from('quiet')), host.kernel.aggregatePlan());
    const result = await host.next();
    expect(result).toMatchObject({ status: 'warning', vector: { configuration: 36, executables: 33 } });
    expect(failures(result.checks)).toEqual(['runtime.kernels failed KERNEL_REPLACED']);
  });

  it('is turned by a forbidden file that is called boot_aggregate', async () => {
    const ignored = { action: 'ignore', message: '' } as const;
    const forbiddenFiles = { digests: [sha256('worm').toString('hex')], severity: undefined, message: '' };
    await putRules(house, { forbiddenFiles, otherKernels: ignored });
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('boot_aggregate', 'other'));
    expect((await host.round()).status).toBe('affirming');
    host.kernel.measure(filePlan('boot_aggregate', 'worm'));
    expect(failures((await host.next()).checks)).toEqual(['runtime.forbidden-files failed FILE_FORBIDDEN']);
  });

  it('is turned by a forbidden file, also where an exclude covers it', async () => {
    await importFiles(house.store, ['worm']);
    await putRules(house, {
      files: { ...FILES, referenceSets: ['referenceSets/base'], excludes: ['/tmp/*'] },
      forbiddenFiles: { digests: [sha256('worm').toString('hex')], severity: undefined, message: 'Call security.' },
    });
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/tmp/anything', 'anything'));
    expect((await host.round()).status).toBe('affirming');
    host.kernel.measure(filePlan('/tmp/worm', 'worm'));
    const { status, checks } = await host.next();
    expect(status).toBe('contraindicated');
    expect(checks[0]).toMatchObject({
      id: 'runtime.forbidden-files',
      message: 'A forbidden file was used. Call security.',
      observed: `1: /tmp/worm (sha256:${sha256('worm').toString('hex')}): its digest is forbidden`,
    });
  });

  it('is not judged by digests of another hash than its files were measured by', async () => {
    const forbiddenFiles = { digests: [sha256('worm').toString('hex')], severity: undefined, message: '' };
    await putRules(house, { list: { severity: undefined, message: '' }, forbiddenFiles });
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/usr/bin/good', 'good'));
    expect((await host.round()).status).toBe('affirming');
    const worm = hash('sha512', 'worm', 'buffer');
    const fields = [digestField('sha512', worm), nameField('/tmp/worm'), Buffer.alloc(0)];
    host.kernel.measure({ template: 'ima-sig', fields });
    const { status, checks } = await host.next();
    expect(status).toBe('none');
    expect(failures(checks)).toEqual(['runtime.forbidden-files error FILE_INCOMPARABLE']);
    expect(checks[0]?.observed).toContain(`/tmp/worm (sha512:${worm.toString('hex')})`);
    const both = { ...forbiddenFiles, digests: [...forbiddenFiles.digests, worm.toString('hex')] };
    await putRules(house, { list: { severity: undefined, message: '' }, forbiddenFiles: both });
    host.house.services.policies.refresh();
    expect(failures((await host.round()).checks)).toEqual(['runtime.forbidden-files failed FILE_FORBIDDEN']);
  });

  it('is turned by a file that its kernel could not read, also where a set holds a digest of zeros', async () => {
    const draft = await house.store.openReferenceDraft('base', { expected: 'any', from: 'nothing' });
    await house.store.addReferenceEntries(draft, [{ algorithm: 'sha256', digest: '00'.repeat(32), path: '/x' }]);
    await house.store.commitReferenceDraft(draft, { ...OPERATOR, detail: '' });
    await putRules(house, { files: { ...FILES, referenceSets: ['referenceSets/base'] } });
    await using host = await MeasuredHost.enrolled(house);
    const fields = [digestField('sha256', Buffer.alloc(32)), nameField('/x'), Buffer.alloc(0)];
    host.kernel.measure({ template: 'ima-sig', fields });
    expect(failures((await host.round()).checks)).toEqual(['runtime.files failed FILE_UNKNOWN']);
  });

  it('is turned by a forbidden file under the name of an aggregate', async () => {
    const ignored = { action: 'ignore', message: '' } as const;
    const forbiddenFiles = { digests: [sha256('worm').toString('hex')], severity: undefined, message: '' };
    await putRules(house, { forbiddenFiles, otherKernels: ignored });
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('boot_aggregate', 'worm'));
    expect(failures((await host.round()).checks)).toEqual(['runtime.forbidden-files failed FILE_FORBIDDEN']);
  });

  it('needs a signature where the policy says so, whatever a set says', async () => {
    await importFiles(house.store, ['good', 'signed']);
    await importKeys(house.store, [signer]);
    await putRules(house, { files: { ...BOTH, requireSignature: true } });
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(signed('/usr/bin/signed', 'signed'));
    expect((await host.round()).status).toBe('affirming');
    host.kernel.measure(filePlan('/usr/bin/good', 'good'));
    expect((await host.next()).status).toBe('contraindicated');
  });

  it.each([
    [false, 'contraindicated'],
    [true, 'affirming'],
  ])('trusts keys that it added to .ima: %s makes a file of such a key %s', async (trustHostKeys, status) => {
    await importKeys(house.store, [signer]);
    await putRules(house, { files: { ...FILES, keyrings: ['keyrings/vendor'], trustHostKeys } });
    await using host = await MeasuredHost.enrolled(house);
    const other = ecSigner('P-256');
    host.kernel.measure(bufferPlan('.ima', vouchedFor(other, signer)));
    await host.round();
    host.kernel.measure(filePlan('/usr/bin/x', 'x', signV2(other, 'sha256', sha256('x'))));
    expect((await host.next()).status).toBe(status);
  });

  it('does not trust a key that comes after what it signed, nor one of another keyring', async () => {
    await importKeys(house.store, [signer]);
    await putRules(house, { files: { ...FILES, keyrings: ['keyrings/vendor'], trustHostKeys: true } });
    await using host = await MeasuredHost.enrolled(house);
    const other = ecSigner('P-256');
    const late = ecSigner('P-256');
    host.kernel.measure(
      bufferPlan('.platform', vouchedFor(other, signer)),
      filePlan('/usr/bin/x', 'x', signV2(other, 'sha256', sha256('x'))),
      filePlan('/usr/bin/y', 'y', signV2(late, 'sha256', sha256('y'))),
      bufferPlan('.ima', vouchedFor(late, signer)),
    );
    const result = await host.round();
    expect(result.checks.find(({ id }) => id === 'runtime.files')?.observed).toMatch(
      /^2: \/usr\/bin\/x .*\/usr\/bin\/y/,
    );
  });
});

describe('what a policy names', () => {
  it('turns exactly the host that ran a file when its digest is withdrawn', async () => {
    await importFiles(house.store, ['one', 'two']);
    await putRules(house, { files: { ...FILES, referenceSets: ['referenceSets/base'] } });
    await using first = await MeasuredHost.enrolled(house);
    await using second = await MeasuredHost.enrolled(house);
    first.kernel.measure(filePlan('/usr/bin/one', 'one'));
    second.kernel.measure(filePlan('/usr/bin/two', 'two'));
    expect((await first.round()).status).toBe('affirming');
    expect((await second.round()).status).toBe('affirming');
    await importFiles(house.store, ['one']);
    await caughtUp(house);
    // Asked at once, and judged by the list that is kept: nothing of it comes again.
    expect(
      (await first.round({ logs: [{ kind: 'ima', data: Buffer.alloc(0), offset: first.kernel.list.length }] })).status,
    ).toBe('affirming');
    const result = await second.round();
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)).toEqual(['runtime.files failed FILE_UNKNOWN']);
    await importFiles(house.store, ['one', 'two']);
    await caughtUp(house);
    expect((await second.round()).status).toBe('affirming');
  });

  it('turns the host that ran what a withdrawn key signed', async () => {
    await importKeys(house.store, [signer]);
    await putRules(house, { files: { ...FILES, keyrings: ['keyrings/vendor'] } });
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(signed('/usr/bin/x', 'x'));
    expect((await host.round()).status).toBe('affirming');
    await house.store.removeKeyringKey('vendor', signer.key.fingerprint, { ...OPERATOR, expected: 'any' });
    await caughtUp(house);
    const result = await host.round();
    expect(result.status).toBe('contraindicated');
    expect(result.checks[0]?.observed).toMatch(/signed by the unknown key [0-9a-f]{8}$/);
  });

  it('leaves nothing to affirm where it cannot be read', async () => {
    await importFiles(house.store, ['good']);
    await putRules(house, { files: { ...FILES, referenceSets: ['referenceSets/base'] } });
    const readReferenceDigests = house.store.readReferenceDigests.bind(house.store);
    Object.assign(house.store, {
      readReferenceDigests: async (set: { id: string; version: number }) =>
        readReferenceDigests({ ...set, version: set.version + 1 }, { limit: 1, after: '' }),
    });
    await using host = await MeasuredHost.enrolled(house);
    const result = await host.round();
    expect(result.status).toBe('none');
    expect(failures(result.checks)).toContain('runtime.list error REFERENCE_MISSING');
    Object.assign(house.store, { readReferenceDigests });
    expect((await host.next()).status).toBe('affirming');
  });
});
