import { hash } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { digestField, extendAll, fileEntries, makeList, nameField } from '../../tpm/ima/list-builder.ts';
import type { EntryPlan } from '../../tpm/ima/list-builder.ts';
import { rsaSigner, signV2 } from '../../tpm/ima/signing.ts';
import { Shell } from '../support/shell.ts';

const signer = rsaSigner();
const digest = hash('sha256', 'content', 'buffer');
const file: EntryPlan = {
  template: 'ima-sig',
  fields: [digestField('sha256', digest), nameField('/usr/bin/\u001b[31mtool\u202e'), signV2(signer, 'sha256', digest)],
};
const plans = [...fileEntries(4), file];
const pem = `-----BEGIN PUBLIC KEY-----\n${signer.spki.toString('base64')}\n-----END PUBLIC KEY-----\n`;

let shell: Shell;
beforeEach(async () => {
  shell = await Shell.open();
  shell.files.set('/list', makeList(plans).toString('base64'));
  shell.files.set('/key', pem);
  shell.files.set('/broken', makeList([...plans, { ...file, claimedHash: Buffer.alloc(20, 1) }]).toString('base64'));
  shell.files.set('/text', 'no list\n');
  shell.files.set('/pcrs', `sha256 10 ${extendAll(plans.slice(0, 3), 'sha256', 32).toString('hex')}\n`);
  shell.files.set('/other-pcrs', `sha256 10 ${'ab'.repeat(32)}\n`);
});

describe('assay inspect ima', () => {
  test('prints what a script needs', async () => {
    expect(await shell.assay('inspect', 'ima', '/list', '--key', '/key', '--output', 'json')).toBe(0);
    expect(JSON.parse(shell.out)).toMatchObject({
      entries: 5,
      templates: { 'ima-sig': 5 },
      pcr10: { sha256: extendAll(plans, 'sha256', 32).toString('hex') },
      violations: 0,
      signatures: { valid: 1, invalid: 0, unknownKey: 0 },
      bootAggregate: { algorithm: 'sha256' },
      findings: [],
    });
  });

  test('prints what a person needs, and lets no name act on the terminal', async () => {
    expect(await shell.assay('inspect', 'ima', '/list')).toBe(0);
    expect(shell.out).toContain('5 ima-sig');
    expect(shell.out).toContain(extendAll(plans, 'sha1', 20).toString('hex'));
    expect(shell.out).toContain('IMA_SIGNATURE_KEY_UNKNOWN');
    expect(shell.out).toContain('/usr/bin/\\u{1b}[31mtool\\u{202e}');
    expect(shell.out).not.toContain('\u001b');
  });

  test('tells after which entry the list has the given PCR', async () => {
    expect(await shell.assay('inspect', 'ima', '/list', '--pcrs', '/pcrs', '--output', 'json')).toBe(0);
    expect(JSON.parse(shell.out)).toMatchObject({
      prefix: { entries: 3, waitingBytes: makeList(plans.slice(3)).length },
    });
  });

  test.each([
    ['an inconsistent list', ['/broken'], 1, 'IMA_TEMPLATE_HASH_MISMATCH'],
    ['a list that does not explain the PCR', ['/list', '--pcrs', '/other-pcrs'], 1, 'IMA_LOG_INCOMPLETE'],
    ['what is no list', ['/text'], 2, 'IMA_ENTRY_MALFORMED'],
  ])('answers %s by its exit code', async (_, args, exitCode, code) => {
    expect(await shell.assay('inspect', 'ima', ...args)).toBe(exitCode);
    expect(shell.out).toContain(code);
  });

  test.each([
    ['a list that is not there', ['/none'], 'list /none: not found'],
    ['a key that is none', ['/list', '--key', '/text'], '/text: neither der nor pem'],
    ['PCR values that are none', ['/list', '--pcrs', '/text'], '/text:1'],
  ])('refuses %s as wrong usage', async (_, args, message) => {
    expect(await shell.assay('inspect', 'ima', ...args)).toBe(2);
    expect(shell.err).toContain(message);
  });
});
