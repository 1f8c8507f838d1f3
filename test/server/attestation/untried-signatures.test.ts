/** Lists whose signatures would cost the service more than their host is worth. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { readState } from '../../../server/policy/runtime-state.ts';
import { makePolicy } from '../../support/make-policy.ts';
import { failures, MeasuredHost, putRules } from '../../support/measured-host.ts';
import { filePlan, sha256 } from '../../support/measuring-kernel.ts';
import { FILES, importFiles, importKeys, NO_RUNTIME_RULES } from '../../support/runtime-policy.ts';
import { simulated } from '../../support/simulating.ts';
import { caughtUp } from '../../support/stream-agent.ts';
import { openHouse } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import { ecSigner, signV2 } from '../../tpm/ima/signing.ts';

const signer = ecSigner('P-256');
const signed = (path: string, content = 'signed') => filePlan(path, content, signV2(signer, 'sha256', sha256(content)));
/** Files of the set whose signature is of another file. */
const other = signV2(signer, 'sha256', sha256('other'));
const spoilt = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => filePlan(`/opt/${from + index}`, 'good', other));

/** Signatures that are not valid say nothing by themselves here: the set allows their files. */
const RULES = {
  files: { ...FILES, referenceSets: ['referenceSets/base'], keyrings: ['keyrings/vendor'] },
  invalidSignatures: { action: 'ignore', message: '' },
} as const;
/** Another judge, which says the same. */
const OTHER_RULES = { ...RULES, violations: { action: 'warning', message: '', applyExcludes: false } } as const;

let house: House;
beforeEach(async () => {
  house = await openHouse();
  await importFiles(house.store, ['good']);
  await importKeys(house.store, [signer]);
  await putRules(house, RULES);
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

const tallyOf = async ({ machine }: MeasuredHost) => readState(await house.store.getRuntime(machine.id))?.tally;

describe('signatures of a list', () => {
  it.each([
    [999, 'affirming', []],
    [1000, 'contraindicated', ['runtime.files failed FILE_UNKNOWN']],
  ] as const)(
    'are tried up to the thousandth that is not valid: behind %i a host is %s',
    async (count, status, faults) => {
      const last = signed('/usr/bin/signed');
      // What another host had tried for it helps nobody.
      await using sound = await MeasuredHost.enrolled(house);
      sound.kernel.measure(last);
      expect((await sound.round()).status).toBe('affirming');

      await using host = await MeasuredHost.enrolled(house);
      host.kernel.measure(...spoilt(0, count), last);
      const result = await host.round();
      expect(result.status).toBe(status);
      expect(failures(result.checks)).toEqual(faults);
      const tally = await tallyOf(host);
      expect(tally?.faults.FILE_SIGNATURE_INVALID?.count).toBe(count === 999 ? 999 : 1001);
      if (count === 1000) {
        expect(tally?.faults.FILE_UNKNOWN?.examples[0]?.detail).toBe('its signature was not tried');
      }

      // The same list in other parts.
      await using parted = await MeasuredHost.enrolled(house);
      parted.kernel.measure(...spoilt(0, 600));
      expect((await parted.round()).status).toBe('affirming');
      parted.kernel.measure(...spoilt(600, count), last);
      expect((await parted.next()).status).toBe(status);
      expect(await tallyOf(parted)).toEqual(tally);

      // The kept list, judged anew from its start.
      const candidate = makePolicy({ pcrRules: [], runtime: { ...NO_RUNTIME_RULES, ...OTHER_RULES } });
      const { hosts } = await simulated(house, candidate);
      expect(hosts.get(host.machine.id)?.outcome).toMatchObject({ kind: 'verdict', verdict: { status } });
      await putRules(house, OTHER_RULES);
      await caughtUp(house);
      expect(failures((await host.round()).checks)).toEqual(faults);
      expect(await tallyOf(host)).toEqual(tally);
    },
  );

  it('are not tried behind so many, and what needs no trial is told as before', async () => {
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(...spoilt(0, 1000));
    await host.round();
    const { tried } = house.services.runtimes.signatures;
    const stranger = ecSigner('P-256');
    host.kernel.measure(
      ...Array.from({ length: 20 }, (_, index) => signed(`/usr/bin/${index}`, `signed ${index}`)),
      filePlan('/usr/bin/x', 'x', signV2(stranger, 'sha256', sha256('x'))),
      filePlan('/usr/bin/y', 'good'),
    );
    await host.next();
    expect(house.services.runtimes.signatures.tried).toBe(tried);
    const tally = await tallyOf(host);
    expect(tally?.counts).toMatchObject({ validSignatures: 0, unknownKeySignatures: 1, allowed: 1001 });
    expect(tally?.faults.FILE_SIGNATURE_INVALID?.count).toBe(1020);
    expect(tally?.faults.FILE_UNKNOWN?.count).toBe(21);
  });

  it('are tried once for a file, under however many paths it is listed and whoever judges', async () => {
    await using host = await MeasuredHost.enrolled(house);
    const signature = signV2(signer, 'sha256', sha256('signed'));
    const paths = Array.from({ length: 200 }, (_, index) => `/usr/bin/${index}`);
    host.kernel.measure(...paths.map((path) => filePlan(path, 'signed', signature)));
    expect((await host.round()).status).toBe('affirming');
    expect((await tallyOf(host))?.counts.validSignatures).toBe(200);
    expect(house.services.runtimes.signatures.tried).toBe(1);
    await putRules(house, OTHER_RULES);
    await caughtUp(house);
    expect((await host.round()).status).toBe('affirming');
    expect(house.services.runtimes.signatures.tried).toBe(1);
  });
});
