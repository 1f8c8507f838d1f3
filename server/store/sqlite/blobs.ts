import { hash } from 'node:crypto';
import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib';

import { isDamaged } from '../damaged.ts';
import { StoreError } from '../store.ts';
import { bytes, type Database, integer, type Row, text } from './database.ts';
import type { Transaction } from './transaction.ts';

/** Largest blob, bytes before it is packed: what one read unpacks at once. */
export const BLOB_BYTES = 64 * 1024;
/** No frame that this program writes needs a larger window (RFC 8878 §3.1.1.1.2); as a power of two. */
const WINDOW_LOG = 16;

/** What of a write a blob needs. */
export type BlobWriter = Pick<Transaction, 'database' | 'run'>;

/**
 * Keeps bytes under their SHA-256, once, however many hosts sent them. Returns the number of the blob. One that is there already and
 * does not hold what its name says is written anew.
 */
export function putBlob(tx: BlobWriter, data: Uint8Array): number {
  if (data.byteLength === 0 || data.byteLength > BLOB_BYTES) throw new TypeError('a blob of this size is not kept');
  const sha256 = hash('sha256', data, 'buffer');
  const known = tx.database.get('SELECT * FROM blobs WHERE sha256 = ?', sha256);
  if (known !== undefined && isWhole(known)) return integer(known, 'id');
  const packed = pack(data);
  const row = tx.database.get(
    `INSERT INTO blobs (sha256, size, encoding, data) VALUES (?, ?, ?, ?)
      ON CONFLICT (sha256) DO UPDATE SET size = excluded.size, encoding = excluded.encoding, data = excluded.data
      RETURNING id`,
    sha256,
    data.byteLength,
    packed.encoding,
    packed.data,
  );
  if (row === undefined) throw new StoreError('failed', 'the blob has no number');
  return integer(row, 'id');
}

/** The bytes of a blob. Throws corrupt where they do not hash to its name: they are nobody's evidence. */
export function readBlob(database: Database, id: number): Uint8Array {
  const row = database.get('SELECT * FROM blobs WHERE id = ?', id);
  if (row === undefined) throw new StoreError('corrupt', `blob ${id} is missing`);
  return unpack(row);
}

function isWhole(row: Row): boolean {
  try {
    unpack(row);
    return true;
  } catch (error) {
    if (isDamaged(error)) return false;
    throw error;
  }
}

function pack(data: Uint8Array): { readonly encoding: string; readonly data: Uint8Array } {
  const packed = zstdCompressSync(data, {
    params: { [constants.ZSTD_c_windowLog]: WINDOW_LOG },
    pledgedSrcSize: data.byteLength,
  });
  return packed.byteLength < data.byteLength ? { encoding: 'zstd', data: packed } : { encoding: 'plain', data };
}

function unpack(row: Row): Uint8Array {
  const size = integer(row, 'size');
  const name = Buffer.from(bytes(row, 'sha256'));
  const damaged = (cause?: unknown): StoreError =>
    new StoreError('corrupt', `what is kept as ${name.toString('hex')} is not that`, { cause });
  if (size <= 0 || size > BLOB_BYTES) throw damaged();
  const kept = bytes(row, 'data');
  let data = kept;
  if (text(row, 'encoding') === 'zstd') {
    try {
      data = zstdDecompressSync(kept, {
        params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG },
        // Never more than was recorded, whatever the frame says.
        maxOutputLength: size,
      });
    } catch (error) {
      throw damaged(error);
    }
  }
  if (data.byteLength !== size || !hash('sha256', data, 'buffer').equals(name)) throw damaged();
  return data;
}
