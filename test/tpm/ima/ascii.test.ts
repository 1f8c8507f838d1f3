import { readFileSync } from 'node:fs';
import { hash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { parseImaAscii } from '../../../tpm/ima/ascii.ts';
import { encodeImaList } from '../../../tpm/ima/encode.ts';
import type { ImaFindingCode } from '../../../tpm/ima/findings.ts';
import { dataIsHere, measuredBootPath } from '../../support/data.ts';
import { digestField, makeRecord, nameField, number } from './list-builder.ts';
import type { EntryPlan } from './list-builder.ts';

const digest = hash('sha256', 'content', 'buffer');
const hex = digest.toString('hex');
const signature = Buffer.from('030204001122330001ff', 'hex');

/** A line with the template hash of the plan. */
function line(plan: EntryPlan, fields: string): string {
  const record = makeRecord(plan);
  const size = plan.hash?.size ?? 20;
  return `${plan.pcr ?? 10} ${record.toString('hex', 4, 4 + size)} ${plan.template} ${fields}`;
}

describe('a line of an ASCII list', () => {
  test.each<[string, EntryPlan, string]>([
    ['ima', { template: 'ima', fields: [Buffer.alloc(20, 5), Buffer.from('/init')] }, `${'05'.repeat(20)} /init`],
    ['ima-ng', { template: 'ima-ng', fields: [digestField('sha256', digest), nameField('/a')] }, `sha256:${hex} /a`],
    [
      'ima-sig with a signature',
      { template: 'ima-sig', fields: [digestField('sha256', digest), nameField('/a'), signature] },
      `sha256:${hex} /a ${signature.toString('hex')}`,
    ],
    [
      'ima-sig without one',
      { template: 'ima-sig', fields: [digestField('sha256', digest), nameField('/a'), Buffer.alloc(0)] },
      `sha256:${hex} /a `,
    ],
    [
      'ima-sig whose last space was lost',
      { template: 'ima-sig', fields: [digestField('sha256', digest), nameField('/a'), Buffer.alloc(0)] },
      `sha256:${hex} /a`,
    ],
    [
      'ima-sigv2',
      { template: 'ima-sigv2', fields: [digestField('verity:sha256', digest), nameField('/a'), signature] },
      `verity:sha256:${hex} /a ${signature.toString('hex')}`,
    ],
    [
      'ima-modsig with its middle fields empty',
      {
        template: 'ima-modsig',
        fields: [digestField('sha256', digest), nameField('/a'), Buffer.alloc(0), Buffer.alloc(0), Buffer.from('ab')],
      },
      `sha256:${hex} /a   6162`,
    ],
    [
      'evm-sig',
      {
        template: 'evm-sig',
        fields: [
          digestField('sha256', digest),
          nameField('/a'),
          signature,
          nameField('security.ima'),
          number(2, 4),
          Buffer.from('xy'),
          number(1000, 4),
          number(5, 4),
          number(0o100755, 2),
        ],
      },
      `sha256:${hex} /a ${signature.toString('hex')} security.ima 02000000 7879 1000 5 33261`,
    ],
    [
      'a custom format',
      { template: 'd-ng|n-ng', fields: [digestField('sha256', digest), nameField('/a')] },
      `sha256:${hex} /a`,
    ],
    [
      'a name that had a space',
      { template: 'ima-ng', fields: [digestField('sha256', digest), nameField('/my file_1')] },
      `sha256:${hex} /my_file_1`,
    ],
    [
      'a violation',
      { template: 'ima-ng', violation: true, fields: [digestField('sha256', Buffer.alloc(32)), nameField('/a')] },
      `sha256:${'00'.repeat(32)} /a`,
    ],
    [
      'a template hash of SHA-256',
      {
        template: 'ima-ng',
        hash: { node: 'sha256', size: 32 },
        fields: [digestField('sha256', digest), nameField('/a')],
      },
      `sha256:${hex} /a`,
    ],
    [
      'a template hash of SM3',
      { template: 'ima-ng', hash: { node: 'sm3', size: 32 }, fields: [digestField('sha256', digest), nameField('/a')] },
      `sha256:${hex} /a`,
    ],
  ])('of %s is put back into binary', (_, plan, fields) => {
    const { entries, findings } = parseImaAscii(`${line(plan, fields)}\n`);
    expect(findings).toEqual([]);
    expect(encodeImaList(entries)).toEqual(makeRecord(plan));
  });

  const good = line(
    { template: 'ima-ng', fields: [digestField('sha256', digest), nameField('/a')] },
    `sha256:${hex} /a`,
  );

  test.each<[string, string, ImaFindingCode]>([
    ['text', 'this is text not an ima entry', 'IMA_ENTRY_MALFORMED'],
    ['of a pcr that does not exist', good.replace('10 ', '24 '), 'IMA_ENTRY_MALFORMED'],
    ['with a template hash of 19 bytes', good.replace(/^10 ../, '10 '), 'IMA_ENTRY_MALFORMED'],
    ['with a template hash that is no hexadecimal', good.replace(/^10 ./, '10 x'), 'IMA_ENTRY_MALFORMED'],
    ['of an unknown template', good.replace('ima-ng', 'not-ima'), 'IMA_TEMPLATE_UNKNOWN'],
    [
      'with a digest that is no hexadecimal',
      good.replace(`sha256:${hex.slice(0, 1)}`, 'sha256:I'),
      'IMA_FIELD_MALFORMED',
    ],
    ['with a digest without a hash', good.replace('sha256:', ''), 'IMA_FIELD_MALFORMED'],
    ['with a field too many', `${good} x`, 'IMA_FIELD_MALFORMED'],
    ['that is too long', `${good} ${'a'.repeat(3_000_000)}`, 'IMA_ENTRY_TOO_LARGE'],
  ])('that is %s is told and left out', (_, text, code) => {
    const { entries, findings } = parseImaAscii(`${good}\r\n${text}\n\n${good}`);
    expect(entries.map(({ index }) => index)).toEqual([0, 1]);
    expect(findings).toMatchObject([{ code, severity: 'error', offset: good.length + 2 }]);
  });

  test('beyond the limit of entries ends the list', () => {
    const { entries, findings } = parseImaAscii(`${good}\n`.repeat(4), { maxEntries: 2 });
    expect(entries).toHaveLength(2);
    expect(findings.map(({ code }) => code)).toEqual(['IMA_LIST_TOO_LONG']);
  });

  test('with many doubtful characters in its name is not searched for ever', () => {
    const name = '/'.padEnd(200, '_');
    const start = performance.now();
    parseImaAscii(
      line(
        { template: 'ima-ng', fields: [digestField('sha256', digest), nameField(name.replace('_', ' '))] },
        `sha256:${hex} ${name}`,
      ),
    );
    expect(performance.now() - start).toBeLessThan(20_000);
  });
});

describe.skipIf(!dataIsHere('measured-boot'))('real ASCII lists', () => {
  test.each([['nosb-kernel-tis'], ['sb-ms-shim-grub'], ['debian-systemd-ima']])(
    'of %s are the binary ones',
    (folder) => {
      const binary = readFileSync(measuredBootPath(folder, 'binary_runtime_measurements'));
      const { entries, findings } = parseImaAscii(
        readFileSync(measuredBootPath(folder, 'ascii_runtime_measurements'), 'latin1'),
      );
      expect(findings).toEqual([]);
      // The ASCII list was read a moment later and may have more entries.
      expect(encodeImaList(entries).subarray(0, binary.length)).toEqual(binary);
    },
  );
});
