import { beforeEach, describe, expect, it } from 'vitest';

import { fromReportClaims } from '../../../client/sdk/convert-report.ts';
import type { JsonObject } from '../../../client/sdk/resources.ts';
import { reportClaims, TOKEN_HOST } from '../../support/tokens.ts';
import type { Json } from '../../support/tokens.ts';
import { Shell } from '../support/shell.ts';

let shell: Shell;
let asked: unknown[];
beforeEach(async () => {
  shell = await Shell.open();
  asked = [];
  answer({});
});

function answer(change: Json): void {
  const report = fromReportClaims(reportClaims({}, change) as JsonObject);
  const reports = {
    get: (request: object) => (asked.push(request), Promise.resolve(report)),
    token: (...request: readonly object[]) => (asked.push(...request.slice(0, 2)), Promise.resolve({ jwt: 'a.b.c' })),
  };
  shell.client = { reports };
}

const EVIL = '|<script>alert(1)</script> [x](javascript:1) `a` \u001b[2J\u202e https://evil.example a@evil.example';
const exception = (change: Json): Json => ({
  exceptions: [{ host: `hosts/${TOKEN_HOST}`, status: 'TRUST_STATUS_WARNING', reasonCount: 7, ...change }],
});

describe('assay report', () => {
  it('prints counts, policies in words and the hosts that are not affirmed', async () => {
    expect(await shell.assay('report')).toBe(0);
    expect(shell.out).toMatch(/^hosts: +3$/m);
    expect(shell.out).toMatch(/^AFFIRMING +2$/m);
    expect(shell.out).toMatch(/^base@3$/m);
    expect(shell.out).toMatch(/^ {2}- PCR 7 of the sha256 bank holds 00; else the host is contraindicated\.$/m);
    expect(shell.out).toMatch(/^ {2}2 AFFIRMING, 0 WARNING, 1 CONTRAINDICATED, 0 NONE$/m);
    expect(shell.out.split('\n').slice(-5)).toEqual([
      'not affirmed:',
      `${TOKEN_HOST}  CONTRAINDICATED`,
      '  since 2026-11-25T11:00:00Z, by base',
      '  - PCR_MISMATCH: It holds another value.',
      '',
    ]);
  });

  it('is a document in Markdown', async () => {
    expect(await shell.assay('report', '--format', 'markdown')).toBe(0);
    expect(shell.out.split('\n').slice(0, 3)).toEqual([
      '# Security status of the platform',
      '',
      '* deployment: d-aaaaaaaaaaaaaaaa',
    ]);
    expect(shell.out).toContain('| AFFIRMING | 2 |');
    expect(shell.out).toContain(String.raw`## Policy base\@3`);
    expect(shell.out).toContain(String.raw`PCR\_MISMATCH\: It holds another value\.`);
  });

  it('says what it leaves out', async () => {
    const cut = {
      ...exception({ reasons: [{ reason: 'A', check: 'a', message: 'm' }] }),
      ...{ hostCount: '9', hosts: { warning: '9' }, exceptionCount: '9', policyCount: 40 },
      policies: [{ trustPolicy: 'trustPolicies/base', version: '3', requirements: ['One.'], requirementCount: 5 }],
    };
    answer(cut);
    for (const format of ['text', 'markdown']) {
      shell.out = '';
      expect(await shell.assay('report', '--format', format)).toBe(0);
      expect(shell.out).toMatch(/and 8 more hosts that are not affirmed/);
      expect(shell.out).toMatch(/and 39 more policies/i);
      expect(shell.out).toMatch(/[-*] and 4 more/);
      expect(shell.out).toMatch(/A\\?: m(?: |\n {2}- )and 6 more/);
    }
  });

  it('keeps hostile text inert, on a terminal and in a document', async () => {
    answer({
      ...exception({ nodeName: EVIL, reasons: [{ reason: 'A', check: 'a', message: EVIL }] }),
      hosts: { affirming: '2', warning: '1' },
    });
    for (const format of ['text', 'markdown', 'json']) {
      shell.out = '';
      expect(await shell.assay('report', '--format', format)).toBe(0);
      // oxlint-disable-next-line no-control-regex -- that is what must not be there
      expect(shell.out, format).not.toMatch(/[\u001b\u202e]/);
      expect(shell.out, format).toContain('evil');
      if (format !== 'markdown') continue;
      // Nothing that Markdown, its tables and autolinks or HTML act upon stands without its backslash.
      const row = shell.out.split('\n').find((line) => line.includes(TOKEN_HOST)) ?? '';
      expect(row.replaceAll(/\\./g, '').match(/[<>[\]()`*_:@]/g)).toBeNull();
      expect(row.replaceAll(/\\./g, '').split('|')).toHaveLength(8);
    }
  });

  it('is signed as jwt, for whom and with which nonce it is asked for', async () => {
    const nonce = Buffer.alloc(8, 1);
    const args = ['--audience', 'auditor', '--nonce', nonce.toString('base64url'), '--label', 'zone=n'];
    expect(await shell.assay('report', '--format', 'jwt', ...args)).toBe(0);
    expect(shell.out).toBe('a.b.c\n');
    expect(asked).toEqual([{ matchLabels: { zone: 'n' } }, { audience: 'auditor', nonce }]);
  });

  it.each([
    ['a format that does not exist', ['--format', 'pdf'], /Allowed choices are text, markdown, json, jwt/],
    ['no exceptions', ['--max-exceptions', '0'], /from 1 to 500/],
    ['a label without value', ['--label', 'x'], /KEY=VALUE/],
  ])('is used wrongly with %s', async (_name, args, says) => {
    expect(await shell.assay('report', ...args)).toBe(2);
    expect(shell.err).toMatch(says);
  });
});
