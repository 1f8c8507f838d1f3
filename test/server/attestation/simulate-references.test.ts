/** A set or keyring that is tried on the fleet before it takes the place of another. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { ReferenceSubstitute } from '../../../server/policy/substitute-references.ts';
import { makePolicy } from '../../support/make-policy.ts';
import { failures, MeasuredHost, putRules } from '../../support/measured-host.ts';
import { filePlan, sha256 } from '../../support/measuring-kernel.ts';
import { FILES, importFiles, importKeys, NO_RUNTIME_RULES } from '../../support/runtime-policy.ts';
import { simulated } from '../../support/simulating.ts';
import { caughtUp } from '../../support/stream-agent.ts';
import { dump, openHouse } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import { ecSigner, signV2 } from '../../tpm/ima/signing.ts';

let house: House;
beforeEach(async () => {
  house = await openHouse();
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

const BASE = { files: { ...FILES, referenceSets: ['referenceSets/base'] } };
const NEXT: ReferenceSubstitute = { name: 'referenceSets/base', candidate: 'referenceSets/next' };

async function ran(...contents: readonly string[]): Promise<MeasuredHost> {
  const host = await MeasuredHost.enrolled(house);
  host.kernel.measure(...contents.map((content) => filePlan(`/usr/bin/${content}`, content)));
  expect((await host.round()).status).toBe('affirming');
  return host;
}

describe('a candidate for a reference set', () => {
  beforeEach(async () => {
    await importFiles(house.store, ['one', 'two']);
    await putRules(house, BASE);
  });

  it('turns the hosts that its import turns then, and changes nothing before', async () => {
    await using first = await ran('one');
    await using second = await ran('one', 'two');
    await importFiles(house.store, ['one'], 'next');
    const before = await dump(house.store);
    const { hosts, summary } = await simulated(house, null, { substitutes: [NEXT] });
    expect(summary).toMatchObject({ concerned: 2, worse: 1, better: 0 });
    const outcomes = [first, second].map(({ machine }) => hosts.get(machine.id)?.outcome);
    expect(outcomes).toMatchObject([
      { kind: 'verdict', verdict: { status: 'affirming' } },
      { kind: 'verdict', verdict: { status: 'contraindicated' } },
    ]);
    expect(await dump(house.store)).toEqual(before);
    await importFiles(house.store, ['one']);
    await caughtUp(house);
    expect((await first.round()).status).toBe('affirming');
    expect(failures((await second.round()).checks)).toEqual(['runtime.files failed FILE_UNKNOWN']);
  });

  it('stands in the place of the set in a policy that is a candidate itself', async () => {
    await using host = await ran('one');
    await importFiles(house.store, ['two'], 'next');
    await importFiles(house.store, ['other'], 'other');
    const files = { ...FILES, referenceSets: ['referenceSets/base', 'referenceSets/other'] };
    const candidate = makePolicy({ pcrRules: [], runtime: { ...NO_RUNTIME_RULES, files } });
    const alone = await simulated(house, candidate);
    expect(alone.summary).toMatchObject({ concerned: 1, worse: 0 });
    const both = await simulated(house, candidate, { substitutes: [NEXT] });
    expect(both.summary).toMatchObject({ concerned: 1, worse: 1 });
    expect(both.hosts.get(host.machine.id)?.after).toMatchObject({
      policy: { runtime: { files: { referenceSets: ['referenceSets/next', 'referenceSets/other'] } } },
    });
  });

  it('concerns no host where no policy names the set, or the policy that does is deleted', async () => {
    await using _host = await ran('one');
    await importFiles(house.store, ['two'], 'next');
    const other = { name: 'referenceSets/next', candidate: 'referenceSets/base' };
    expect((await simulated(house, null, { substitutes: [other] })).summary).toMatchObject({ concerned: 0 });
    const { hosts } = await simulated(house, { deleted: 'base' }, { substitutes: [NEXT] });
    expect([...hosts.values()].map(({ after }) => after.kind)).toEqual(['none']);
  });
});

it('a candidate for a keyring turns the hosts that ran what only the former one knows', async () => {
  const [former, other] = [ecSigner('P-256'), ecSigner('P-256')];
  await importKeys(house.store, [former, other]);
  await importKeys(house.store, [other], 'next');
  await putRules(house, { files: { ...FILES, keyrings: ['keyrings/vendor'] } });
  const signed = (signer: typeof former) => filePlan('/usr/bin/x', 'x', signV2(signer, 'sha256', sha256('x')));
  await using first = await MeasuredHost.enrolled(house);
  first.kernel.measure(signed(former));
  await using second = await MeasuredHost.enrolled(house);
  second.kernel.measure(signed(other));
  for (const host of [first, second]) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    expect((await host.round()).status).toBe('affirming');
  }
  const substitutes = [{ name: 'keyrings/vendor', candidate: 'keyrings/next' }];
  const { hosts } = await simulated(house, null, { substitutes });
  const statusOf = ({ machine }: MeasuredHost) => hosts.get(machine.id)?.outcome;
  expect(statusOf(first)).toMatchObject({ verdict: { status: 'contraindicated' } });
  expect(statusOf(second)).toMatchObject({ verdict: { status: 'affirming' } });
});
