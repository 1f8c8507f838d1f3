import { describe, expect, it } from 'vitest';

import { LOG_LIMITS } from '../../../server/store/log-rules.ts';
import { checkAnnouncements, collectLogs, LogError, MAX_CHUNK_BYTES } from '../../../server/verifier/collect-logs.ts';
import type { AnnouncedLog, LogChunk } from '../../../server/verifier/collect-logs.ts';
import type { LogKind } from '../../../server/store/records.ts';
import { announce, chunksOf, feedOf } from '../../support/evidence-builder.ts';
import { SeededRandom } from '../../support/seeded-random.ts';

const random = new SeededRandom(20261125);
const boot = { kind: 'boot', data: random.bytes(1000) } as const;
const ima = { kind: 'ima', data: random.bytes(700), offset: 5000 } as const;

/** Without a budget. */
const UNBOUNDED = { take: () => undefined };

async function codeOf(logs: readonly AnnouncedLog[], chunks: readonly LogChunk[]): Promise<string> {
  try {
    await collectLogs(logs, feedOf(chunks), UNBOUNDED);
    return 'collected';
  } catch (error) {
    if (error instanceof LogError) return error.code;
    throw error;
  }
}

describe('collecting logs', () => {
  it('joins chunks of any size in order', async () => {
    for (const size of [1, 7, 333, 1000]) {
      const parts = await collectLogs(
        [announce(boot), announce(ima)],
        feedOf([...chunksOf(boot, size), ...chunksOf(ima, size)]),
        UNBOUNDED,
      );
      expect(parts).toEqual([
        { kind: 'boot', offset: 0, data: boot.data },
        { kind: 'ima', offset: 5000, data: ima.data },
      ]);
    }
  });

  it('asks for no chunk of an empty or unreadable log', async () => {
    const empty = announce({ kind: 'boot', data: Buffer.alloc(0) });
    const unreadable: AnnouncedLog = { ...empty, kind: 'ima', unreadable: 'permission denied' };
    expect(await collectLogs([empty, unreadable], () => Promise.reject(new Error('asked')), UNBOUNDED)).toEqual([]);
  });

  const chunks = chunksOf(boot, 400);
  const [first, second, third] = chunks;
  if (first === undefined || second === undefined || third === undefined) throw new TypeError('three chunks');
  const changed = Buffer.from(second.data);
  changed.writeUInt8(changed.readUInt8(0) ^ 1);
  it.each<[string, readonly LogChunk[], string]>([
    ['no chunks', [], 'LOG_INCOMPLETE'],
    ['a last chunk missing', [first, second], 'LOG_INCOMPLETE'],
    ['a chunk left out', [first, third], 'LOG_OUT_OF_ORDER'],
    ['chunks in another order', [second, first, third], 'LOG_OUT_OF_ORDER'],
    ['a chunk that comes twice', [first, first], 'LOG_OUT_OF_ORDER'],
    ['a chunk of another log', [first, { ...second, kind: 'ima' }], 'LOG_OUT_OF_ORDER'],
    ['an empty chunk', [{ ...first, data: Buffer.alloc(0) }], 'LOG_OUT_OF_ORDER'],
    ['more than was announced', [first, second, { ...third, data: Buffer.alloc(201) }], 'LOG_TOO_LARGE'],
    ['another byte than was announced', [first, { ...second, data: changed }, third], 'LOG_DIGEST_MISMATCH'],
  ])('refuses %s', async (_name, given, code) => {
    expect(await codeOf([announce(boot)], given)).toBe(code);
  });

  it('refuses a chunk above the limit', async () => {
    const large = { kind: 'ima', data: Buffer.alloc(MAX_CHUNK_BYTES + 1) } as const;
    expect(await codeOf([announce(large)], chunksOf(large, MAX_CHUNK_BYTES + 1))).toBe('LOG_TOO_LARGE');
    expect(await codeOf([announce(large)], chunksOf(large, MAX_CHUNK_BYTES))).toBe('collected');
  });
});

describe('the bytes of logs', () => {
  const large = { kind: 'ima', data: random.bytes(3 * MAX_CHUNK_BYTES + 5) } as const;

  /** What was counted before each chunk. */
  async function counted(chunks: readonly LogChunk[], dropped: readonly LogKind[] = []): Promise<readonly number[]> {
    let bytes = 0;
    const before: number[] = [];
    const next = feedOf(chunks);
    const parts = await collectLogs(
      [announce(large)],
      () => {
        before.push(bytes);
        return next();
      },
      { take: (more) => (bytes += more), dropped },
    );
    expect(parts).toEqual(dropped.length === 0 ? [{ kind: 'ima', offset: 0, data: large.data }] : []);
    return before;
  }

  it('are counted as they arrive, not as they are announced, and a few that come hold one page', async () => {
    expect(await counted(chunksOf(large, MAX_CHUNK_BYTES))).toEqual(
      [0, 1, 2, 3].map((pages) => pages * MAX_CHUNK_BYTES),
    );
    expect((await counted(chunksOf(large, 1000))).slice(0, 3)).toEqual([0, MAX_CHUNK_BYTES, MAX_CHUNK_BYTES]);
  });

  it('that are not kept are held to their digest and count nothing', async () => {
    expect(new Set(await counted(chunksOf(large, MAX_CHUNK_BYTES), ['ima']))).toEqual(new Set([0]));
    const forged = { ...large, data: Buffer.alloc(large.data.length) };
    await expect(
      collectLogs([announce(large)], feedOf(chunksOf(forged)), { ...UNBOUNDED, dropped: ['ima'] }),
    ).rejects.toMatchObject({ code: 'LOG_DIGEST_MISMATCH' });
  });
});

describe('announcements', () => {
  const log = (change: Partial<AnnouncedLog>): AnnouncedLog => ({ ...announce(boot), ...change });
  it.each<[string, readonly AnnouncedLog[], Parameters<typeof checkAnnouncements>[1], string]>([
    ['a log that was not asked for', [log({})], [{ kind: 'ima', offset: 0 }], 'LOG_UNREQUESTED'],
    ['a log where none was asked for', [log({})], [], 'LOG_UNREQUESTED'],
    ['a log that is announced twice', [log({}), log({})], null, 'LOG_UNREQUESTED'],
    [
      'a log from another offset',
      [log({ kind: 'ima', offset: 10 })],
      [{ kind: 'ima', offset: 20 }],
      'LOG_OUT_OF_ORDER',
    ],
    ['a part of a log at enrolment', [log({ offset: 10 })], null, 'LOG_OUT_OF_ORDER'],
    ['a log above its limit', [log({ size: LOG_LIMITS.boot + 1 })], null, 'LOG_TOO_LARGE'],
    [
      'a part that would grow the log above its limit',
      [log({ kind: 'ima', offset: LOG_LIMITS.ima, size: 1 })],
      [{ kind: 'ima', offset: LOG_LIMITS.ima }],
      'LOG_TOO_LARGE',
    ],
    ['nothing where a log was asked for', [], [{ kind: 'ima', offset: 0 }], 'LOG_MISSING'],
  ])('refuse %s', (_name, logs, requested, code) => {
    expect(() => checkAnnouncements(logs, requested)).toThrow(expect.objectContaining({ code }));
  });

  it('take a log at its limit, and one that cannot be read', () => {
    checkAnnouncements([log({ size: LOG_LIMITS.boot })], null);
    checkAnnouncements([log({ kind: 'ima', size: 0, unreadable: 'gone' })], [{ kind: 'ima', offset: 0 }]);
    checkAnnouncements([log({ kind: 'ima', offset: 20 })], [{ kind: 'ima', offset: 20 }]);
  });
});
