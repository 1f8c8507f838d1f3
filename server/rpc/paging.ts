import { createHash } from 'node:crypto';

import { create, toBinary } from '@bufbuild/protobuf';
import type { DescMessage, MessageInitShape, MessageShape } from '@bufbuild/protobuf';

import type { Page, PageRequest } from '../store/store.ts';
import { invalid } from './invalid.ts';

const DEFAULT_SIZE = 50;
const MAX_SIZE = 1000;
/** Items of one page in all, bytes: what clients receive by default is a message of 4 MiB. */
const MAX_PAGE_BYTES = 3 * 1024 * 1024;

/**
 * The page that a request asks for. A token is good for the same list and filter only; one that is not is INVALID_ARGUMENT.
 * @param list what is listed, filters included: the token is bound to it, in whatever order a filter names its parts
 */
export function pageOf(
  request: { readonly pageSize: number; readonly pageToken: string },
  list: readonly unknown[],
): PageRequest {
  const { pageSize, pageToken } = request;
  if (pageSize < 0) throw invalid('page_size', 'must not be negative');
  const limit = Math.min(pageSize === 0 ? DEFAULT_SIZE : pageSize, MAX_SIZE);
  return { limit, after: pageToken === '' ? '' : readToken(pageToken, list) };
}

/**
 * The items of a page that fit into one message, at least one: a page may be shorter than what was asked for, and the next one
 * starts behind it.
 */
export function fitPage<T, S extends DescMessage>(
  page: Page<T>,
  shape: {
    readonly schema: S;
    readonly toProto: (item: T) => MessageInitShape<S>;
    /** What the store's pages start after. */
    readonly keyOf: (item: T) => string;
    /** Less than usual, where there is more in the message. */
    readonly maxBytes?: number;
  },
): { readonly messages: MessageShape<S>[]; readonly page: Page<T> } {
  const { schema, toProto, keyOf, maxBytes = MAX_PAGE_BYTES } = shape;
  const messages: MessageShape<S>[] = [];
  let size = 0;
  let last: T | undefined;
  for (const item of page.items) {
    const message = create(schema, toProto(item));
    size += toBinary(schema, message).length;
    if (size > maxBytes && last !== undefined) {
      return { messages, page: { items: page.items.slice(0, messages.length), next: keyOf(last) } };
    }
    messages.push(message);
    last = item;
  }
  return { messages, page };
}

/** The first items of a list that has no pages, as many as fit into its part of a message. */
export function fitList<T, S extends DescMessage>(
  items: readonly T[],
  shape: {
    readonly schema: S;
    readonly toProto: (item: T) => MessageInitShape<S>;
    readonly maxItems: number;
    readonly maxBytes: number;
  },
): MessageShape<S>[] {
  const { schema, toProto, maxItems, maxBytes } = shape;
  const messages: MessageShape<S>[] = [];
  let size = 0;
  for (const item of items.slice(0, maxItems)) {
    const message = create(schema, toProto(item));
    size += toBinary(schema, message).length;
    if (size > maxBytes) break;
    messages.push(message);
  }
  return messages;
}

/** The token of the page after this one; empty on the last. */
export function nextPageToken<T>(page: Page<T>, list: readonly unknown[]): string {
  return page.next === null ? '' : Buffer.from(JSON.stringify([fingerprint(list), page.next])).toString('base64url');
}

function readToken(token: string, list: readonly unknown[]): string {
  if (token.length > 1024) throw invalid('page_token', 'is not a token of this list');
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
  } catch {
    throw invalid('page_token', 'is not a token of this list');
  }
  if (
    !Array.isArray(parsed) ||
    parsed.length !== 2 ||
    parsed[0] !== fingerprint(list) ||
    typeof parsed[1] !== 'string'
  ) {
    throw invalid('page_token', 'is not a token of this list with this filter');
  }
  return parsed[1];
}

function fingerprint(list: readonly unknown[]): string {
  return createHash('sha256')
    .update(JSON.stringify(list.map(sorted)))
    .digest('base64url')
    .slice(0, 16);
}

/** The entries of a map come in any order, and some libraries take another one for each call; lists of names are sets, too. */
function sorted(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  const members = Array.isArray(value)
    ? value.map((item) => JSON.stringify(sorted(item)))
    : Object.entries(value).map(([name, member]) => JSON.stringify([name, sorted(member)]));
  return [Array.isArray(value), members.sort()];
}
