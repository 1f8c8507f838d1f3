import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import type { Store } from '../../server/store/store.ts';
import { affirmed } from '../../test/server/store/fixtures.ts';

/**
 * A store with many affirmed hosts, fast: one is enrolled and judged as all are, and its rows are copied. Labels: `zone` of 3,
 * `rack` of 40, `tenant` of 10, and a `serial` of its own.
 */
export async function cloneHosts(
  directory: string,
  { open, hosts }: { readonly open: () => Promise<Store>; readonly hosts: number },
): Promise<void> {
  const store = await open();
  await affirmed(store, 'template');
  await store.close();
  const database = new DatabaseSync(join(directory, 'assay.db'));
  const labels = `json_object('zone', 'z' || (n % 3), 'rack', 'r' || (n / 3 % 40), 'tenant', 't' || (n / 120 % 10), 'serial', 's' || n)`;
  const copied = (table: string, change: Readonly<Record<string, string>>, where: string): string => {
    const columns = database.prepare(`SELECT name FROM pragma_table_info('${table}')`).all();
    const names = columns.map(({ name }) => String(name));
    const values = names.map((name) => change[name] ?? `t.${name}`);
    return `WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${hosts - 1})
      INSERT INTO ${table} (${names.join(', ')}) SELECT ${values.join(', ')} FROM numbers, ${table} t WHERE ${where}`;
  };
  const id = `printf('h-%06d', n)`;
  const time = 't.challenge_time - n';
  // Valid for as long as the benchmark may take.
  const validity = { challenge_time: time, valid_until: 't.valid_until + 3600000' };
  database.exec(`PRAGMA foreign_keys = OFF; BEGIN;
    ${copied('hosts', { id, ak_name: `'ak' || n`, labels }, "t.id = 'h-template'")};
    ${copied('host_rounds', { host_id: id }, "t.host_id = 'h-template'")};
    ${copied('changes', { host_id: id, revision: '2 + n', labels, ...validity }, 't.revision = 2')};
    ${copied('results', { host_id: id, revision: '2 + n', lapse_time: 'NULL', ...validity }, "t.host_id = 'h-template'")};
    UPDATE counter SET revision = (SELECT max(revision) FROM changes);
    COMMIT`);
  database.close();
}
