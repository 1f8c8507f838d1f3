import { isDamaged } from '../damaged.ts';
import type { LogKind } from '../records.ts';
import { StoreError } from '../store.ts';
import { BLOB_BYTES, type BlobWriter, putBlob, readBlob } from './blobs.ts';
import { type Database, integer, type Row } from './database.ts';

/** A log of a host. */
interface LogName {
  readonly hostId: string;
  readonly kind: LogKind;
}

/** A part of a log, as it is kept: the first `size` bytes of a blob. */
interface Chunk {
  readonly start: number;
  readonly size: number;
  readonly blob: number;
}

/**
 * Appends bytes to a log of `at` bytes. A log is cut at multiples of {@link BLOB_BYTES}, so that equal logs are equal blobs. What a
 * list grows by is joined with what came shortly before it only where that is less than twice as much: each piece of the last chunk is
 * at least double the next, there are at most 17, and a byte is written anew some ten times at most, whatever the length of the list.
 */
export function appendChunks(tx: BlobWriter, log: LogName, at: number, data: Uint8Array): void {
  for (let done = 0; done < data.byteLength;) {
    const start = at + done;
    const room = BLOB_BYTES - (start % BLOB_BYTES);
    const piece = data.subarray(done, done + room);
    appendPiece(tx, log, start, piece);
    done += piece.byteLength;
  }
}

function appendPiece(tx: BlobWriter, log: LogName, start: number, piece: Uint8Array): void {
  const joined = joinable(tx.database, log, start, piece.byteLength).map(
    ({ size, blob }) => wholeOrNull(tx.database, blob)?.subarray(0, size) ?? null,
  );
  // Beside what is damaged the piece stands alone: the round that brings it is not to blame.
  const known = joined.every((part) => part !== null) ? joined : [];
  const data = Buffer.concat([...known, piece]);
  const from = start + piece.byteLength - data.byteLength;
  const blob = putBlob(tx, data);
  const { hostId, kind } = log;
  dropChunks(tx, log, from);
  tx.run(
    'INSERT INTO log_chunks (host_id, kind, start, size, blob) VALUES (?, ?, ?, ?, ?)',
    hostId,
    kind,
    from,
    data.byteLength,
    blob,
  );
}

/** The pieces before `start` that a new one of `size` bytes is joined with, in their order. */
function joinable(database: Database, { hostId, kind }: LogName, start: number, size: number): readonly Chunk[] {
  const begin = start - (start % BLOB_BYTES);
  if (begin === start) return [];
  const fills = start + size === begin + BLOB_BYTES;
  const rows = database.all(
    'SELECT start, size, blob FROM log_chunks WHERE host_id = ? AND kind = ? AND start >= ? AND start < ? ORDER BY start DESC',
    hostId,
    kind,
    begin,
    start,
  );
  const taken: Chunk[] = [];
  let from = start;
  for (const row of rows) {
    const chunk = toChunk(row);
    const small = chunk.size < 2 * (start + size - from);
    if (chunk.start + chunk.size !== from || !(fills || small)) break;
    from = chunk.start;
    taken.unshift(chunk);
  }
  return taken;
}

function wholeOrNull(database: Database, blob: number): Uint8Array | null {
  try {
    return readBlob(database, blob);
  } catch (error) {
    if (isDamaged(error)) return null;
    throw error;
  }
}

/** Of a log so many bytes stay. No blob is read for it: of the last one only a part counts from now on. */
export function cutChunks(tx: BlobWriter, log: LogName, size: number): void {
  dropChunks(tx, log, size);
  tx.run(
    'UPDATE log_chunks SET size = ?1 - start WHERE host_id = ?2 AND kind = ?3 AND start + size > ?1',
    size,
    log.hostId,
    log.kind,
  );
}

/** Drops the chunks from an offset on. A blob that nothing refers to goes with its last chunk: the schema sees to that. */
export function dropChunks(tx: BlobWriter, { hostId, kind }: LogName, from: number): void {
  tx.run('DELETE FROM log_chunks WHERE host_id = ? AND kind = ? AND start >= ?', hostId, kind, from);
}

/** Whose chunks they are: a host's, or those of one of its former boots. */
const READ = {
  host: `SELECT start, size, blob FROM log_chunks WHERE host_id = ?1 AND kind = ?2 AND start < ?4 AND start >= coalesce(
    (SELECT max(start) FROM log_chunks WHERE host_id = ?1 AND kind = ?2 AND start <= ?3), 0) ORDER BY start`,
  boot: `SELECT start, size, blob FROM former_chunks WHERE boot = ?1 AND kind = ?2 AND start < ?4 AND start >= coalesce(
    (SELECT max(start) FROM former_chunks WHERE boot = ?1 AND kind = ?2 AND start <= ?3), 0) ORDER BY start`,
} as const;

/** The bytes from an offset to an end that the log reaches. Throws corrupt where they are not all there. */
export function readChunks(
  database: Database,
  [owner, id]: readonly ['host', string] | readonly ['boot', number],
  kind: LogKind,
  { offset, end }: { readonly offset: number; readonly end: number },
): Uint8Array {
  const out = new Uint8Array(Math.max(0, end - offset));
  if (out.byteLength === 0) return out;
  const rows = database.all(READ[owner], id, kind, offset, end);
  let at = offset;
  for (const row of rows) {
    const { start, size, blob } = toChunk(row);
    if (start > at) break;
    const data = readBlob(database, blob).subarray(0, size);
    out.set(data.subarray(at - start, end - start), at - offset);
    at = Math.min(end, start + data.byteLength);
  }
  if (at < end) throw new StoreError('corrupt', `of a log of ${owner} ${id} a part is missing`);
  return out;
}

function toChunk(row: Row): Chunk {
  return { start: integer(row, 'start'), size: integer(row, 'size'), blob: integer(row, 'blob') };
}
