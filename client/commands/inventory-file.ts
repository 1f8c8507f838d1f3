import { UsageError } from '../failure.ts';
import type { InventoryItem } from '../sdk/endorsements.ts';

/** Bytes of an inventory file: some 100,000 entries. */
export const MAX_INVENTORY_BYTES = 32 * 1024 * 1024;

const FINGERPRINT = /^[0-9a-f]{64}$/i;
const MAX_PROBLEMS = 20;

/**
 * Reads an inventory: lines of `FINGERPRINT [GROUP [COMMENT…]]` with `#` for remarks, or the JSON that `inventory list` prints.
 * @throws UsageError with the lines that are wrong
 */
export function parseInventoryFile(file: string, text: string): readonly InventoryItem[] {
  const items = text.trimStart().startsWith('{') ? parseJson(file, text) : parseLines(text);
  const problems = items.flatMap(({ place, item }) => {
    return FINGERPRINT.test(item.fingerprint)
      ? []
      : [`${file}:${place}: not a SHA-256 in hexadecimal: ${item.fingerprint}`];
  });
  if (problems.length > 0)
    throw new UsageError(`${file} is not an inventory`, { problems: problems.slice(0, MAX_PROBLEMS) });
  if (items.length === 0) throw new UsageError(`${file} holds no endorsement key`);
  return items.map(({ item }) => ({ ...item, fingerprint: item.fingerprint.toLowerCase() }));
}

interface Placed {
  readonly place: string;
  readonly item: InventoryItem;
}

function parseLines(text: string): readonly Placed[] {
  return text.split('\n').flatMap((line, index) => {
    const content = line.trim();
    if (content === '' || content.startsWith('#')) return [];
    const [fingerprint = '', group = '', ...comment] = content.split(/\s+/);
    return [{ place: String(index + 1), item: { fingerprint, group, comment: comment.join(' ') } }];
  });
}

function parseJson(file: string, text: string): readonly Placed[] {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new UsageError(`${file} is not JSON`, { cause });
  }
  const entries = fieldsOf(document)['entries'];
  if (!Array.isArray(entries)) throw new UsageError(`${file} has no list of entries`);
  return entries.map((entry: unknown, index) => {
    const { name, group, comment } = fieldsOf(entry);
    const fingerprint = typeof name === 'string' ? name.replace(/^inventory\//, '') : '';
    return {
      place: `entries[${index}]`,
      item: {
        fingerprint,
        group: typeof group === 'string' ? group : '',
        comment: typeof comment === 'string' ? comment : '',
      },
    };
  });
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
