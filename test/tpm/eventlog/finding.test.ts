import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { EVENT_LOG_CODES, FindingList, hasErrors, makeFinding } from '../../../tpm/eventlog/finding.ts';

const page = readFileSync(join(import.meta.dirname, '..', '..', '..', 'docs', 'inspect.md'), 'utf8');
/** The other tools of the page have findings of their own. */
const section = page.slice(
  page.indexOf('\n## `assay inspect eventlog'),
  page.indexOf('\n## `assay inspect ek-certificate'),
);

test('every code stands in docs/inspect.md with its severity, and no other', () => {
  const rows = [...section.matchAll(/^\| ([A-Z0-9_]+) \| (error|warning|info) \|/gm)].map(([, code, severity]) => [
    code,
    severity,
  ]);
  expect(rows.toSorted()).toEqual([...EVENT_LOG_CODES].toSorted());
});

test('a finding has the severity of its code', () => {
  expect(makeFinding('PCR_MISMATCH', { pcr: 7 }, 'x')).toEqual({
    code: 'PCR_MISMATCH',
    severity: 'error',
    pcr: 7,
    message: 'x',
  });
  expect(hasErrors([makeFinding('LOG_PADDING', {}, 'x')])).toBe(false);
  expect(hasErrors([makeFinding('LOG_EMPTY', {}, 'x')])).toBe(true);
});

test('of a kind 64 are kept, and the last says how many more there were', () => {
  const findings = new FindingList();
  for (let event = 0; event < 1000; event++) findings.add('EVENT_DATA_MISMATCH', { event }, `event ${event}`);
  findings.add('LOG_PADDING', {}, 'padding');
  const list = findings.list();
  expect(list).toHaveLength(65);
  expect(list[63]?.message).toBe('event 63 (and 936 more of this kind)');
  expect(list[64]?.code).toBe('LOG_PADDING');
});
