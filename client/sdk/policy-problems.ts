import { fromJson } from '@bufbuild/protobuf';
import type { DescField, DescMessage, JsonValue as ProtobufJson } from '@bufbuild/protobuf';
import { TrustPolicySchema } from '../../proto/gen/assay/v1/trust_policy_pb.ts';
import { nearestWord } from './nearest-word.ts';
import type { JsonValue } from './resources.ts';

/** Keys and list positions from the root of a policy's JSON down to what is wrong, as they are spelled there. */
export type JsonPath = readonly (string | number)[];

export interface JsonProblem {
  readonly path: JsonPath;
  readonly message: string;
}

/** Policies nest no deeper than rules; what is deeper is not one. */
const MAX_DEPTH = 8;

/** Everything that keeps a JSON value from being a TrustPolicy by its form. None where the library would read it. */
export function findPolicyProblems(json: JsonValue): readonly JsonProblem[] {
  return inMessage(TrustPolicySchema, json, []);
}

/** `pcr_rules[2].allowed[0]` */
export function formatPath(path: JsonPath): string {
  return path
    .map((step, depth) => (typeof step === 'number' ? `[${step}]` : `${depth === 0 ? '' : '.'}${step}`))
    .join('');
}

/** Reads `pcr_rules[2].allowed[0]`, the form in which the service names fields. */
export function parsePath(text: string): JsonPath {
  return [...text.matchAll(/\[(\d+)\]|([^.[\]]+)/g)].map(([, index, name]) =>
    index === undefined ? (name ?? '') : Number(index),
  );
}

function inMessage(schema: DescMessage, json: JsonValue, path: JsonPath): readonly JsonProblem[] {
  if (typeof json !== 'object' || json === null || isList(json)) {
    return [{ path, message: `expected fields of ${schema.name}` }];
  }
  if (path.length > MAX_DEPTH) return [{ path, message: 'nested too deeply' }];
  const seen = new Map<DescField, string>();
  return Object.entries(json).flatMap(([key, value]) => {
    const at = [...path, key];
    const field = schema.fields.find(({ name, jsonName }) => name === key || jsonName === key);
    if (field === undefined) return [{ path: at, message: `${schema.name} has no such field${suggest(schema, key)}` }];
    const before = seen.get(field);
    if (before !== undefined) return [{ path: at, message: `is the same field as ${before}` }];
    seen.set(field, key);
    return inField(schema, field, value, at);
  });
}

function suggest(schema: DescMessage, key: string): string {
  const meant = nearestWord(
    key,
    schema.fields.map(({ name }) => name),
  );
  return meant === undefined ? '' : `: did you mean ${meant}?`;
}

function inField(schema: DescMessage, field: DescField, value: JsonValue, path: JsonPath): readonly JsonProblem[] {
  // Null is unset to protobuf JSON: a rule that somebody wrote, and left empty, would not be one.
  if (value === null) return [{ path, message: withoutValue(field) }];
  if (field.fieldKind === 'list') {
    if (!isList(value)) return [{ path, message: 'expected a list' }];
    return value.flatMap((item, index) => {
      const at = [...path, index];
      return isOurs(field.message) ? inMessage(field.message, item, at) : tryDecode(schema, field, [item], at);
    });
  }
  if (field.fieldKind === 'message' && isOurs(field.message)) return inMessage(field.message, value, path);
  return tryDecode(schema, field, value, path);
}

function withoutValue(field: DescField): string {
  const holdsFields = field.fieldKind === 'message' && isOurs(field.message);
  return `has no value: ${holdsFields ? 'write {} where nothing else is said, or leave it out' : 'give one, or leave it out'}`;
}

/** What the library says of this one field. */
function tryDecode(schema: DescMessage, field: DescField, value: JsonValue, path: JsonPath): readonly JsonProblem[] {
  try {
    fromJson(schema, { [field.jsonName]: value } as ProtobufJson);
    return [];
  } catch (error) {
    const text = (error instanceof Error ? error.message : 'cannot be read').replace('list item #1: ', '');
    const message = text.replace(/^cannot decode \w+ ([\w.]+) from JSON: /, (_, name: string) =>
      name.startsWith('google.protobuf.') ? `not a ${name.slice('google.protobuf.'.length)}: ` : '',
    );
    return [{ path, message: `${message}${remedyOf(field)}` }];
  }
}

/** What may stand there, where the library does not say it. */
function remedyOf(field: DescField): string {
  if (field.enum !== undefined) {
    const words = field.enum.values.filter(({ number }) => number !== 0).map(({ name }) => name);
    return ` is none of ${words.join(', ')}`;
  }
  return field.message?.typeName === 'google.protobuf.Duration' ? ' (seconds, such as 60s)' : '';
}

/** Messages of this contract are looked into; those of protobuf itself have a JSON form of their own. */
function isOurs(message: DescMessage | undefined): message is DescMessage {
  return message !== undefined && message.file.proto.package === 'assay.v1';
}

function isList(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value);
}
