import type { JsonValue } from './sdk/resources.ts';

/**
 * How text reaches a terminal. Nothing that a host, a log or a service says is printed without {@link escapeText}.
 */

/**
 * Control characters, format characters (bidirectional overrides, zero-width, tags), lone surrogates, private and unassigned
 * code points, line and paragraph separators, and letters and marks that show as nothing (Default_Ignorable_Code_Point: fillers,
 * joiners, variation selectors); and the backslash, so that what was escaped cannot be confused with what was not.
 */
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}\p{DI}\\]/gu;

const SHORT_ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** Makes any string safe for a terminal: one line, no control or bidi character, nothing invisible. */
export function escapeText(text: string): string {
  return text.replace(UNPRINTABLE, (character) => SHORT_ESCAPES[character] ?? codePointEscape(character));
}

function codePointEscape(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

/** JSON in a form that a terminal may show: what JSON.stringify leaves as it is but a terminal acts upon is written `\uXXXX`. */
export function formatJson(value: JsonValue, options: { readonly compact?: boolean } = {}): string {
  const text = JSON.stringify(value, undefined, options.compact === true ? undefined : 2);
  return text.replace(/[\p{C}\p{Zl}\p{Zp}\p{DI}]/gu, (character) => {
    if (character === '\n') return character;
    return [...Array(character.length).keys()]
      .map((index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`)
      .join('');
  });
}

export type Colour = 'red' | 'green' | 'yellow' | 'dim' | 'bold';

const COLOURS: Readonly<Record<Colour, string>> = { red: '31', green: '32', yellow: '33', dim: '2', bold: '1' };

/** A cell of a table: plain text, escaped when it is laid out, with the colour it has on a terminal. */
export type Cell = string | { readonly text: string; readonly colour: Colour };

export interface TableStyle {
  readonly colours: boolean;
  /** Columns of the terminal; left out where the output is none, and nothing is cut. */
  readonly width?: number;
}

/** A cell that is cut keeps so many characters at least, the mark included. */
const MIN_CUT = 8;
const SPACING = 2;

/**
 * Aligned columns, two spaces apart, header first. Ends with a line break; no rows make a table of its header. On a terminal that is
 * narrower, the widest columns are cut, but not the first, which names the rows, and none with colours, which says how they are.
 */
export function formatTable(header: readonly string[], rows: readonly (readonly Cell[])[], style: TableStyle): string {
  const lines = [header.map((text): Cell => text), ...rows];
  const whole = lines.map((line) => line.map((cell) => escapeText(typeof cell === 'string' ? cell : cell.text)));
  const widths = fitWidths(
    header.map((_, column) => ({
      width: Math.max(...whole.map((line) => widthOf(line[column] ?? ''))),
      cuttable: column > 0 && rows.every((row) => typeof row[column] !== 'object'),
    })),
    style.width ?? Infinity,
  );
  const escaped = whole.map((line) => line.map((text, column) => cut(text, widths[column] ?? 0)));
  return lines
    .map((line, row) => {
      const cells = line.map((cell, column) => {
        const text = escaped[row]?.[column] ?? '';
        const padding = column === line.length - 1 ? '' : ' '.repeat((widths[column] ?? 0) - widthOf(text));
        return `${paint(text, typeof cell === 'string' ? undefined : cell.colour, style)}${padding}`;
      });
      return `${cells.join(' '.repeat(SPACING)).trimEnd()}\n`;
    })
    .join('');
}

/** Takes from the widest column, one character after another, until the line fits or nothing is left to take. */
function fitWidths(
  columns: readonly { readonly width: number; readonly cuttable: boolean }[],
  limit: number,
): readonly number[] {
  const fitted = columns.map(({ width }) => width);
  let excess = fitted.reduce((sum, width) => sum + width, (columns.length - 1) * SPACING) - limit;
  for (; excess > 0; excess -= 1) {
    const cuttable = fitted.map((width, column) => (columns[column]?.cuttable === true ? width : 0));
    const widest = Math.max(...cuttable);
    if (widest <= MIN_CUT) break;
    fitted[cuttable.indexOf(widest)] = widest - 1;
  }
  return fitted;
}

function cut(text: string, width: number): string {
  const characters = [...text];
  return characters.length <= width ? text : `${characters.slice(0, width - 1).join('')}…`;
}

/** One line of cells without columns to align to. */
export function formatLine(cells: readonly Cell[], style: TableStyle): string {
  return `${cells.map((cell) => formatCell(cell, style)).join('  ')}\n`;
}

/** `name: value` lines, values aligned. */
export function formatFields(fields: readonly (readonly [string, Cell])[], style: TableStyle): string {
  const width = Math.max(0, ...fields.map(([name]) => name.length));
  return fields
    .map(([name, cell]) => {
      return `${`${name}:`.padEnd(width + 1)}  ${formatCell(cell, style)}`.trimEnd();
    })
    .map((line) => `${line}\n`)
    .join('');
}

function formatCell(cell: Cell, style: TableStyle): string {
  return typeof cell === 'string' ? escapeText(cell) : paint(escapeText(cell.text), cell.colour, style);
}

function paint(text: string, colour: Colour | undefined, style: TableStyle): string {
  return colour === undefined || !style.colours || text === '' ? text : `\u001b[${COLOURS[colour]}m${text}\u001b[0m`;
}

function widthOf(text: string): number {
  return [...text].length;
}

const STATUS_COLOURS: Readonly<Record<string, Colour>> = {
  AFFIRMING: 'green',
  ACTIVE: 'green',
  PASSED: 'green',
  WARNING: 'yellow',
  PENDING: 'yellow',
  ERROR: 'yellow',
  CONTRAINDICATED: 'red',
  REVOKED: 'red',
  FAILED: 'red',
  NONE: 'dim',
  UNREACHABLE: 'yellow',
  NEVER_SEEN: 'dim',
};

/** A state or status in its colour. */
export function statusCell(status: string): Cell {
  const colour = STATUS_COLOURS[status];
  return colour === undefined ? status : { text: status, colour };
}

/** Second precision, UTC; `-` for a time that is not set. */
export function formatTime(time: Date | undefined): string {
  return time === undefined ? '-' : time.toISOString().replace(/\.\d{3}Z$/, 'Z');
}

/** `a=1,b=2`, in the order of the keys; `-` for none. */
export function formatLabels(labels: Readonly<Record<string, string>>): string {
  const entries = Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return entries.length === 0 ? '-' : entries.map(([key, value]) => `${key}=${value}`).join(',');
}

/** `h-abc` of `hosts/h-abc`: tables show ids, JSON shows names. */
export function idOf(name: string): string {
  return name.slice(name.lastIndexOf('/') + 1);
}
