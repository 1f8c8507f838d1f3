import { isMap, isNode, isScalar, LineCounter, parseAllDocuments } from 'yaml';
import type { Document, Node } from 'yaml';
import { RpcError } from '../../proto/rpc-error.ts';
import { UsageError } from '../failure.ts';
import { findPolicyProblems, formatPath, parsePath } from '../sdk/policy-problems.ts';
import type { JsonPath } from '../sdk/policy-problems.ts';
import type { JsonObject, JsonValue, PolicyProblem } from '../sdk/resources.ts';
import { readNamedFile } from './context.ts';
import type { Context } from './context.ts';

/** A policy as a file holds it, with what is needed to say where in the file something is wrong. */
export interface PolicyDocument {
  readonly json: JsonObject;
  /** `FILE:LINE:COLUMN: field: message` for a problem that the service found. */
  readonly locate: (problem: PolicyProblem) => string;
}

/** Bytes of a policy file. */
export const MAX_POLICY_BYTES = 1024 * 1024;
/** A document that stands for more nodes than this through its aliases is refused. */
const MAX_ALIASES = 100;

/**
 * Reads the policies of a file: YAML, of which JSON is a part, one document for each policy.
 * @throws UsageError with every problem, its line, column and field
 */
export function parsePolicyFile(file: string, text: string): readonly PolicyDocument[] {
  const lines = new LineCounter();
  const documents = [...parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true })];
  const place = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const syntax = documents.flatMap(({ errors }) => errors.map(({ pos, message }) => `${place(pos[0])}: ${message}`));
  if (syntax.length > 0) throw new UsageError(`${file} is not YAML`, { problems: syntax });
  const filled = documents.filter(
    (document): document is Document.Parsed => 'contents' in document && document.contents !== null,
  );
  if (filled.length === 0) throw new UsageError(`${file} holds no policy`);
  const policies = filled.map((document) => readDocument(document, place));
  const problems = policies.flatMap((policy) => policy.problems);
  if (problems.length > 0) throw new UsageError(`${file} is not a trust policy`, { problems });
  return policies;
}

/** Reads the policies of a file that an option names. */
export async function readPolicies(context: Context, file: string): Promise<readonly PolicyDocument[]> {
  const text = await readNamedFile(context, file, MAX_POLICY_BYTES, 'policy file');
  return parsePolicyFile(file === '-' ? 'standard input' : file, text.toString('utf8'));
}

/** The service names fields; the file has lines. */
export async function located<T>(document: PolicyDocument, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof RpcError) || error.code !== 'INVALID_ARGUMENT' || error.fieldViolations.length === 0)
      throw error;
    const problems = error.fieldViolations.map(({ field, description }) =>
      document.locate({ field: field.replace(/^trust_policy\./, ''), message: description }),
    );
    throw new UsageError(`${error.reason}: ${error.message}`, { cause: error, problems });
  }
}

function readDocument(
  document: Document.Parsed,
  place: (offset: number) => string,
): PolicyDocument & { readonly problems: readonly string[] } {
  const locateAt = (path: JsonPath, message: string): string => {
    const offset = offsetOf(document, path);
    const field = formatPath(path);
    return `${place(offset)}: ${field === '' ? '' : `${field}: `}${message}`;
  };
  const locate = ({ field, message }: PolicyProblem): string => locateAt(parsePath(field), message);
  let json: JsonValue;
  try {
    json = document.toJS({ maxAliasCount: MAX_ALIASES }) as JsonValue;
  } catch (cause) {
    throw new UsageError(`${place(0)}: ${cause instanceof Error ? cause.message : 'cannot be read'}`, { cause });
  }
  const found = findPolicyProblems(json);
  const problems = found.map(({ path, message }) => locateAt(path, `${message}${quoteHint(message)}`));
  return { json: json as JsonObject, locate, problems };
}

/** A digest of digits alone is a number to YAML. */
function quoteHint(message: string): string {
  return /^expected string, got [\d.e+]+$/.test(message) ? ' (put it in quotes)' : '';
}

/** Where a field stands in the text; where it is not there, the nearest thing around it. */
function offsetOf(document: Document.Parsed, path: JsonPath): number {
  let node: Node | null = document.contents;
  let offset = node?.range?.[0] ?? 0;
  for (const step of path) {
    const next = isMap(node) ? childOfMap(node, String(step)) : childOfList(node, step);
    if (next === undefined) return offset;
    offset = next.offset;
    node = next.node;
  }
  return offset;
}

interface Child {
  readonly node: Node | null;
  readonly offset: number;
}

/** The file may spell a field as `pcrRules` where the service says `pcr_rules`. */
function childOfMap(map: Node, name: string): Child | undefined {
  if (!isMap(map)) return undefined;
  const pair = map.items.find(({ key }) => isScalar(key) && plain(String(key.value)) === plain(name));
  if (pair === undefined || !isNode(pair.key)) return undefined;
  return { node: isNode(pair.value) ? pair.value : null, offset: pair.key.range?.[0] ?? 0 };
}

function childOfList(list: Node | null, index: string | number): Child | undefined {
  if (list === null || !('items' in list) || typeof index !== 'number') return undefined;
  const item: unknown = list.items[index];
  return isNode(item) ? { node: item, offset: item.range?.[0] ?? 0 } : undefined;
}

function plain(name: string): string {
  return name.replaceAll('_', '').toLowerCase();
}
