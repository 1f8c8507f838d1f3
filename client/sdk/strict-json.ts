import type { JsonObject } from './resources.ts';

const MAX_DEPTH = 32;

/**
 * Reads JSON that somebody signed: one object in UTF-8, no name twice in one object (RFC 7519 §4 lets readers take the last of
 * two, and not all do), at most 32 levels. Throws SyntaxError.
 */
export function parseStrictJson(bytes: Uint8Array): JsonObject {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new SyntaxError('text is not UTF-8', { cause });
  }
  const value: unknown = JSON.parse(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new SyntaxError('text is no object');
  checkNames(text);
  return value as JsonObject;
}

/** Walks over a text that is known to be JSON. */
function checkNames(text: string): void {
  /** Names of each object that is open; null for a list. */
  const open: (Set<string> | null)[] = [];
  for (let index = 0; index < text.length; index++) {
    const character = text[index];
    if (character === '{' || character === '[') {
      open.push(character === '{' ? new Set() : null);
      if (open.length > MAX_DEPTH) throw new SyntaxError('text is too deep');
    } else if (character === '}' || character === ']') {
      open.pop();
    } else if (character === '"') {
      const end = endOfString(text, index);
      // Only a name is followed by a colon.
      if (text[skipBlanks(text, end)] === ':') addName(open.at(-1), text.slice(index, end));
      index = end - 1;
    }
  }
}

function addName(names: Set<string> | null | undefined, quoted: string): void {
  const name = JSON.parse(quoted) as string;
  if (names?.has(name) === true) throw new SyntaxError(`the name ${JSON.stringify(name)} stands twice in one object`);
  names?.add(name);
}

function skipBlanks(text: string, start: number): number {
  let index = start;
  while (' \t\n\r'.includes(text[index] ?? 'end')) index++;
  return index;
}

/** Index behind the closing quotation mark. */
function endOfString(text: string, start: number): number {
  let index = start + 1;
  while (text[index] !== '"') index += text[index] === '\\' ? 2 : 1;
  return index + 1;
}
