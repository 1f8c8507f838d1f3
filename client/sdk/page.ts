import type { Page } from './resources.ts';

/** Items of one page: of results with all their checks so many fit into a message with room to spare. */
export const PAGE_SIZE = 200;

/** Every item of a list, page by page. A service that gives the same token twice would never end: that is refused. */
export async function* allPages<T>(read: (pageToken: string) => Promise<Page<T>>): AsyncGenerator<T> {
  let token = '';
  do {
    const { items, nextPageToken } = await read(token);
    yield* items;
    if (nextPageToken !== '' && nextPageToken === token) throw new TypeError('the same page came twice');
    token = nextPageToken;
  } while (token !== '');
}

/** `hosts/h-…` of an id or of a name. */
export function resourceName(collection: string, id: string): string {
  return id.startsWith(`${collection}/`) ? id : `${collection}/${id}`;
}
