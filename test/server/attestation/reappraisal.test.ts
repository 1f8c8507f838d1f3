import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { readKeyring } from '../../../server/reference/keyring.ts';
import { NO_RULES, RULE } from '../../support/booted-machine.ts';
import { failures, MeasuredHost, putRules } from '../../support/measured-host.ts';
import { filePlan, sha256 } from '../../support/measuring-kernel.ts';
import { OneShotHost } from '../../support/one-shot-host.ts';
import { FILES, importFiles, importKeys } from '../../support/runtime-policy.ts';
import { revocationList } from '../../support/test-ek-pki.ts';
import { TestReappraiser } from '../../support/test-reappraiser.ts';
import { importRevocationList, openHouse, OPERATOR, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import { ecSigner, signV2 } from '../../tpm/ima/signing.ts';

const MINUTE = 60_000;
const ANY = { ...OPERATOR, expected: 'any' } as const;

let house: House;
let reappraiser: TestReappraiser;
beforeEach(async () => {
  house = await openHouse();
  reappraiser = new TestReappraiser(house);
});
afterEach(async () => {
  await reappraiser[Symbol.asyncDispose]();
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

const strict = {
  pcrRules: [{ bank: 'sha256', index: 7, allowed: ['11'.repeat(32)], severity: undefined, message: '' }],
};
const bootRules = { ...NO_RULES, secureBoot: RULE };
const rule = (index: number) => ({
  bank: 'sha256',
  index,
  allowed: ['00'.repeat(32)],
  severity: undefined,
  message: '',
});

describe('a digest that is withdrawn from a set', () => {
  const withdraw = (content: string) =>
    house.store.withdrawReferenceDigests('base', [sha256(content).toString('hex')], ANY);

  async function ran(...files: readonly string[]): Promise<OneShotHost> {
    const host = await OneShotHost.enrolled(house);
    host.kernel.measure(...files.map((file) => filePlan(`/usr/bin/${file}`, file)));
    expect((await host.attest()).status).toBe('affirming');
    return host;
  }

  beforeEach(async () => {
    await importFiles(house.store, ['good', 'bad', 'other']);
    await putRules(house, { files: { ...FILES, referenceSets: ['referenceSets/base'] } });
  });

  it('turns exactly the hosts that ran its file, though none of them is there', async () => {
    const [bad, good] = [await ran('good', 'bad'), await ran('good')];
    const before = await good.result();
    await withdraw('bad');
    for (const host of [bad, good])
      expect(failures((await host.result())?.checks ?? [])).toEqual(['appraisal-input error APPRAISAL_INPUT_CHANGED']);
    expect(await reappraiser.settle()).toBe(1);
    const turned = await bad.result();
    expect(turned?.status).toBe('contraindicated');
    expect(failures(turned?.checks ?? [])).toEqual(['runtime.files failed FILE_UNKNOWN']);
    const { challengeTime, validUntil, evidenceDigest, connectivity } = before ?? {};
    expect(await good.result()).toMatchObject({
      status: 'affirming',
      ...{ challengeTime, validUntil, evidenceDigest, connectivity },
    });
    expect((await good.result())?.inputDigest).not.toBe(before?.inputDigest);
  });

  it('turns one whose stream ended with its service, whose next round confirms that', async () => {
    await using host = await MeasuredHost.enrolled(house);
    host.kernel.measure(filePlan('/usr/bin/bad', 'bad'));
    expect((await host.round()).status).toBe('affirming');
    host.agent.draining.abort();
    expect(await host.agent.ended()).toMatchObject({ code: 'SHUTTING_DOWN' });
    await withdraw('bad');
    // For all that is known its stream is being asked.
    house.clock.advance(59_999);
    expect(await reappraiser.settle()).toBe(0);
    house.clock.advance(1);
    expect(await reappraiser.settle()).toBe(1);
    const turned = await house.store.getResult(host.machine.id);
    expect(turned).toMatchObject({ status: 'contraindicated', connectivity: 'connected' });
    house.services.policies.refresh();
    await host.reconnect();
    expect(await host.round()).toMatchObject({ revision: turned?.revision, confirmations: 1 });
  });

  it('is found again where it comes back', async () => {
    const host = await ran('bad');
    await withdraw('bad');
    await reappraiser.settle();
    await importFiles(house.store, ['good', 'bad', 'other']);
    await reappraiser.settle();
    expect((await host.result())?.status).toBe('affirming');
  });
});

it('a key that is withdrawn from a keyring turns exactly the hosts that ran a file of it', async () => {
  const [kept, withdrawn] = [ecSigner('P-256'), ecSigner('P-256')];
  await importKeys(house.store, [kept, withdrawn]);
  await putRules(house, { files: { ...FILES, keyrings: ['keyrings/vendor'] } });
  const ran = async (signer: typeof kept): Promise<OneShotHost> => {
    const host = await OneShotHost.enrolled(house);
    host.kernel.measure(filePlan('/usr/bin/x', 'x', signV2(signer, 'sha256', sha256('x'))));
    expect((await host.attest()).status).toBe('affirming');
    return host;
  };
  const [good, bad] = [await ran(kept), await ran(withdrawn)];
  const read = readKeyring(withdrawn.spki);
  const [key] = 'keys' in read ? read.keys : [];
  await house.store.removeKeyringKey('vendor', key?.fingerprint ?? '', ANY);
  await reappraiser.settle();
  expect((await bad.result())?.status).toBe('contraindicated');
  expect((await good.result())?.status).toBe('affirming');
});

describe('a host that is not there', () => {
  let host: OneShotHost;
  beforeEach(async () => {
    await putPolicy(house.store);
    host = await OneShotHost.enrolled(house);
    expect((await host.attest()).status).toBe('affirming');
  });

  it('is judged by a new version of its policy, and by the former one when that is back', async () => {
    const before = await host.result();
    await putPolicy(house.store, strict);
    await reappraiser.settle();
    expect(await host.result()).toMatchObject({ status: 'contraindicated', policyVersion: 2 });
    await putPolicy(house.store);
    expect((await host.result())?.status).toBe('none');
    await reappraiser.settle();
    const { challengeTime, validUntil } = before ?? {};
    expect(await host.result()).toMatchObject({ status: 'affirming', policyVersion: 3, challengeTime, validUntil });
  });

  it('is judged by no policy where its own is deleted, and by it again when it is back', async () => {
    await house.store.deletePolicy('base', ANY);
    await reappraiser.settle();
    expect(failures((await host.result())?.checks ?? [])).toEqual(['policy error POLICY_MISSING']);
    await putPolicy(house.store);
    await reappraiser.settle();
    expect((await host.result())?.status).toBe('affirming');
  });

  it('is contraindicated by a revocation list, and no longer once that is removed', async () => {
    const list = await importRevocationList(house.store, revocationList(0x17));
    await reappraiser.settle();
    expect(failures((await host.result())?.checks ?? [])).toEqual(['endorsement failed EK_CERT_REVOKED']);
    await house.store.removeRevocationList(list, { ...OPERATOR, expected: 'any' });
    await reappraiser.settle();
    expect((await host.result())?.status).toBe('affirming');
  });

  it('is unendorsed once its anchor is removed, and vouched for by the inventory', async () => {
    for (const { fingerprint } of await house.store.allTrustAnchors()) {
      await house.store.removeTrustAnchor(fingerprint, { ...OPERATOR, expected: 'any' });
    }
    await reappraiser.settle();
    expect(failures((await host.result())?.checks ?? [])).toEqual(['endorsement failed EK_UNENDORSED']);
    const eks = host.machine.host.eks.map(({ fingerprint }) => ({ fingerprint, group: '', comment: '' }));
    await house.store.putInventory(eks, OPERATOR);
    await reappraiser.settle();
    expect((await host.result())?.status).toBe('affirming');
  });

  it('is judged by the policy that its labels choose', async () => {
    await putPolicy(house.store, {
      ...strict,
      id: 'gpu',
      precedence: 1,
      selector: { matchLabels: { kind: 'gpu' }, allHosts: false },
    });
    await house.store.updateHost(host.id, { labels: { kind: 'gpu' } }, { ...OPERATOR, version: null });
    await reappraiser.settle();
    expect(await host.result()).toMatchObject({ status: 'contraindicated', policyId: 'gpu', labels: { kind: 'gpu' } });
  });

  it.each([
    ['shorter, ends it sooner', MINUTE, MINUTE],
    ['longer, does not prolong it', 60 * MINUTE, 3 * MINUTE],
  ])('keeps the age of its evidence: a validity that is %s', async (_name, validity, expected) => {
    house.clock.advance(10_000);
    const challenged = (await host.result())?.challengeTime ?? 0;
    await putPolicy(house.store, { quote: { validity, interval: 20_000 } });
    await reappraiser.settle();
    expect(await host.result()).toMatchObject({ status: 'affirming', validUntil: challenged + expected });
    house.clock.advance(expected - 10_000);
    expect((await host.result())?.status).toBe('none');
  });

  it.each([
    ['before the change', 3 * MINUTE, 0],
    ['after the change', 0, 3 * MINUTE],
    ['by the validity of the new policy', MINUTE, 0],
  ])('is not brought back where its evidence is over %s', async (_name, before, after) => {
    house.clock.advance(before);
    await house.store.expireResults(10);
    await putPolicy(house.store, { quote: { validity: MINUTE, interval: 20_000 } });
    house.clock.advance(after);
    await reappraiser.settle();
    expect((await host.result())?.status).toBe('none');
    await putPolicy(house.store, { quote: { validity: 60 * MINUTE, interval: 20_000 } });
    await reappraiser.settle();
    expect((await host.result())?.status).toBe(before === MINUTE ? 'affirming' : 'none');
    expect((await host.attest()).status).toBe('affirming');
  });

  it('waits for its next evidence where the policy looks at what the last quote did not cover', async () => {
    await importFiles(house.store, []);
    await putRules(house, { files: { ...FILES, referenceSets: ['referenceSets/base'] } });
    // The first quote covers every PCR; the second one what the list extends.
    for (const _round of ['first', 'second']) expect((await host.attest()).status).toBe('affirming');
    await putPolicy(house.store, { pcrRules: [rule(7), rule(4)] });
    await reappraiser.settle();
    const result = await host.result();
    expect(result).toMatchObject({ status: 'none', challengeTime: 0, validUntil: null });
    expect(failures(result?.checks ?? [])).toEqual([
      'appraisal-input error APPRAISAL_INPUT_CHANGED',
      'kept-evidence error KEPT_PCR_UNQUOTED',
    ]);
    expect(result?.checks.at(-1)?.observed).toBe('not kept of the last quote: sha256:7, sha256:4');
    expect(await reappraiser.settle()).toBe(0);
    expect((await host.attest()).status).toBe('affirming');
  });

  it.each([
    ['what ran, of which nothing is kept', () => putRules(house, { list: { ...RULE } }), 'KEPT_RUNTIME_UNKNOWN'],
    ['what booted, of which no log came', () => putPolicy(house.store, { boot: bootRules }), 'KEPT_BOOT_UNKNOWN'],
  ])('waits for its next evidence where the policy asks %s', async (_name, put, reason) => {
    await put();
    await reappraiser.settle();
    const result = await host.result();
    expect(result?.status).toBe('none');
    expect(result?.checks.at(-1)).toMatchObject({ id: 'kept-evidence', reason });
  });

  it('keeps what stands against it', async () => {
    host.machine.tpm.extend(7, Buffer.alloc(32, 1));
    expect((await host.attest()).status).toBe('contraindicated');
    await putPolicy(house.store, { description: 'another version' });
    await reappraiser.settle();
    expect(failures((await host.result())?.checks ?? [])).toEqual(['pcr.sha256.7 failed PCR_MISMATCH']);
  });
});

describe('evidence that confirmed a verdict which was made anew', () => {
  const narrow = { pcrRules: [rule(7)] };
  const wide = { pcrRules: [rule(7), rule(14)] };

  it('is what the next change is judged from: what moved since the older one is not overlooked', async () => {
    await putPolicy(house.store, wide);
    const host = await OneShotHost.enrolled(house);
    expect((await host.attest()).status).toBe('affirming');
    await putPolicy(house.store, narrow);
    await reappraiser.settle();
    expect((await host.result())?.status).toBe('affirming');
    house.clock.advance(30_000);
    host.machine.tpm.extend(14);
    expect(await host.attest()).toMatchObject({ status: 'affirming', confirmations: 1 });
    await putPolicy(house.store, wide);
    await reappraiser.settle();
    expect(await host.result()).toMatchObject({ status: 'none' });
    expect((await host.attest()).status).toBe('contraindicated');
  });

  it('is so also where that verdict was none', async () => {
    await putPolicy(house.store, narrow);
    const host = await OneShotHost.enrolled(house);
    expect((await host.attest()).status).toBe('affirming');
    await house.store.deletePolicy('base', ANY);
    await reappraiser.settle();
    host.machine.tpm.extend(7);
    const confirmed = await host.attest();
    expect(failures(confirmed.checks)).toEqual(['policy error POLICY_MISSING']);
    expect(confirmed.confirmations).toBe(1);
    await putPolicy(house.store, narrow);
    await reappraiser.settle();
    expect((await host.result())?.status).toBe('none');
    expect((await host.attest()).status).toBe('contraindicated');
  });

  it('counts as long as it is valid, however old the first one is', async () => {
    await putPolicy(house.store, wide);
    const host = await OneShotHost.enrolled(house);
    await host.attest();
    await putPolicy(house.store, narrow);
    await reappraiser.settle();
    for (let round = 0; round < 5; round++) {
      house.clock.advance(MINUTE);
      expect((await host.attest()).status).toBe('affirming');
    }
    await putPolicy(house.store, { pcrRules: [{ ...rule(7), message: 'again' }] });
    await reappraiser.settle();
    expect((await host.result())?.status).toBe('affirming');
  });
});
