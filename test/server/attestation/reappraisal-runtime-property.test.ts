import { hash } from 'node:crypto';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { readKeyring } from '../../../server/reference/keyring.ts';
import type { RuntimeRulesDraft } from '../../../server/policy/runtime-rules.ts';
import { putRules } from '../../support/measured-host.ts';
import { filePlan, sha256, violationPlan } from '../../support/measuring-kernel.ts';
import { OneShotHost } from '../../support/one-shot-host.ts';
import { FILES, importFiles, importKeys } from '../../support/runtime-policy.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { TestReappraiser } from '../../support/test-reappraiser.ts';
import { openHouse, OPERATOR } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import { digestField, nameField } from '../../tpm/ima/list-builder.ts';
import type { EntryPlan } from '../../tpm/ima/list-builder.ts';
import { ecSigner, signV2 } from '../../tpm/ima/signing.ts';

const CONTENTS = ['one', 'two', 'three', 'four'] as const;
const KEYS = [ecSigner('P-256'), ecSigner('P-256')] as const;
const ANY = { ...OPERATOR, expected: 'any' } as const;
const HOUR = 3_600_000;

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

/** Something that a kernel measures: mostly files, signed or not, under a few paths and hashes. */
function randomEntry(random: SeededRandom): EntryPlan {
  const content = random.pick(CONTENTS);
  const path = random.pick(['/usr/bin/x', '/tmp/x', 'boot_aggregate'] as const);
  const kind = random.below(8);
  if (kind === 0) return violationPlan(path);
  if (kind === 1) {
    const fields = [digestField('sha512', hash('sha512', content, 'buffer')), nameField(path), Buffer.alloc(0)];
    return { template: 'ima-sig', fields };
  }
  const signer = random.pick(KEYS);
  // Now and then of another file.
  const signed = random.below(6) === 0 ? 'other' : content;
  return filePlan(path, content, kind < 5 ? signV2(signer, 'sha256', sha256(signed)) : Buffer.alloc(0));
}

function randomRules(random: SeededRandom): Partial<RuntimeRulesDraft> {
  const action = () => random.pick(['ignore', 'warning', 'contraindicated'] as const);
  const some = (): boolean => random.below(2) === 0;
  const keyrings = some() ? ['keyrings/vendor'] : [];
  const referenceSets = keyrings.length === 0 || some() ? ['referenceSets/base'] : [];
  const requireSignature = keyrings.length > 0 && some();
  const excludes = some() ? ['/tmp/*'] : [];
  return {
    list: { severity: undefined, message: '' },
    files: { ...FILES, referenceSets, keyrings, requireSignature, excludes, unknown: action() },
    forbiddenFiles: some()
      ? undefined
      : { severity: 'warning', message: '', digests: [sha256(random.pick(CONTENTS)).toString('hex')] },
    ...(keyrings.length === 0 ? {} : { invalidSignatures: { action: action(), message: '' } }),
    violations: { action: action(), applyExcludes: excludes.length > 0 && some(), message: '' },
    otherKernels: { action: action(), message: '' },
  };
}

/** Something that policies judge by changes. */
async function changeSomething(random: SeededRandom): Promise<void> {
  const { store } = house;
  const subset = <T>(all: readonly T[]): readonly T[] => {
    const some = all.filter(() => random.below(3) > 0);
    return some.length > 0 ? some : [random.pick(all)];
  };
  switch (random.below(5)) {
    case 0:
      await importFiles(store, subset(CONTENTS));
      return;
    case 1:
      await importKeys(store, subset(KEYS));
      return;
    case 2: {
      const digest = sha256(random.pick(CONTENTS)).toString('hex');
      await store.withdrawReferenceDigests('base', [digest], ANY).catch(notThere);
      return;
    }
    case 3: {
      const read = readKeyring(random.pick(KEYS).spki);
      const [key] = 'keys' in read ? read.keys : [];
      await store.removeKeyringKey('vendor', key?.fingerprint ?? '', ANY).catch(notThere);
      return;
    }
    default:
      await putRules(house, randomRules(random));
  }
}

function notThere(error: unknown): void {
  if ((error as { readonly code?: string }).code !== 'not_found') throw error;
}

describe('what ran, judged by what is kept', () => {
  it.each([1, 2, 3, 4])(
    'comes to what the next round says, whatever changes of sets, keys and rules (seed %i)',
    async (seed) => {
      const random = new SeededRandom(seed);
      await importFiles(house.store, CONTENTS);
      await importKeys(house.store, KEYS);
      await putRules(house, randomRules(random));
      const hosts = await Promise.all([1, 2, 3].map(() => OneShotHost.enrolled(house)));
      const seen = new Map<string, number>();
      for (let step = 0; step < 40; step++) {
        for (const host of hosts) {
          if (random.below(8) === 0) host.kernel.measure(randomEntry(random));
          await host.attest();
        }
        for (let change = 0; change <= random.below(3); change++) {
          await changeSomething(random);
          if (random.below(2) === 0) await reappraiser.judgePage();
        }
        await reappraiser.settle();
        for (const host of hosts) {
          const said = await host.result();
          expect(said?.checks.map(({ id }) => id)).not.toContain('kept-evidence');
          const next = await host.attest();
          const vector = (result: typeof said) => [result?.status, result?.vector, result?.inputDigest];
          expect(vector(said)).toEqual(vector(next));
          seen.set(next.status, (seen.get(next.status) ?? 0) + 1);
        }
        // Else one host is judged by its first entries alone, for all later findings come beside them.
        if (random.below(6) === 0) hosts[random.below(3)] = await OneShotHost.enrolled(house);
        house.clock.advance(random.below(HOUR));
      }
      for (const status of ['affirming', 'contraindicated', 'warning'])
        expect(seen.get(status) ?? 0).toBeGreaterThan(0);
    },
  );
});
