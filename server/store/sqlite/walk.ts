import type { Page, PageRequest } from '../store.ts';
import { type Database, text } from './database.ts';

/**
 * Rows that one page looks at, at the most, some 15 ms: a filter that few satisfy walks the table in pages, and other calls go
 * between.
 */
const MAX_WALK = 4_000;

const KEYS = {
  hosts: 'SELECT id AS key FROM hosts WHERE id > ? ORDER BY id LIMIT 2 OFFSET ?',
  results: 'SELECT host_id AS key FROM results WHERE host_id > ? ORDER BY host_id LIMIT 2 OFFSET ?',
} as const;

/** The key of the last row that a page looks at; null where it looks at all that are left. */
export function walkEnd(database: Database, table: keyof typeof KEYS, page: PageRequest): string | null {
  const [last, further] = database.all(KEYS[table], page.after, (page.walk ?? MAX_WALK) - 1);
  return last === undefined || further === undefined ? null : text(last, 'key');
}

/** A page that found less than was asked for goes on behind the end of its walk. */
export function walkOn<T>(page: Page<T>, end: string | null): Page<T> {
  return page.next === null ? { ...page, next: end } : page;
}
