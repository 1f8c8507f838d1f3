import { createHash } from 'node:crypto';
import { constants, zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BLOB_BYTES, putBlob, readBlob } from '../../../../server/store/sqlite/blobs.ts';
import { Database } from '../../../../server/store/sqlite/database.ts';

const TABLE = `CREATE TABLE blobs (
  id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, encoding TEXT NOT NULL, data BLOB NOT NULL
) STRICT`;

let database: Database;
beforeEach(() => {
  database = new Database(':memory:');
  database.exec(TABLE);
});
afterEach(() => database.close());

const put = (data: Uint8Array): number => putBlob({ database, run: database.run.bind(database) }, data);

/** A row as only somebody else can write it. */
function forge(data: Buffer, size: number, packed: Buffer): void {
  const name = createHash('sha256').update(data).digest();
  const insert = "INSERT INTO blobs (id, sha256, size, encoding, data) VALUES (1, ?, ?, 'zstd', ?)";
  database.run(insert, name, size, packed);
}

function refusal(): unknown {
  try {
    return readBlob(database, 1);
  } catch (error) {
    return error;
  }
}

describe('a blob', () => {
  it('is what was put, also of the largest size and of bytes that cannot be packed', () => {
    for (const data of [
      Buffer.alloc(BLOB_BYTES, 7),
      crypto.getRandomValues(Buffer.alloc(BLOB_BYTES)),
      Buffer.from('x'),
    ])
      expect(Buffer.from(readBlob(database, put(data)))).toEqual(data);
  });

  it.each([0, BLOB_BYTES + 1])('of %i bytes is a defect of the caller', (size) => {
    expect(() => put(Buffer.alloc(size))).toThrow(TypeError);
  });

  it('is never unpacked beyond its recorded length, whatever the frame holds', () => {
    const large = Buffer.alloc(50_000_000);
    const packed = zstdCompressSync(large, { params: { [constants.ZSTD_c_windowLog]: 16 } });
    forge(large, 1_000, packed);
    expect(refusal()).toMatchObject({ code: 'corrupt', cause: { code: 'ERR_BUFFER_TOO_LARGE' } });
  });

  it('is not unpacked where it asks for a window that no blob needs', () => {
    const large = Buffer.alloc(50_000_000);
    const packed = zstdCompressSync(large, { params: { [constants.ZSTD_c_windowLog]: 27 } });
    forge(large, BLOB_BYTES, packed);
    expect(refusal()).toMatchObject({ code: 'corrupt', cause: { code: 'ZSTD_error_frameParameter_windowTooLarge' } });
  });
});
