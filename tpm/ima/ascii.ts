/**
 * The ASCII list (`ascii_runtime_measurements`), for tools that look at saved lists. Evidence is always the binary one, for this
 * form is ambiguous: a space in a name is written `_`, a line break in a name breaks the line, and integers have lost their byte
 * order. The entries are put back into binary form, so that all else is the same for both.
 */
import { hash as oneShotHash } from 'node:crypto';

import { HASH_ALGORITHMS, IMPLEMENTATION_PCR } from '../structures/constants.ts';
import type { HashAlgorithm } from '../structures/constants.ts';
import { ImaEntry } from './entry.ts';
import { imaFinding, quoteName } from './findings.ts';
import type { ImaFinding, ImaFindingCode, ImaPlace } from './findings.ts';
import { DEFAULT_IMA_LIMITS } from './parse.ts';
import type { ImaLimits } from './parse.ts';
import { FIXED_DIGEST_SIZE, MAX_FIXED_NAME, imaTemplate, templateHashInput } from './templates.ts';
import type { ImaFieldId, ImaTemplate } from './templates.ts';

/** The entries that could be read, and a finding for each line that is none. */
export interface ImaAsciiList {
  readonly entries: readonly ImaEntry[];
  readonly findings: readonly ImaFinding[];
}

const MAX_LINE_FINDINGS = 100;

/** Reads an ASCII list. A line that is no entry is told and left out, so that what follows can still be looked at. */
export function parseImaAscii(text: string, limits: Partial<ImaLimits> = {}): ImaAsciiList {
  const { maxDataBytes, maxEntries } = { ...DEFAULT_IMA_LIMITS, ...limits };
  const entries: ImaEntry[] = [];
  const findings: ImaFinding[] = [];
  const tell = (code: ImaFindingCode, place: ImaPlace, message: string): void => {
    if (findings.length < MAX_LINE_FINDINGS) findings.push(imaFinding(code, place, message));
  };
  let offset = 0;
  let number = 0;
  while (offset < text.length) {
    const end = text.indexOf('\n', offset);
    const line = text.slice(offset, end === -1 ? text.length : end).replace(/\r$/, '');
    const place = { index: entries.length, offset };
    offset += end === -1 ? text.length : end - offset + 1;
    number += 1;
    if (line === '') continue;
    if (entries.length === maxEntries) {
      tell('IMA_LIST_TOO_LONG', place, `more than ${maxEntries} entries`);
      break;
    }
    // Each byte is two digits, so twice the data and the head bound the line.
    if (line.length > 2 * maxDataBytes + 1024) {
      tell('IMA_ENTRY_TOO_LARGE', place, `line ${number} has ${line.length} characters`);
      continue;
    }
    const read = readLine(line, place);
    if (read instanceof ImaEntry) entries.push(read);
    else tell(read.code, place, `line ${number} is no entry: ${read.what}`);
  }
  return { entries, findings };
}

interface LineProblem {
  readonly code: 'IMA_ENTRY_MALFORMED' | 'IMA_TEMPLATE_UNKNOWN' | 'IMA_FIELD_MALFORMED';
  readonly what: string;
}

const LINE = /^\s*(\d{1,2}) ([0-9a-f]+) (\S+)(?: (.*))?$/s;

function readLine(line: string, place: { readonly index: number; readonly offset: number }): ImaEntry | LineProblem {
  const [, pcrText = '', hashHex = '', templateName = '', rest = ''] = LINE.exec(line) ?? [];
  const pcr = Number(pcrText);
  const hashes = [...HASH_ALGORITHMS.values()].filter(({ size }) => size * 2 === hashHex.length);
  const [hash] = hashes;
  if (pcrText === '' || pcr >= IMPLEMENTATION_PCR || hash === undefined) {
    return { code: 'IMA_ENTRY_MALFORMED', what: 'it does not begin with a pcr, a template hash and a template' };
  }
  const template = imaTemplate(templateName);
  if (template.fields === undefined) {
    return { code: 'IMA_TEMPLATE_UNKNOWN', what: `the template ${quoteName(templateName)} is not known` };
  }
  const encoded = encodeFields(template, template.fields, rest);
  if (typeof encoded === 'string') return { code: 'IMA_FIELD_MALFORMED', what: encoded };
  const found = findForm(template, encoded, hashHex, hashes) ?? { data: joinFields(template, encoded), hash };
  return makeEntry({ pcr, template, hash: found.hash, hashHex, data: found.data, place });
}

interface Field {
  readonly id: ImaFieldId;
  readonly bytes: Buffer;
}

/** The fields of a line stand between single spaces; one that is empty leaves nothing between them, or nothing at the end. */
function encodeFields(template: ImaTemplate, ids: readonly ImaFieldId[], rest: string): readonly Field[] | string {
  const words = rest.split(' ', ids.length + 1);
  while (words.length > ids.length && words.at(-1) === '') words.pop();
  if (words.length > ids.length) return `more fields than ${template.name} has`;
  const fields: Field[] = [];
  for (const [index, id] of ids.entries()) {
    const bytes = encoders[id](words[index] ?? '');
    if (bytes === undefined || !fits(template, id, bytes)) return `field ${id} is malformed`;
    fields.push({ id, bytes });
  }
  return fields;
}

/** What the template `ima` fixes, and binary lists tell by their lengths. */
function fits({ fixedForm }: ImaTemplate, id: ImaFieldId, { length }: Buffer): boolean {
  return !fixedForm || (id === 'd' ? length === FIXED_DIGEST_SIZE : length <= MAX_FIXED_NAME);
}

type Encoder = (text: string) => Buffer | undefined;

const encoders: Readonly<Record<ImaFieldId, Encoder>> = {
  d: hex,
  n: (text) => latin1(text),
  'n-ng': terminated,
  'd-ng': digest,
  'd-ngv2': digest,
  'd-modsig': digest,
  sig: hex,
  buf: hex,
  modsig: hex,
  evmsig: hex,
  xattrnames: (text) => (text === '' ? Buffer.alloc(0) : terminated(text)),
  xattrlengths: hex,
  xattrvalues: hex,
  iuid: (text) => decimal(text, 4),
  igid: (text) => decimal(text, 4),
  imode: (text) => decimal(text, 2),
};

function hex(text: string): Buffer | undefined {
  return text.length % 2 === 0 && /^[0-9a-f]*$/.test(text) ? Buffer.from(text, 'hex') : undefined;
}

function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

function terminated(text: string): Buffer {
  return Buffer.concat([latin1(text), Buffer.alloc(1)]);
}

/** `sha256:ab…`, with `ima:` or `verity:` before it in `d-ngv2`; in binary a NUL follows the last colon. */
function digest(text: string): Buffer | undefined {
  const colon = text.lastIndexOf(':');
  const value = hex(text.slice(colon + 1));
  if (text === '') return Buffer.alloc(0);
  return colon < 1 || value === undefined ? undefined : Buffer.concat([terminated(text.slice(0, colon + 1)), value]);
}

function decimal(text: string, size: number): Buffer | undefined {
  if (text === '') return Buffer.alloc(0);
  const value = Number(text);
  if (!/^\d+$/.test(text) || value >= 2 ** (8 * size)) return undefined;
  const bytes = Buffer.alloc(size);
  bytes.writeUIntLE(value, 0, size);
  return bytes;
}

function joinFields(template: ImaTemplate, fields: readonly Field[]): Buffer {
  const parts = fields.flatMap(({ bytes }, index) =>
    template.fixedForm && index === 0 ? [bytes] : [u32(bytes.length), bytes],
  );
  return Buffer.concat(parts);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** Underscores of a name that are tried as spaces: each doubles the work. */
const MAX_DOUBTFUL = 8;

/** The data and hash under which the line is consistent: the name's underscores may have been spaces. */
function findForm(
  template: ImaTemplate,
  fields: readonly Field[],
  hashHex: string,
  hashes: readonly HashAlgorithm[],
): { readonly data: Buffer; readonly hash: HashAlgorithm } | undefined {
  const nameIndex = fields.findIndex(({ id }) => id === 'n-ng' || id === 'n');
  const name = fields[nameIndex]?.bytes ?? Buffer.alloc(0);
  const doubtful = [...name.keys()].filter((at) => name[at] === UNDERSCORE);
  const variants = doubtful.length > MAX_DOUBTFUL ? 1 : 2 ** doubtful.length;
  for (let variant = 0; variant < variants; variant += 1) {
    const bytes = Buffer.from(name);
    for (const [bit, at] of doubtful.entries()) {
      if (((variant >> bit) & 1) === 1) bytes[at] = SPACE;
    }
    const data = joinFields(
      template,
      fields.map((field, index) => (index === nameIndex ? { id: field.id, bytes } : field)),
    );
    const input = templateHashInput(template, data);
    const hash = hashes.find(({ node }) => oneShotHash(node, input, 'hex') === hashHex);
    if (hash !== undefined) return { data, hash };
  }
  return undefined;
}

const UNDERSCORE = 0x5f;
const SPACE = 0x20;

function makeEntry(parts: {
  readonly pcr: number;
  readonly template: ImaTemplate;
  readonly hash: HashAlgorithm;
  readonly hashHex: string;
  readonly data: Buffer;
  readonly place: { readonly index: number; readonly offset: number };
}): ImaEntry {
  const { pcr, template, hash, hashHex, data, place } = parts;
  const bytes = Buffer.concat([Buffer.from(hashHex, 'hex'), data]);
  const layout = { byteOrder: 'little', hash } as const;
  return new ImaEntry(place, { pcr, template, layout }, { bytes, hashAt: 0, dataAt: hash.size, end: bytes.length });
}
