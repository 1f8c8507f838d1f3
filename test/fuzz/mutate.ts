/** Changes of bytes as attackers, broken disks and other releases make them. */
import type { SeededRandom } from '../support/seeded-random.ts';

const NUMBERS = [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
/** Bytes that mean something in text, DER, YAML, JSON or a path. */
const TOKENS = [
  '\0',
  '"',
  '\\',
  '\n',
  '{',
  '}',
  '[',
  ']',
  ': ',
  '- ',
  '&a ',
  '*a ',
  '<<: ',
  '/',
  '..',
  '\u202e',
  '\ufeff',
]
  .map((text) => Buffer.from(text))
  .concat(
    ['3080', '30840fffffff', '0500', '0201ff', 'a0030201', 'c0af', 'eda080'].map((hex) => Buffer.from(hex, 'hex')),
  );
/** No mutant is longer: what is larger is refused by its length and teaches nothing. */
const MAX_BYTES = 256 * 1024;

type Change = (bytes: Buffer, random: SeededRandom, corpus: readonly Buffer[]) => Buffer;

const CHANGES: readonly Change[] = [
  (bytes, random) =>
    edited(bytes, random, 1, (copy, at) => copy.writeUInt8((copy[at] ?? 0) ^ (1 << random.below(8)), at)),
  (bytes, random) => edited(bytes, random, 1, (copy, at) => copy.writeUInt8(random.below(256), at)),
  (bytes, random) => edited(bytes, random, 2, (copy, at) => copy.writeUInt16BE(random.pick(NUMBERS) & 0xffff, at)),
  (bytes, random) => edited(bytes, random, 4, (copy, at) => copy.writeUInt32BE(random.pick(NUMBERS), at)),
  (bytes, random) => edited(bytes, random, 4, (copy, at) => copy.writeUInt32LE(random.pick(NUMBERS), at)),
  (bytes, random) => bytes.subarray(0, random.below(bytes.length + 1)),
  (bytes, random) => spliced(bytes, random, Buffer.alloc(0)),
  (bytes, random) => inserted(bytes, random, random.bytesUpTo(16)),
  (bytes, random) => inserted(bytes, random, random.pick(TOKENS)),
  (bytes, random) => inserted(bytes, random, rangeOf(bytes, random)),
  (bytes, random) =>
    inserted(
      bytes,
      random,
      Buffer.concat(Array.from({ length: 1 + random.below(200) }, () => rangeOf(bytes, random, 64))),
    ),
  (bytes, random, corpus) => spliced(bytes, random, rangeOf(random.pick(corpus), random)),
];

/** One to four changes of one of the corpus. */
export function mutant(corpus: readonly Buffer[], random: SeededRandom): Buffer {
  let bytes = random.pick(corpus);
  for (let left = random.below(4); left >= 0; left -= 1) bytes = random.pick(CHANGES)(bytes, random, corpus);
  return Buffer.from(bytes.subarray(0, MAX_BYTES));
}

/** The same bytes with a number of another value somewhere. */
function edited(bytes: Buffer, random: SeededRandom, size: number, edit: (copy: Buffer, at: number) => void): Buffer {
  if (bytes.length < size) return bytes;
  const copy = Buffer.from(bytes);
  edit(copy, random.below(bytes.length - size + 1));
  return copy;
}

function inserted(bytes: Buffer, random: SeededRandom, part: Buffer): Buffer {
  const at = random.below(bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, at), part, bytes.subarray(at)]);
}

/** A range of the bytes gives way to a part. */
function spliced(bytes: Buffer, random: SeededRandom, part: Buffer): Buffer {
  const from = random.below(bytes.length + 1);
  const to = Math.min(bytes.length, from + random.below(Math.max(1, bytes.length >> 1)));
  return Buffer.concat([bytes.subarray(0, from), part, bytes.subarray(to)]);
}

function rangeOf(bytes: Buffer, random: SeededRandom, longest = 4096): Buffer {
  const from = random.below(bytes.length + 1);
  return bytes.subarray(from, from + random.below(Math.min(longest, bytes.length) + 1));
}
