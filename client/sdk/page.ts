import type { Page } from './resources.ts';

/** Largest page that the service gives. */
export const MAX_PAGE_SIZE = 1000;

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
