/** Messages of any type, made from its descriptor alone: what a service that is added later gets thrown at it by itself. */
import { create, ScalarType } from '@bufbuild/protobuf';
import type { DescEnum, DescField, DescMessage, Message } from '@bufbuild/protobuf';

import type { SeededRandom } from './seeded-random.ts';

/** Values that mean something to the service: names of what it has, tokens that it gave out, keys and certificates. */
export interface Dictionary {
  readonly texts: readonly string[];
  readonly bytes: readonly Buffer[];
}

const MAX_DEPTH = 6;
const HOSTILE_TEXTS = [
  '',
  '\0',
  '\u202eevil\u0007\u001b[2J',
  "' OR 1=1 --",
  '%s%n%x',
  '../../etc/passwd',
  'hosts/',
  'hosts/h-',
  'hosts/x/y/z',
  '__proto__',
  'constructor',
  '\ud800',
  '-',
  '*',
  'x'.repeat(300),
  'é'.repeat(5000),
];
const HOSTILE_BYTES = ['', '00', 'ff', '3080', '30840fffffff', '0001000b', 'ff544347', '1f8b0800', '00'.repeat(32)].map(
  (hex) => Buffer.from(hex, 'hex'),
);
const NUMBERS = [0, 1, 2, 7, 24, 99, 1000, 0x7fff_ffff];
const SIGNED = [-1, -0x8000_0000];
const LONGS = [0n, 1n, 2n, 1000n, (1n << 53n) - 1n, 1n << 53n, (1n << 63n) - 1n];

type Scalar = string | number | bigint | boolean | Uint8Array;

export class MessageMaker {
  readonly #random: SeededRandom;
  readonly #dictionary: Dictionary;

  constructor(random: SeededRandom, dictionary: Dictionary) {
    this.#random = random;
    this.#dictionary = dictionary;
  }

  /** A message in which most fields are set, to what may be sound, wrong or hostile. */
  make(schema: DescMessage, depth = 0): Message {
    const init: Record<string, unknown> = {};
    for (const member of schema.members) {
      if (this.#oneIn(5)) continue;
      if (member.kind === 'field') init[member.localName] = this.#value(member, depth);
      else {
        const field = this.#random.pick(member.fields);
        init[member.localName] = { case: field.localName, value: this.#value(field, depth) };
      }
    }
    return create(schema, init);
  }

  #value(field: DescField, depth: number): unknown {
    switch (field.fieldKind) {
      case 'scalar':
        return this.#scalar(field.scalar);
      case 'enum':
        return this.#enum(field.enum);
      case 'message':
        return depth < MAX_DEPTH ? this.make(field.message, depth + 1) : undefined;
      case 'list':
        return Array.from({ length: this.#count(depth) }, () => this.#element(field, depth));
      case 'map':
        return Object.fromEntries(
          Array.from({ length: this.#count(depth) }, () => [
            String(this.#scalar(field.mapKey)),
            this.#element(field, depth),
          ]),
        );
    }
  }

  #element(field: Extract<DescField, { readonly fieldKind: 'list' | 'map' }>, depth: number): unknown {
    const kind = field.fieldKind === 'list' ? field.listKind : field.mapKind;
    if (kind === 'message' && field.message !== undefined) return this.make(field.message, depth + 1);
    if (kind === 'enum' && field.enum !== undefined) return this.#enum(field.enum);
    return this.#scalar(field.scalar ?? ScalarType.STRING);
  }

  /** Mostly a few; now and then more than any list may have. */
  #count(depth: number): number {
    if (depth >= MAX_DEPTH) return 0;
    return depth < 2 && this.#oneIn(12) ? 300 : this.#random.below(4);
  }

  #enum({ values }: DescEnum): number {
    return this.#oneIn(6) ? 99 : this.#random.pick(values).number;
  }

  #scalar(type: ScalarType): Scalar {
    const random = this.#random;
    switch (type) {
      case ScalarType.STRING:
        return random.pick(this.#oneIn(3) ? HOSTILE_TEXTS : [...this.#dictionary.texts, '']);
      case ScalarType.BYTES:
        if (this.#oneIn(3)) return random.pick(HOSTILE_BYTES);
        return this.#oneIn(4) ? random.bytesUpTo(2048) : random.pick(this.#dictionary.bytes);
      case ScalarType.BOOL:
        return this.#oneIn(2);
      case ScalarType.INT64:
      case ScalarType.SINT64:
      case ScalarType.SFIXED64:
        return this.#oneIn(4) ? -random.pick(LONGS) : random.pick(LONGS);
      case ScalarType.UINT64:
      case ScalarType.FIXED64:
        return random.pick(LONGS);
      case ScalarType.UINT32:
      case ScalarType.FIXED32:
        return random.pick(NUMBERS);
      case ScalarType.DOUBLE:
      case ScalarType.FLOAT:
        return random.pick([0, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]);
      default:
        return random.pick([...NUMBERS, ...SIGNED]);
    }
  }

  #oneIn(many: number): boolean {
    return this.#random.below(many) === 0;
  }
}
