import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { IMA_FINDING_SEVERITIES } from '../../../tpm/ima/findings.ts';

test('the documentation lists every finding with its severity', () => {
  const page = readFileSync(join(import.meta.dirname, '..', '..', '..', 'docs', 'inspect-ima.md'), 'utf8');
  const listed = [...page.matchAll(/^\| `(IMA_[A-Z_]+)` \| (\w+) \|/gm)].map(([, code, severity]) => [code, severity]);
  expect(listed).toEqual(Object.entries(IMA_FINDING_SEVERITIES));
});
