import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { RuntimeListState } from '../../../proto/gen/assay/v1/runtime_report_pb.ts';
import { describeRuntime } from '../../../client/commands/runtime.ts';
import { runtimeReport } from '../../../server/rpc/runtime-report.ts';
import { MeasuredHost, putRules } from '../../support/measured-host.ts';
import { bufferPlan, filePlan, sha256, violationPlan } from '../../support/measuring-kernel.ts';
import { FILES, importFiles, importKeys } from '../../support/runtime-policy.ts';
import { openHouse } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import { ecSigner, rsaSigner, signV2 } from '../../tpm/ima/signing.ts';

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(() => house[Symbol.asyncDispose]());

const signer = rsaSigner();

describe('a report on the run time', () => {
  it('counts what was judged, names the keys and shows the first of each kind', async () => {
    await importFiles(house.store, ['good']);
    await importKeys(house.store, [signer]);
    await putRules(house, {
      files: {
        ...FILES,
        referenceSets: ['referenceSets/base'],
        keyrings: ['keyrings/vendor'],
        excludes: ['/var/*'],
      },
    });
    await using host = await MeasuredHost.enrolled(house);
    const other = ecSigner('P-256');
    host.kernel.measure(
      filePlan('/usr/bin/good', 'good'),
      filePlan('/usr/bin/signed', 's', signV2(signer, 'sha256', sha256('s'))),
      filePlan('/var/cache/x', 'x'),
      bufferPlan('.ima', other.spki),
      filePlan('/usr/bin/other', 'o', signV2(other, 'sha256', sha256('o'))),
      violationPlan('/var/log/x'),
      ...Array.from({ length: 20 }, (_, index) => filePlan(`/tmp/${index}`, String(index))),
    );
    const { length } = host.kernel.list;
    await host.round();
    const report = await runtimeReport(house.store, host.machine.id);
    expect(report).toMatchObject({
      state: RuntimeListState.FOLLOWED,
      checkpoint: { entries: 28n, offset: BigInt(length), waitingBytes: 0n },
      counts: {
        files: 24n,
        allowed: 2n,
        excluded: 1n,
        unknown: 21n,
        violations: 1n,
        buffers: 2n,
        validSignatures: 1n,
        unknownKeySignatures: 1n,
      },
      referenceSets: [{ referenceSet: 'referenceSets/base', files: 1n }],
      signatureKeys: [{ fingerprint: signer.key.fingerprint, files: 1n }],
      hostKeys: [{ keyring: '.ima', fingerprint: other.key.fingerprint }],
    });
    expect(report.findings?.filter(({ reason }) => reason === 'FILE_UNKNOWN')).toHaveLength(8);
    expect(report.findings?.[0]).toMatchObject({ path: '/usr/bin/other', entry: 6n });
  });

  it('says that nothing is judged where no policy asks', async () => {
    await using host = await MeasuredHost.enrolled(house);
    await host.round();
    expect(await runtimeReport(house.store, host.machine.id)).toMatchObject({ state: RuntimeListState.UNJUDGED });
  });

  it('tells nothing of a boot that is over', async () => {
    await importFiles(house.store, ['good']);
    await putRules(house, { files: { ...FILES, referenceSets: ['referenceSets/base'] } });
    await using host = await MeasuredHost.enrolled(house);
    await host.round();
    host.machine.tpm.reset();
    await host.next({ logs: [] });
    expect(await runtimeReport(house.store, host.machine.id)).toMatchObject({ state: RuntimeListState.UNJUDGED });
  });
});

it('shows a path of a host escaped', () => {
  const counts = Object.fromEntries(
    [
      ...['files', 'allowed', 'excluded', 'unknown', 'forbidden', 'violations', 'buffers', 'otherKernels'],
      ...['validSignatures', 'invalidSignatures', 'unknownKeySignatures', 'unreadable', 'inconsistent'],
    ].map((name) => [name, 1]),
  ) as Parameters<typeof describeRuntime>[0]['counts'];
  const text = describeRuntime(
    {
      host: 'hosts/h-a',
      state: 'FOLLOWED',
      checkpoint: {
        entries: 2,
        offset: 99,
        waitingBytes: 7,
        pcrs: [{ bank: 'sha256', index: 10, value: 'ab', modes: [] }],
      },
      counts,
      referenceSets: [],
      signatureKeys: [],
      findings: [{ reason: 'FILE_UNKNOWN', entry: 1, path: '/tmp/\u001b[2Jx\u202e', digest: '', detail: '' }],
      hostKeys: [],
      bootAggregate: '',
      json: {},
    },
    { colours: false },
  );
  expect(text).not.toContain('\u001b');
  expect(text).not.toContain('\u202e');
  expect(text).toContain('2 entries (99 bytes) proven and judged');
});
