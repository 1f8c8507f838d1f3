import { malformed, ReferenceImportError } from './import-error.ts';
import type { Place } from './import-error.ts';

/** Keys and indices from the outermost value to the present one. */
export type JsonPath = readonly (string | number)[];
export type JsonScalar = string | number | boolean | null;

/** Hears of each value in the order of the text. The path is good during the call only. */
export interface JsonVisitor {
  readonly scalar: (path: JsonPath, value: JsonScalar, place: Place) => void;
  readonly enter: (path: JsonPath, kind: 'object' | 'array', place: Place) => void;
  /** An object whose keys may be many: repeated ones are not looked for. */
  readonly isLarge: (path: JsonPath) => boolean;
}

/** Limits of one value, characters, and of nesting. */
const MAX_STRING = 1024 * 1024;
const MAX_BARE = 64;
const MAX_DEPTH = 32;

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const LITERALS: ReadonlyMap<string, boolean | null> = new Map([
  ['true', true],
  ['false', false],
  ['null', null],
]);
/** Characters of a string up to what ends or escapes it. */
const PLAIN = /[^"\\\p{Cc}]+|[\u007f-\u009f]+/uy;
const SPACE = /[ \t\r\n]/;

interface Frame {
  readonly kind: 'object' | 'array';
  /** Keys so far; null where they are not kept. */
  readonly keys: Set<string> | null;
}

type Expecting = 'value' | 'first item' | 'key' | 'first key' | 'colon' | 'comma' | 'nothing';

/** Reads JSON (RFC 8259) that comes in chunks of any length, without recursion and without keeping it. Throws with the place. */
export class JsonReader {
  readonly #visitor: JsonVisitor;
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  readonly #frames: Frame[] = [];
  readonly #path: (string | number)[] = [];
  #expecting: Expecting = 'value';
  /** What is open: a string's text as it is written, or a number or literal. */
  #token: { readonly kind: 'string' | 'bare'; text: string; escaping: boolean; readonly place: Place } | null = null;
  #line = 1;
  #column = 1;

  constructor(visitor: JsonVisitor) {
    this.#visitor = visitor;
  }

  push(chunk: Buffer): void {
    this.#read(this.#decode(chunk));
  }

  end(): void {
    this.#read(this.#decode(null));
    if (this.#token?.kind === 'bare') this.#endBare();
    if (this.#token !== null || this.#expecting !== 'nothing') throw this.#error('the text ends too early');
  }

  #decode(chunk: Buffer | null): string {
    try {
      return chunk === null ? this.#decoder.decode() : this.#decoder.decode(chunk, { stream: true });
    } catch (cause) {
      throw new ReferenceImportError('malformed', `after line ${this.#line}: the text is not UTF-8`, { cause });
    }
  }

  #read(text: string): void {
    for (let index = 0; index < text.length;) {
      if (this.#token?.kind === 'string' && !this.#token.escaping) {
        PLAIN.lastIndex = index;
        const [plain] = PLAIN.exec(text) ?? [];
        if (plain !== undefined) {
          this.#append(plain);
          index += plain.length;
          this.#column += plain.length;
          continue;
        }
      }
      const character = text[index] ?? '';
      this.#take(character);
      index++;
      if (character === '\n') {
        this.#line++;
        this.#column = 1;
      } else this.#column++;
    }
  }

  #take(character: string): void {
    if (this.#token?.kind === 'string') return this.#takeOfString(character);
    if (/[-+.0-9A-Za-z]/.test(character)) {
      this.#token ??= { kind: 'bare', text: '', escaping: false, place: this.#place() };
      return this.#append(character);
    }
    if (this.#token !== null) this.#endBare();
    if (SPACE.test(character)) return;
    this.#punctuation(character);
  }

  #punctuation(character: string): void {
    const expecting = this.#expecting;
    const value = expecting === 'value' || expecting === 'first item';
    const key = expecting === 'key' || expecting === 'first key';
    const inside = this.#frames.at(-1)?.kind;
    if (character === '"' && (value || key)) {
      this.#token = { kind: 'string', text: '', escaping: false, place: this.#place() };
    } else if ((character === '{' || character === '[') && value) {
      this.#enter(character === '{' ? 'object' : 'array');
    } else if (character === '}' && inside === 'object' && (expecting === 'first key' || expecting === 'comma')) {
      this.#leave();
    } else if (character === ']' && inside === 'array' && (expecting === 'first item' || expecting === 'comma')) {
      this.#leave();
    } else if (character === ':' && expecting === 'colon') {
      this.#expecting = 'value';
    } else if (character === ',' && expecting === 'comma') {
      this.#next(inside);
    } else throw this.#error(expecting === 'nothing' ? 'something follows the value' : `${expecting} expected`);
  }

  #takeOfString(character: string): void {
    const token = this.#token;
    if (token === null) return;
    if (character < ' ') throw this.#error('a control character in a string');
    if (!token.escaping && character === '"') return this.#endString();
    token.escaping = !token.escaping && character === '\\';
    this.#append(character);
  }

  #append(text: string): void {
    const token = this.#token;
    if (token === null) return;
    token.text += text;
    if (token.text.length > (token.kind === 'string' ? MAX_STRING : MAX_BARE))
      throw this.#error('the value is too long');
  }

  #endString(): void {
    const token = this.#token;
    this.#token = null;
    if (token === null) return;
    const value = token.text.includes('\\') ? this.#unescape(token.text, token.place) : token.text;
    if (this.#expecting === 'key' || this.#expecting === 'first key') return this.#key(value, token.place);
    this.#scalar(value, token.place);
  }

  #unescape(text: string, place: Place): string {
    try {
      return JSON.parse(`"${text}"`) as string;
    } catch {
      throw this.#error('a bad escape in a string', place);
    }
  }

  #endBare(): void {
    const token = this.#token;
    this.#token = null;
    if (token === null) return;
    if (this.#expecting !== 'value' && this.#expecting !== 'first item')
      throw this.#error(
        this.#expecting === 'nothing' ? 'something follows the value' : `${this.#expecting} expected`,
        token.place,
      );
    const literal = LITERALS.get(token.text);
    if (literal !== undefined) return this.#scalar(literal, token.place);
    if (!NUMBER.test(token.text)) throw this.#error('neither a value nor a number', token.place);
    this.#scalar(Number(token.text), token.place);
  }

  #key(key: string, place: Place): void {
    const keys = this.#frames.at(-1)?.keys;
    if (keys?.has(key) === true) throw this.#error(`the key ${JSON.stringify(key)} stands twice`, place);
    keys?.add(key);
    this.#path[this.#path.length - 1] = key;
    this.#expecting = 'colon';
  }

  #scalar(value: JsonScalar, place: Place): void {
    this.#visitor.scalar(this.#path, value, place);
    this.#expecting = this.#frames.length === 0 ? 'nothing' : 'comma';
  }

  #enter(kind: Frame['kind']): void {
    if (this.#frames.length >= MAX_DEPTH) throw this.#error(`nested deeper than ${MAX_DEPTH}`);
    this.#visitor.enter(this.#path, kind, this.#place());
    const keys = kind === 'object' && !this.#visitor.isLarge(this.#path) ? new Set<string>() : null;
    this.#frames.push({ kind, keys });
    this.#path.push(kind === 'array' ? 0 : '');
    this.#expecting = kind === 'array' ? 'first item' : 'first key';
  }

  #leave(): void {
    this.#frames.pop();
    this.#path.pop();
    this.#expecting = this.#frames.length === 0 ? 'nothing' : 'comma';
  }

  #next(inside: Frame['kind'] | undefined): void {
    const last = this.#path.at(-1);
    if (typeof last === 'number') this.#path[this.#path.length - 1] = last + 1;
    this.#expecting = inside === 'array' ? 'value' : 'key';
  }

  #place(): Place {
    return { line: this.#line, column: this.#column };
  }

  #error(message: string, place = this.#place()): ReferenceImportError {
    return malformed(place, `${formatJsonPath(this.#path)}: ${message}`);
  }
}

/** Such as `$.digests["/bin/sh"][0]`; long keys are cut. */
export function formatJsonPath(path: JsonPath): string {
  const steps = path.map((step) => {
    if (typeof step === 'number') return `[${step}]`;
    if (/^[A-Za-z_]\w{0,63}$/.test(step)) return `.${step}`;
    return `[${JSON.stringify(step.length > 256 ? `${step.slice(0, 256)}…` : step)}]`;
  });
  return `$${steps.join('')}`;
}
