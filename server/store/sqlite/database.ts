import { DatabaseSync, type SQLInputValue, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import { StoreError, type StoreErrorCode } from '../store.ts';

export type Row = Record<string, SQLOutputValue>;

/** A connection whose statements are prepared once. SQL texts are literals of this room, so the set is small. */
export class Database {
  readonly #connection: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(path: string, { readOnly = false }: { readonly readOnly?: boolean } = {}) {
    this.#connection = new DatabaseSync(path, { enableForeignKeyConstraints: true, timeout: 5000, readOnly });
  }

  get inTransaction(): boolean {
    return this.#connection.isTransaction;
  }

  exec(sql: string): void {
    this.#connection.exec(sql);
  }

  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#statement(sql).get(...values);
  }

  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#statement(sql).all(...values);
  }

  /** Returns how many rows were changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).changes);
  }

  /** What is read meanwhile is of one state, whatever another connection writes. */
  readTogether<T>(read: () => T): T {
    this.exec('BEGIN');
    try {
      return read();
    } finally {
      this.exec('ROLLBACK');
    }
  }

  close(): void {
    this.#statements.clear();
    this.#connection.close();
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#connection.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

export function text(row: Row, column: string): string {
  const value = row[column];
  if (typeof value !== 'string') throw new StoreError('corrupt', `column ${column} holds no text`);
  return value;
}

export function integer(row: Row, column: string): number {
  const value = row[column];
  if (typeof value !== 'number') throw new StoreError('corrupt', `column ${column} holds no integer`);
  return value;
}

export function bytes(row: Row, column: string): Uint8Array {
  const value = row[column];
  if (!(value instanceof Uint8Array)) throw new StoreError('corrupt', `column ${column} holds no bytes`);
  return value;
}

export function optionalInteger(row: Row, column: string): number | null {
  return row[column] === null ? null : integer(row, column);
}

export function boolean(row: Row, column: string): boolean {
  return integer(row, column) !== 0;
}

/** A column that holds JSON which this room wrote. */
export function json<T>(row: Row, column: string): T {
  return parse<T>(text(row, column), column);
}

export function optionalJson<T>(row: Row, column: string): T | null {
  return row[column] === null ? null : json<T>(row, column);
}

function parse<T>(value: string, column: string): T {
  try {
    return JSON.parse(value) as T;
  } catch (error) {
    throw new StoreError('corrupt', `column ${column} holds no JSON`, { cause: error });
  }
}

/** Primary result codes of SQLite (sqlite.org/rescode.html) that tell an operator what to do. */
const CODES: ReadonlyMap<number, readonly [StoreErrorCode, string]> = new Map([
  [5, ['locked', 'the store is in use']],
  [6, ['locked', 'the store is in use']],
  [8, ['read_only', 'the store cannot be written']],
  [11, ['corrupt', 'the store is damaged']],
  [13, ['full', 'the store is full']],
  [26, ['corrupt', 'the file is no store']],
]);

/** What went wrong, as the store says it. */
export function toStoreError(error: unknown): StoreError {
  if (error instanceof StoreError) return error;
  const code = error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : -1;
  const [storeCode, message] = CODES.get(code) ?? ['failed', 'the store failed'];
  const reason = error instanceof Error ? error.message : String(error);
  return new StoreError(storeCode, `${message}: ${reason}`, { cause: error });
}
