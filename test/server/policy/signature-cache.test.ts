import { describe, expect, it } from 'vitest';

import { ImaKeyring } from '../../../tpm/ima/keyring.ts';
import { judgeEntry, makeJudge } from '../../../server/policy/judge-entry.ts';
import { resolveRuntimeRules } from '../../../server/policy/runtime-rules.ts';
import { SignatureCache } from '../../../server/policy/signature-cache.ts';
import { filePlan, sha256 } from '../../support/measuring-kernel.ts';
import { FILES, NO_RUNTIME_RULES } from '../../support/runtime-policy.ts';
import type { EntryPlan } from '../../tpm/ima/list-builder.ts';
import { number } from '../../tpm/ima/list-builder.ts';
import { readOne } from '../../tpm/ima/read-entries.ts';
import { ecSigner, rsaSigner, signV2 } from '../../tpm/ima/signing.ts';

const [rsa, ec] = [rsaSigner(), ecSigner('P-256')];
const [digest, signature] = [sha256('file'), Buffer.from('signature')];
const trial = { key: rsa.key, hash: 'sha256', signed: digest, signature };

describe('what is known of signatures', () => {
  it.each([
    ['key', { ...trial, key: ec.key }],
    ['hash', { ...trial, hash: 'sha512' }],
    ['digest', { ...trial, signed: sha256('other') }],
    ['signature', { ...trial, signature: Buffer.from('signature.') }],
    [
      'boundary',
      { ...trial, signed: digest.subarray(0, 31), signature: Buffer.concat([digest.subarray(31), signature]) },
    ],
  ])('holds for one %s alone', (_name, another) => {
    const cache = new SignatureCache();
    expect(cache.try(trial, () => true)).toBe(true);
    expect(cache.try(trial, () => false)).toBe(true);
    expect(cache.try(another, () => false)).toBe(false);
    expect(cache.try(another, () => true)).toBe(false);
    expect(cache.try(trial, () => false)).toBe(true);
    expect(cache.tried).toBe(2);
  });

  it('is forgotten when it is too much, the oldest first', () => {
    const cache = new SignatureCache(2);
    const [one, two, three] = ['1', '2', '3'].map((name) => ({ ...trial, signed: sha256(name) }));
    if (one === undefined || two === undefined || three === undefined) throw new Error('no trials');
    for (const known of [one, two, one, three, one]) cache.try(known, () => true);
    expect(cache.tried).toBe(3);
    cache.try(two, () => true);
    expect(cache.tried).toBe(4);
  });
});

describe('entries whose signatures count for nothing', () => {
  const rules = resolveRuntimeRules({ ...NO_RUNTIME_RULES, files: { ...FILES, keyrings: ['keyrings/a'] } });
  const plan = filePlan('/x', 'x', signV2(rsa, 'sha256', sha256('x')));
  const judged = (entry: EntryPlan) => {
    const cache = new SignatureCache();
    const keyring = new ImaKeyring([rsa.key], cache.try);
    return { ...judgeEntry(readOne(entry), makeJudge('d', rules, { sets: [], keyring })), tried: cache.tried };
  };

  it('have none of them tried', () => {
    expect(judged(plan)).toMatchObject({ standing: 'allowed', tried: 1 });
    // Formats in which the bytes of one field can be shown as those of another.
    const fields = [...plan.fields.slice(0, 2), number(0, 4), ...plan.fields.slice(2)];
    expect(judged({ template: 'd-ng|n-ng|iuid|sig', fields })).toMatchObject({ kind: 'unreadable', tried: 0 });
  });

  it('are none under the name of boot_aggregate: such an entry is a file', () => {
    const bad = signV2(rsa, 'sha256', sha256('y'), { type: 5 });
    const [measured] = plan.fields;
    if (measured === undefined) throw new Error('no digest');
    const xattrs = Buffer.concat([Buffer.from([0x04, 0x04]), sha256('x')]);
    const fields = [
      measured,
      Buffer.from('boot_aggregate\0'),
      bad,
      Buffer.from('security.ima\0'),
      number(xattrs.length, 4),
      xattrs,
      number(0, 4),
      number(0, 4),
      number(0o100755, 2),
    ];
    const faults = [{ reason: 'FILE_SIGNATURE_INVALID' }, { reason: 'FILE_UNKNOWN' }];
    expect(judged({ template: 'evm-sig', fields })).toMatchObject({ kind: 'file', signature: 'invalid', faults });
  });
});
