import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { FileRule, RuntimeRulesDraft } from '../../../server/policy/runtime-rules.ts';
import { readKeyring } from '../../../server/reference/keyring.ts';
import { runtimeReport } from '../../../server/rpc/runtime-report.ts';
import type { ResultRecord } from '../../../server/store/records.ts';
import { kernelCertificate, kernelLogs, kernelSigner, kernelTpm } from '../../support/kernel-lists.ts';
import type { SignerName } from '../../support/kernel-lists.ts';
import { failures, putRules } from '../../support/measured-host.ts';
import { FILES } from '../../support/runtime-policy.ts';
import { caughtUp, enrollMachine, StreamAgent } from '../../support/stream-agent.ts';
import { openHouse, OPERATOR } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

/** Hosts whose lists real kernels made, judged by a policy. */

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

const ALL: readonly SignerName[] = ['signer-rsa', 'signer-p256', 'signer-p384'];

/** As certificates: by their names an appended signature finds its key. */
async function importSigners(names: readonly SignerName[]): Promise<void> {
  const read = readKeyring(Buffer.concat(names.map(kernelCertificate)));
  if ('problems' in read) throw new Error(JSON.stringify(read.problems));
  await house.store.putKeyring('vendor', read.keys, { ...OPERATOR, expected: 'any', add: false });
}

/** What one round of the scene comes to. */
async function judged(scene: string, rules: Partial<RuntimeRulesDraft>) {
  await putRules(house, rules);
  const machine = await enrollMachine(house, { tpm: kernelTpm(scene) });
  await caughtUp(house);
  await using agent = new StreamAgent(house, machine);
  const [boot, list] = kernelLogs(scene);
  const result: ResultRecord = await agent.round({ logs: [boot, list] });
  return { result, report: await runtimeReport(house.store, machine.id) };
}

const outcomes = ({ checks }: ResultRecord): readonly string[] =>
  checks.map(({ id, outcome, reason }) => (outcome === 'passed' ? `${id} passed` : `${id} ${outcome} ${reason}`));

/** Programs of the guest itself, which nobody signed. */
const GUEST = [
  '/bin/*',
  '/measured.ko',
  '/files/unsigned.sh',
  '/files/*written*',
  '/files/verity',
  '/files/evm-hash.sh',
];
const SIGNED: FileRule = { ...FILES, keyrings: ['keyrings/vendor'], excludes: GUEST };

describe('a host whose kernel measures', () => {
  it.each([
    ['distribution-sigv2', 5n, ['FILE_SIGNATURE_INVALID', 'FILE_UNKNOWN', 'IMA_VIOLATION']],
    ['distribution-evm-sig', 5n, ['FILE_SIGNATURE_INVALID', 'FILE_UNKNOWN']],
    ['distribution-ngv2', 0n, ['FILE_UNKNOWN']],
    ['distribution-ima', 0n, ['FILE_UNKNOWN', 'IMA_VIOLATION']],
    ['distribution-custom', 4n, ['FILE_SIGNATURE_INVALID', 'FILE_UNKNOWN']],
    ['minimal-modsig', 7n, ['FILE_SIGNATURE_INVALID', 'FILE_UNKNOWN']],
  ])('%s is believed from its boot on, and is turned by what is not signed alone', async (scene, valid, reasons) => {
    await importSigners(ALL);
    const { result, report } = await judged(scene, { files: SIGNED });
    expect(outcomes(result)).toEqual(
      expect.arrayContaining(['runtime.list passed', 'runtime.boot-aggregate passed', 'runtime.kernels passed']),
    );
    expect(result.status).toBe('contraindicated');
    expect(
      failures(result.checks)
        .map((line) => line.split(' ').at(-1))
        .toSorted(),
    ).toEqual(reasons);
    expect(report.counts?.validSignatures).toBe(valid);
  });

  it.each([
    // Of the other files, three have signatures of the same key.
    ['signer-rsa', 'affirming', 5n, []],
    ['signer-p256', 'contraindicated', 1n, ['runtime.files failed FILE_UNKNOWN']],
  ] as const)(
    'minimal-modsig has a module with an appended signature: by %s it is %s',
    async (signer, status, valid, failed) => {
      await importSigners([signer]);
      const files = { ...SIGNED, excludes: ['/bin/*', '/files/*'] };
      const { result, report } = await judged('minimal-modsig', {
        files,
        invalidSignatures: { action: 'ignore', message: '' },
      });
      expect(failures(result.checks)).toEqual(failed);
      expect(result.status).toBe(status);
      expect(report.counts?.validSignatures).toBe(valid);
      const { observed = '' } = result.checks.find(({ id }) => id === 'runtime.files') ?? {};
      expect(observed.includes('/measured.ko')).toBe(status !== 'affirming');
    },
  );

  it.each([
    [true, 4n, []],
    [false, 1n, ['/files/signer-rsa.sh', '/files/signer-p256.sh']],
  ])(
    'minimal-keys has keys added to .ima, which count where the policy trusts them: %s',
    async (trust, valid, unknown) => {
      await importSigners(['signer-p384', 'authority']);
      const files = { ...SIGNED, trustHostKeys: trust };
      const { result, report } = await judged('minimal-keys', { files });
      expect(report.hostKeys?.map(({ keyring }) => keyring)).toEqual(['.builtin_trusted_keys', '.ima', '.ima']);
      expect(report.counts?.buffers).toBe(7n);
      expect(report.counts?.validSignatures).toBe(valid);
      const { observed = '' } = result.checks.find(({ id }) => id === 'runtime.files') ?? {};
      expect(unknown.filter((path) => observed.includes(path))).toEqual(unknown);
    },
  );
});

describe('a host that started another kernel', () => {
  it.each([
    ['which began a list of its own, cannot explain PCR 10', 'distribution-kexec'],
    ['which lacks much of what was measured after it was loaded, cannot explain PCR 10', 'minimal-kexec-late'],
  ])('%s', async (_name, scene) => {
    await importSigners(ALL);
    await putRules(house, { files: SIGNED });
    const machine = await enrollMachine(house, { tpm: kernelTpm(scene) });
    await using agent = new StreamAgent(house, machine);
    const [boot, list] = kernelLogs(scene);
    for (let attempt = 1; attempt <= 3; attempt++) {
      agent.answer(await agent.challenge(), { logs: [boot, list] });
      expect((await agent.expect('torn')).attempt).toBe(attempt);
      house.clock.advance(2_000);
    }
    const { result } = await agent.expect('result');
    expect(result.status).toBe('contraindicated');
    expect(failures(result.checks)).toContain('runtime.list failed IMA_LOG_INCOMPLETE');
  });

  const ignored = { action: 'ignore', message: '' } as const;
  const ANYTHING: Partial<RuntimeRulesDraft> = {
    files: { ...SIGNED, excludes: ['/bin/*', '/files/*', '/vmlinuz'] },
    invalidSignatures: ignored,
    violations: { ...ignored, applyExcludes: false },
  };

  it.each(['minimal-kexec', 'minimal-kexec-silent', 'minimal-kexec-other-template'])(
    'with its list carried over, is one of another kernel: %s',
    async (scene) => {
      await importSigners(ALL);
      const { result } = await judged(scene, ANYTHING);
      expect(outcomes(result)).toEqual(
        expect.arrayContaining(['runtime.list passed', 'runtime.boot-aggregate passed', 'runtime.files passed']),
      );
      expect(failures(result.checks)).toEqual(['runtime.kernels failed KERNEL_REPLACED']);
      expect(result).toMatchObject({ status: 'warning', vector: { configuration: 36, executables: 33 } });
    },
  );

  it('has keys of the first kernel, and trusts none that the second one took', async () => {
    await importSigners(['signer-p384', 'authority']);
    const files = { ...SIGNED, trustHostKeys: true };
    const { result, report } = await judged('minimal-kexec', { files });
    expect(report.hostKeys?.map(({ fingerprint }) => fingerprint)).toEqual([
      kernelSigner('signer-rsa').fingerprint,
      kernelSigner('signer-p256').fingerprint,
    ]);
    // Each kernel read three files that count: two of the key that the first one took, one of the operator's.
    expect(report.counts?.validSignatures).toBe(6n);
    const { observed = '' } = result.checks.find(({ id }) => id === 'runtime.files') ?? {};
    expect(observed).toContain('signed by the unknown key');
    expect(report.findings?.filter(({ path }) => path === '/files/signer-p256.sh').map(({ reason }) => reason)).toEqual(
      ['FILE_UNKNOWN', 'FILE_UNKNOWN'],
    );
  });

  it('is followed across it from where the list was left', async () => {
    await importSigners(ALL);
    await putRules(house, ANYTHING);
    const tpm = kernelTpm('minimal-kexec-silent/before');
    const machine = await enrollMachine(house, { tpm });
    await using agent = new StreamAgent(house, machine);
    const [boot, list] = kernelLogs('minimal-kexec-silent/before');
    expect((await agent.round({ logs: [boot, list] })).status).toBe('affirming');
    for (const [alg, pcrs] of kernelTpm('minimal-kexec-silent').pcrs) {
      tpm.pcrs.get(alg)?.set(10, pcrs.get(10) ?? Buffer.alloc(0));
    }
    house.clock.advance(2_000);
    agent.send({ kind: 'wish' });
    const challenge = await agent.challenge();
    const offset = list.data.length;
    expect(challenge.logs).toEqual([{ kind: 'ima', offset }]);
    const [, whole] = kernelLogs('minimal-kexec-silent');
    agent.answer(challenge, { logs: [{ kind: 'ima', data: whole.data.subarray(offset), offset }] });
    const { result } = await agent.expect('result');
    expect(result.status).toBe('warning');
    expect(failures(result.checks)).toEqual(['runtime.kernels failed KERNEL_REPLACED']);
  });
});
