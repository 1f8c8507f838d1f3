import { expect, test } from 'vitest';
import {
  escapeText,
  formatFields,
  formatJson,
  formatLabels,
  formatLine,
  formatTable,
  statusCell,
} from '../../client/output.ts';

const plain = { colours: false };
const coloured = { colours: true };

test.each([
  { name: 'an escape sequence', text: '\u001b[31mred\u001b[0m', safe: '\\u{1b}[31mred\\u{1b}[0m' },
  { name: 'a C1 control', text: 'a\u009b31m', safe: 'a\\u{9b}31m' },
  { name: 'line breaks', text: 'a\r\nb\tc', safe: 'a\\r\\nb\\tc' },
  { name: 'NUL and DEL', text: 'a\0b\u007f', safe: 'a\\u{0}b\\u{7f}' },
  { name: 'a bidirectional override', text: 'abc\u202edef', safe: 'abc\\u{202e}def' },
  { name: 'a bidirectional isolate', text: '\u2066x\u2069', safe: '\\u{2066}x\\u{2069}' },
  { name: 'a direction mark', text: 'a\u200fb', safe: 'a\\u{200f}b' },
  { name: 'zero width characters', text: 'a\u200bb\ufeff', safe: 'a\\u{200b}b\\u{feff}' },
  { name: 'a tag character', text: 'a\u{e0041}', safe: 'a\\u{e0041}' },
  {
    name: 'letters and marks that show as nothing',
    text: 'a\u3164\uffa0\u115f\u1160\u034f\ufe0f\u180b\u17b4\u{e0100}b',
    safe: 'a\\u{3164}\\u{ffa0}\\u{115f}\\u{1160}\\u{34f}\\u{fe0f}\\u{180b}\\u{17b4}\\u{e0100}b',
  },
  { name: 'line and paragraph separators', text: 'a\u2028b\u2029', safe: 'a\\u{2028}b\\u{2029}' },
  { name: 'a lone surrogate', text: 'a\ud800b', safe: 'a\\u{d800}b' },
  { name: 'a private character', text: '\ue000', safe: '\\u{e000}' },
  { name: 'a backslash, which would look like an escape', text: 'a\\u{1b}', safe: 'a\\\\u{1b}' },
  { name: 'letters of other scripts, which stay', text: 'Größe 東京 שלום', safe: 'Größe 東京 שלום' },
  { name: 'an astral character, which stays', text: '\u{1f600}', safe: '\u{1f600}' },
])('escapes $name', ({ text, safe }) => {
  expect(escapeText(text)).toBe(safe);
});

test('a table is aligned, escaped, and has no blanks at its ends', () => {
  const rows = [
    ['h-1', 'ACTIVE', ''],
    ['h-long', { text: 'x\u001b', colour: 'red' as const }, 'a=b'],
  ];
  expect(formatTable(['HOST', 'STATE', 'LABELS'], rows, plain)).toBe(
    'HOST    STATE    LABELS\nh-1     ACTIVE\nh-long  x\\u{1b}  a=b\n',
  );
});

test('a table that is wider than the terminal is cut where it is widest, and nowhere when it goes elsewhere', () => {
  const rows = [
    [`h-${'a'.repeat(26)}`, statusCell('CONTRAINDICATED'), 'b'.repeat(12), 'zone=eu,rack=7,tenant=red'],
    ['h-b', 'NONE', 'c', '東京,x=1'],
  ];
  const header = ['HOST', 'STATUS', 'POLICY', 'LABELS'];
  const cells = (width: number | undefined) =>
    formatTable(header, rows, width === undefined ? plain : { ...plain, width })
      .split('\n')
      .map((line) => line.split(/ {2,}/));
  expect(cells(undefined)[1]).toEqual(rows[0]?.map((cell) => (typeof cell === 'string' ? cell : cell.text)));
  expect(cells(200)).toEqual(cells(undefined));
  expect(cells(75)[1]).toEqual([`h-${'a'.repeat(26)}`, 'CONTRAINDICATED', 'b'.repeat(12), 'zone=eu,rack=…']);
  expect(cells(75)[2]).toEqual(['h-b', 'NONE', 'c', '東京,x=1']);
  expect(cells(20)[1]).toEqual([`h-${'a'.repeat(26)}`, 'CONTRAINDICATED', 'bbbbbbb…', 'zone=eu…']);
  for (const line of formatTable(header, rows, { ...plain, width: 75 })
    .trimEnd()
    .split('\n'))
    expect([...line].length).toBeLessThanOrEqual(75);
});

test('a table without rows is its header', () => {
  expect(formatTable(['HOST'], [], plain)).toBe('HOST\n');
});

test('colours stand round the text and count for no width', () => {
  const rows = [[statusCell('AFFIRMING'), 'x']];
  expect(formatTable(['S', 'T'], rows, coloured)).toBe('S          T\n\u001b[32mAFFIRMING\u001b[0m  x\n');
  expect(formatLine([statusCell('REVOKED'), 'y'], plain)).toBe('REVOKED  y\n');
});

test('fields are aligned and escaped', () => {
  expect(
    formatFields(
      [
        ['a', 'x\n'],
        ['long', 'y'],
      ],
      plain,
    ),
  ).toBe('a:     x\\n\nlong:  y\n');
});

test('JSON stays JSON and carries nothing that a terminal acts upon', () => {
  const value = { text: 'a\u202e\u009b\u{e0041}\ud800\u3164\ufe0f\u{e0100}', list: [1, null, true] };
  const text = formatJson(value);
  expect(JSON.parse(text)).toEqual(value);
  expect(text).not.toMatch(/[^\P{C}\n]/u);
  expect(text).not.toMatch(/\p{DI}/u);
  expect(formatJson(value, { compact: true })).not.toContain('\n');
});

test('labels come in the order of their keys', () => {
  expect(formatLabels({ b: '2', a: '1' })).toBe('a=1,b=2');
  expect(formatLabels({})).toBe('-');
});
