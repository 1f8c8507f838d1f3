import { isMap, isNode, LineCounter, parseAllDocuments } from 'yaml';
import type { Document, Node } from 'yaml';
import { RpcError } from '../../proto/rpc-error.ts';
import { UsageError } from '../failure.ts';
import { findField, findForbiddenYaml } from '../policies/policy-yaml.ts';
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
/** Policies of one file. */
const MAX_POLICIES = 100;
/** Before a field of the policy, as the service names it. */
const POLICY_FIELD = 'trust_policy.';
/** How the library says that a file nests deeper than it can read. */
const STACK_FULL = /call stack|Stack overflow/;
/** Problems that are named; a person mends some and tries again. */
const MAX_PROBLEMS = 100;

/**
 * Reads the policies of a file: YAML, of which JSON is a part, one document for each policy.
 * @throws UsageError with every problem, its line, column and field
 */
export function parsePolicyFile(file: string, text: string): readonly PolicyDocument[] {
  const lines = new LineCounter();
  // Fields that stand twice are found below: the library compares each with each.
  const documents = [...parseAllDocuments(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false })];
  const place = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const errors = documents.flatMap((document) => document.errors);
  const [deep] = errors.filter(({ message }) => STACK_FULL.test(message));
  const syntax = errors.map(({ pos, message }) => `${place(pos[0])}: ${message}`);
  // What else is said of such a file comes of that.
  refuseFor(`${file} is not YAML`, deep === undefined ? syntax : [`${place(deep.pos[0])}: nested too deeply`]);
  const filled = documents.filter(
    (document): document is Document.Parsed => 'contents' in document && document.contents !== null,
  );
  if (filled.length === 0) throw new UsageError(`${file} holds no policy`);
  if (filled.length > MAX_POLICIES) throw new UsageError(`${file} holds more than ${MAX_POLICIES} policies`);
  const forbidden = filled.flatMap((document) =>
    findForbiddenYaml(document).map(({ offset, message }) => `${place(offset)}: ${message}`),
  );
  refuseFor(`${file} has what a policy file must not`, forbidden);
  const policies = filled.map((document) => readDocument(document, place));
  // A document with problems may be no mapping at all.
  const sound = policies.filter((policy) => policy.problems.length === 0);
  const problems = [...policies.flatMap((policy) => policy.problems), ...findNamesakes(sound)];
  const unnamed = policies.reduce((sum, policy) => sum + policy.unnamed, 0);
  refuseFor(`${file} is not a trust policy`, problems, unnamed);
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
    if (!(error instanceof RpcError)) throw error;
    // Other fields are of the call, and stand in no file.
    const ofPolicy = error.fieldViolations.filter(({ field }) => field.startsWith(POLICY_FIELD));
    if (ofPolicy.length === 0) throw error;
    const problems = ofPolicy.map(({ field, description }) =>
      document.locate({ field: field.slice(POLICY_FIELD.length), message: description }),
    );
    throw new UsageError(`${error.reason}: ${error.message}`, { cause: error, problems });
  }
}

function refuseFor(message: string, problems: readonly string[], unnamed = 0): void {
  if (problems.length === 0) return;
  const more = problems.length - MAX_PROBLEMS + unnamed;
  const named = more > 0 ? [...problems.slice(0, MAX_PROBLEMS), `and ${more} more`] : problems;
  throw new UsageError(message, { problems: named });
}

/** The second of a name would replace the first. */
function findNamesakes(policies: readonly PolicyDocument[]): readonly string[] {
  const seen = new Set<string>();
  return policies.flatMap(({ json, locate }) => {
    const name = json['name'];
    if (typeof name !== 'string') return [];
    const id = name.replace(/^trustPolicies\//, '');
    if (seen.has(id)) return [locate({ field: 'name', message: `is the name of another policy of this file` })];
    seen.add(id);
    return [];
  });
}

function readDocument(
  document: Document.Parsed,
  place: (offset: number) => string,
): PolicyDocument & { readonly problems: readonly string[]; readonly unnamed: number } {
  const locateAt = (path: JsonPath, message: string): string => {
    const offset = offsetOf(document, path);
    const field = formatPath(path);
    return `${place(offset)}: ${field === '' ? '' : `${field}: `}${message}`;
  };
  const locate = ({ field, message }: PolicyProblem): string => locateAt(parsePath(field), message);
  const json = document.toJS() as JsonValue;
  const found = findPolicyProblems(json);
  // To find a place takes time, and a file may be nothing but problems.
  const problems = found
    .slice(0, MAX_PROBLEMS)
    .map(({ path, message }) => locateAt(path, `${message}${quoteHint(message)}`));
  return { json: json as JsonObject, locate, problems, unnamed: found.length - problems.length };
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
  const pair = findField(map, name);
  if (pair === undefined || !isNode(pair.key)) return undefined;
  return { node: isNode(pair.value) ? pair.value : null, offset: pair.key.range?.[0] ?? 0 };
}

function childOfList(list: Node | null, index: string | number): Child | undefined {
  if (list === null || !('items' in list) || typeof index !== 'number') return undefined;
  const item: unknown = list.items[index];
  return isNode(item) ? { node: item, offset: item.range?.[0] ?? 0 } : undefined;
}
