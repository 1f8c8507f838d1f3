import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { parseImaAscii } from '../../../tpm/ima/ascii.ts';
import { readImaKeys } from '../../../tpm/ima/keyring.ts';
import { readKeyring } from '../../../server/reference/keyring.ts';
import { runtimeReport } from '../../../server/rpc/runtime-report.ts';
import { bootedTpm, bootLog, NO_RULES, RULE } from '../../support/booted-machine.ts';
import { conformancePath, dataIsHere, measuredBootPath } from '../../support/data.ts';
import { failures } from '../../support/measured-host.ts';
import { MeasuringKernel } from '../../support/measuring-kernel.ts';
import { FILES, importFiles, importKeys, NO_RUNTIME_RULES } from '../../support/runtime-policy.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { caughtUp, enrollMachine, StreamAgent } from '../../support/stream-agent.ts';
import { openHouse, OPERATOR, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

const BOOT = 'debian-systemd-ima';
const ignored = { action: 'ignore', message: '', applyExcludes: false } as const;

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

/** The signer's certificate of the captures. */
async function importSigner(): Promise<void> {
  const read = readKeyring(readFileSync(measuredBootPath('ca', 'ima-signer.der')));
  if ('problems' in read) throw new Error('no key');
  await house.store.putKeyring('vendor', read.keys, { ...OPERATOR, expected: 'any', add: false });
}

describe.skipIf(!dataIsHere('measured-boot'))('a real Debian with its real lists', () => {
  const list = (): Buffer => readFileSync(measuredBootPath(BOOT, 'binary_runtime_measurements'));

  async function judged() {
    const machine = await enrollMachine(house, { tpm: bootedTpm(BOOT), logs: [bootLog(BOOT)] });
    await caughtUp(house);
    await using agent = new StreamAgent(house, machine);
    return { machine, result: await agent.round({ logs: [{ kind: 'ima', data: list() }] }) };
  }

  it('is judged file by file, and its list began in the boot that the firmware tells of', async () => {
    await importSigner();
    await putPolicy(house.store, {
      pcrRules: [],
      boot: { ...NO_RULES, commandLine: { ...RULE, allowed: [], required: [], forbidden: ['evil'] } },
      runtime: { ...NO_RUNTIME_RULES, files: { ...FILES, keyrings: ['keyrings/vendor'] }, violations: ignored },
    });
    const { machine, result } = await judged();
    expect(failures(result.checks)).toContain('runtime.files failed FILE_UNKNOWN');
    expect(result.checks.find(({ id }) => id === 'runtime.list')?.outcome).toBe('passed');
    expect(result.checks.find(({ id }) => id === 'runtime.boot-aggregate')).toMatchObject({
      outcome: 'passed',
      observed: 'sha256 PCR0-9',
    });
    const report = await runtimeReport(house.store, machine.id);
    expect(report.checkpoint?.entries).toBe(392n);
    expect(report.checkpoint?.pcrs?.map(({ bank, modes }) => [bank, modes?.[0]])).toEqual([
      ['sha256', 'bankHash'],
      ['sha384', 'paddedSha1'],
    ]);
    expect(report.counts).toMatchObject({ files: 391n, unknown: 391n, validSignatures: 0n, violations: 0n });
    expect(report.findings).toHaveLength(8);
  });

  it('is affirmed by a set of what it ran, and turned by one digest less', async () => {
    await importFiles(house.store, []);
    await putPolicy(house.store, {
      pcrRules: [],
      runtime: { ...NO_RUNTIME_RULES, files: { ...FILES, referenceSets: ['referenceSets/base'] }, violations: ignored },
    });
    const ascii = readFileSync(measuredBootPath(BOOT, 'ascii_runtime_measurements'), 'utf8').trim().split('\n');
    const digests = [...new Set(ascii.map((line) => /sha256:([0-9a-f]{64})/.exec(line)?.[1] ?? ''))].filter(
      (digest) => !/^0+$/.test(digest),
    );
    const put = async (all: readonly string[]): Promise<void> => {
      const draft = await house.store.openReferenceDraft('base', { expected: 'any', from: 'nothing' });
      await house.store.addReferenceEntries(
        draft,
        all.map((digest) => ({ algorithm: 'sha256', digest, path: '/x' })),
      );
      await house.store.commitReferenceDraft(draft, { ...OPERATOR, detail: '' });
    };
    await put(digests);
    const machine = await enrollMachine(house, { tpm: bootedTpm(BOOT), logs: [bootLog(BOOT)] });
    await using agent = new StreamAgent(house, machine);
    expect((await agent.round({ logs: [{ kind: 'ima', data: list() }] })).status).toBe('affirming');
    await put(digests.toSpliced(200, 1));
    await caughtUp(house);
    const result = await agent.round({ logs: [{ kind: 'ima', data: Buffer.alloc(0), offset: list().length }] });
    expect(failures(result.checks)).toEqual(['runtime.files failed FILE_UNKNOWN']);
    expect(result.checks[0]?.observed).toContain(`(sha256:${digests[200] ?? ''})`);
  });
});

describe.skipIf(!dataIsHere('conformance'))('a list with the signatures of another project', () => {
  interface Vectors {
    readonly signatures: readonly string[];
    readonly imaKeyring: { readonly pubkeys: readonly string[] };
  }
  const vectors = (): Vectors =>
    JSON.parse(readFileSync(conformancePath('derived', 'keylime-ima-vectors.json'), 'utf8')) as Vectors;
  const keys = (): readonly { readonly spki: Buffer }[] =>
    [
      ...readImaKeys(readFileSync(conformancePath('keylime+keylime', 'test', 'data', 'ima_keys', 'rsa2048pub.pem'))),
      ...vectors()
        .imaKeyring.pubkeys.slice(1)
        .flatMap((base64) => readImaKeys(Buffer.from(base64, 'base64'))),
    ].map(({ key }) => ({ spki: key.export({ type: 'spki', format: 'der' }) }));

  it.each([
    ['as they are', (line: string) => line, 'affirming', [2n, 0n]],
    ['over other digests', (line: string) => line.replace(/sha256:../, 'sha256:99'), 'contraindicated', [0n, 2n]],
  ])('%s, RSA and secp256k1, makes the host what it is', async (_name, change, status, counts) => {
    await importKeys(house.store, keys());
    await putPolicy(house.store, {
      pcrRules: [],
      runtime: { ...NO_RUNTIME_RULES, files: { ...FILES, keyrings: ['keyrings/vendor'] } },
    });
    const tpm = new SoftwareTpm();
    const kernel = new MeasuringKernel(tpm);
    for (const { template, data } of parseImaAscii(vectors().signatures.map(change).join('\n')).entries) {
      kernel.measureData(template.name, data);
    }
    const machine = await enrollMachine(house, { tpm });
    await using agent = new StreamAgent(house, machine);
    const result = await agent.round({ logs: [kernel.log()] });
    expect(result.status).toBe(status);
    const report = await runtimeReport(house.store, machine.id);
    expect([report.counts?.validSignatures, report.counts?.invalidSignatures]).toEqual(counts);
    expect(report.signatureKeys).toHaveLength(Number(counts[0]));
  });
});
