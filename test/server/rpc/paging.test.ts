import { describe, expect, it } from 'vitest';
import { InventoryEntrySchema } from '../../../proto/gen/assay/v1/endorsement_pb.ts';
import { StatusError } from '../../../proto/status.ts';
import { fitPage, nextPageToken, pageOf } from '../../../server/rpc/paging.ts';
import type { Page, PageRequest } from '../../../server/store/store.ts';

const LIST = ['hosts', { states: [] }];

describe('a page', () => {
  it.each([
    [0, 50],
    [1, 1],
    [1000, 1000],
    [1001, 1000],
    [2_147_483_647, 1000],
  ])('of size %s holds at most %s items', (pageSize, limit) => {
    expect(pageOf({ pageSize, pageToken: '' }, LIST)).toEqual({ limit, after: '' });
  });

  it('continues behind the token of the one before', () => {
    const pageToken = nextPageToken({ items: ['a'], next: 'a' }, LIST);
    expect(pageOf({ pageSize: 2, pageToken }, LIST)).toEqual({ limit: 2, after: 'a' });
    expect(nextPageToken({ items: ['a'], next: null }, LIST)).toBe('');
  });

  it('continues in whatever order the request names its labels, hosts and statuses', () => {
    const one = { scope: {}, hostIds: ['h-a', 'h-b'], statuses: ['none', 'warning'], matchLabels: { a: '1', b: '2' } };
    const other = {
      matchLabels: { b: '2', a: '1' },
      statuses: ['warning', 'none'],
      hostIds: ['h-b', 'h-a'],
      scope: {},
    };
    const pageToken = nextPageToken({ items: ['a'], next: 'a' }, ['results', one, false]);
    expect(pageOf({ pageSize: 2, pageToken }, ['results', other, false])).toEqual({ limit: 2, after: 'a' });
  });

  it.each([
    ['labels that changed their values', { matchLabels: { a: '2', b: '1' } }],
    ['a label that became a host', { hostIds: ['a', '1'], matchLabels: { b: '2' } }],
    [
      'a list in the place of a map',
      {
        matchLabels: [
          ['a', '1'],
          ['b', '2'],
        ],
      },
    ],
  ])('does not continue for %s', (_name, filter) => {
    const pageToken = nextPageToken({ items: ['a'], next: 'a' }, ['results', { matchLabels: { a: '1', b: '2' } }]);
    expect(() => pageOf({ pageSize: 2, pageToken }, ['results', filter])).toThrow(StatusError);
  });

  const token = nextPageToken({ items: [], next: 'a' }, LIST);

  it.each([
    ['of a size below zero', { pageSize: -1, pageToken: '' }, 'page_size'],
    [
      'by a token of another filter',
      { pageSize: 0, pageToken: nextPageToken({ items: [], next: 'a' }, ['hosts', { states: ['active'] }]) },
      'page_token',
    ],
    ['by a token that was cut', { pageSize: 0, pageToken: token.slice(0, -4) }, 'page_token'],
    ['by text that is no token', { pageSize: 0, pageToken: 'next' }, 'page_token'],
    ['by a token without a key', { pageSize: 0, pageToken: Buffer.from('["x"]').toString('base64url') }, 'page_token'],
    ['by a token beyond its bound', { pageSize: 0, pageToken: 'a'.repeat(1025) }, 'page_token'],
  ])('%s is refused', (_name, request, field) => {
    let caught: unknown;
    try {
      pageOf(request, LIST);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(StatusError);
    expect(caught).toMatchObject({ code: 'INVALID_ARGUMENT', fieldViolations: [{ field }] });
  });
});

describe('what fits into one message', () => {
  interface Item {
    readonly key: string;
    readonly size: number;
  }
  const shape = {
    schema: InventoryEntrySchema,
    toProto: ({ key, size }: Item) => ({ name: key, comment: 'x'.repeat(size) }),
    keyOf: ({ key }: Item) => key,
  };
  const MEBIBYTE = 1024 * 1024;
  const items = Array.from({ length: 10 }, (_, index): Item => ({ key: `k${index}`, size: MEBIBYTE }));
  /** A store with these items. */
  const list = ({ limit, after }: PageRequest): Page<Item> => {
    const rest = items.filter(({ key }) => key > after);
    return { items: rest.slice(0, limit), next: rest.length > limit ? (rest[limit - 1]?.key ?? null) : null };
  };

  it('is the whole page where it is small', () => {
    const page = {
      items: [
        { key: 'a', size: 1 },
        { key: 'b', size: 1 },
      ],
      next: 'b',
    };
    const fitting = fitPage(page, shape);
    expect(fitting.page).toBe(page);
    expect(fitting.messages.map(({ name }) => name)).toEqual(['a', 'b']);
  });

  it('is shorter than the page where items are large, and the next page starts behind it', () => {
    const seen: string[] = [];
    let after = '';
    for (let pages = 1; ; pages += 1) {
      const { messages, page } = fitPage(list({ limit: 1000, after }), shape);
      expect(messages).toHaveLength(page.items.length);
      expect(messages.length).toBeLessThan(3);
      seen.push(...messages.map(({ name }) => name));
      if (page.next === null) break;
      after = page.next;
      expect(pages).toBeLessThan(items.length);
    }
    expect(seen).toEqual(items.map(({ key }) => key));
  });

  it('is one item, however large', () => {
    const page = {
      items: [
        { key: 'a', size: 5 * MEBIBYTE },
        { key: 'b', size: 1 },
      ],
      next: null,
    };
    expect(fitPage(page, shape).page).toEqual({ items: [page.items[0]], next: 'a' });
  });

  it('is nothing of an empty page', () => {
    expect(fitPage({ items: [], next: null }, shape)).toEqual({ messages: [], page: { items: [], next: null } });
  });
});
