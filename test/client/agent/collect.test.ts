import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { ALL_LOGS, collectFacts, collectLogs } from '../../../client/agent/collect.ts';
import type { ReadPart } from '../../../client/agent/collect.ts';

const paths = { boot: '/boot', userspace: '/user', ima: '/ima' };

function reader(files: Readonly<Record<string, Buffer | string>>): ReadPart {
  return async (path, { offset, limit }) => {
    const content = files[path];
    if (content === undefined) throw Object.assign(new Error('no'), { code: 'ENOENT' });
    if (typeof content === 'string' && content.startsWith('E')) throw Object.assign(new Error('no'), { code: content });
    const part = Buffer.from(content).subarray(offset);
    if (part.length > limit) throw Object.assign(new Error('no'), { code: 'EFBIG' });
    return part;
  };
}

test('announces each log with its digest and cuts it into chunks without gap', async () => {
  const content = Buffer.alloc(700_000, 3);
  const [log] = await collectLogs(reader({ '/boot': content }), paths, [{ kind: 1, offset: 100 }]);
  const sent = content.subarray(100);
  expect(log?.announcement).toEqual({
    kind: 1,
    offset: 100,
    size: sent.length,
    sha256: createHash('sha256').update(sent).digest(),
    unreadable: '',
  });
  expect(Buffer.concat(log?.chunks.map(({ data }) => data) ?? [])).toEqual(sent);
  expect(log?.chunks.map(({ offset }) => offset)).toEqual([100, 262_244, 524_388]);
});

test('says why a log cannot be read', async () => {
  const files = { '/boot': 'EACCES', '/ima': Buffer.alloc(64 * 1024 * 1024 + 1) };
  const logs = await collectLogs(reader(files), paths, [...ALL_LOGS, { kind: 9, offset: 0 }]);
  expect(logs.map(({ announcement }) => announcement.unreadable)).toEqual([
    'permission denied',
    'not found',
    'larger than 67108864 bytes',
    'no such log',
  ]);
  expect(logs.every(({ announcement, chunks }) => announcement.size === 0 && chunks.length === 0)).toBe(true);
});

test('an empty log is readable and has no chunks', async () => {
  const [log] = await collectLogs(reader({ '/boot': Buffer.alloc(0) }), paths, [{ kind: 1, offset: 0 }]);
  expect(log?.announcement).toMatchObject({ size: 0, unreadable: '' });
  expect(log?.chunks).toEqual([]);
});

test('reads the name of the system and the boot id', async () => {
  const files = {
    '/etc/os-release': 'NAME="Debian"\nPRETTY_NAME="Debian \\"12\\""\n',
    '/proc/sys/kernel/random/boot_id': 'be85e227-15a4\n',
  };
  const facts = await collectFacts(reader(files), '1.2.3');
  expect(facts).toMatchObject({ os: 'Debian "12"', bootId: 'be85e227-15a4', agentVersion: '1.2.3' });
  expect(facts.hostname).not.toBe('');
});

test('a claim is cut to its limit between characters, and is empty where it cannot be made', async () => {
  const facts = await collectFacts(reader({ '/etc/os-release': `PRETTY_NAME=${'ä'.repeat(300)}\n` }), 'v'.repeat(99));
  expect(facts.os).toBe('ä'.repeat(128));
  expect(facts.agentVersion).toHaveLength(64);
  expect(facts.bootId).toBe('');
});
