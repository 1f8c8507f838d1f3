import { createHash } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';

import type { Keyring, ReferenceSet } from '../../../client/sdk/convert-references.ts';
import { RpcError } from '../../../proto/rpc-error.ts';
import { Shell } from '../support/shell.ts';

const A = 'aa'.repeat(32);
const set: ReferenceSet = {
  name: 'referenceSets/base',
  version: 3n,
  entryCount: 2n,
  createTime: new Date('2026-01-02T03:04:05.678Z'),
  etag: 'v3',
  json: { name: 'referenceSets/base' },
};
const keyring: Keyring = {
  name: 'keyrings/distro',
  version: 2n,
  keys: [
    {
      fingerprint: A,
      keyIds: ['01020304', '05060708'],
      algorithm: 'RSA-4096',
      subject: 'O=Distro\nCN=evil\u001b]0;x\u0007',
      notBefore: undefined,
      notAfter: new Date('2036-01-02T03:04:05Z'),
      der: Buffer.alloc(1),
    },
  ],
  keyCount: 1,
  createTime: undefined,
  etag: 'v2',
  json: { name: 'keyrings/distro' },
};

let shell: Shell;
/** What an import sent. */
let sent: { readonly set: string; readonly text: string; readonly options: object } | undefined;
beforeEach(async () => {
  shell = await Shell.open();
  sent = undefined;
  shell.client = {
    referenceSets: {
      import: async (name: string, file: AsyncIterable<Buffer>, options: { readonly signal: unknown }) => {
        const parts: Buffer[] = [];
        for await (const part of file) parts.push(part);
        const { signal: _signal, ...rest } = options;
        sent = { set: name, text: Buffer.concat(parts).toString('latin1'), options: rest };
        return { set, changed: true, readCount: 2n, notImported: ['excludes: 2 patterns\u001b'] };
      },
      list: async function* () {
        yield set;
      },
      get: async () => set,
      entries: async function* (_name: string, filter: object) {
        yield { algorithm: 'sha256', digest: A, path: '/bin/\u202ex', json: { ...filter, version: '3' } };
      },
      removeEntries: async (_name: string, digests: readonly string[]) => ({
        set,
        removedCount: BigInt(digests.length),
      }),
      delete: () =>
        Promise.reject(
          RpcError.local('FAILED_PRECONDITION', 'referenceSets/base is named by trustPolicies/uses', undefined),
        ),
    },
    keyrings: {
      import: async (_name: string, keys: Buffer) => ({ keyring, changed: keys.toString() !== 'same' }),
      list: async function* () {
        yield keyring;
      },
      get: async () => keyring,
      removeKey: async () => keyring,
      delete: async () => undefined,
    },
  };
});

describe('assay reference', () => {
  test('import sends lists one behind the other, and says what has no effect', async () => {
    shell.files.set('/one', `${A}  /a`).set('/two', `${A}  /b\n`);
    expect(await shell.assay('reference', 'import', 'base', '/one', '/two', '--format', 'sha256sum', '--add')).toBe(0);
    expect(sent).toEqual({
      set: 'base',
      text: `${A}  /a\n${A}  /b\n\n`,
      options: { format: 'digest_list', add: true },
    });
    expect(shell.out).toBe(
      'imported base, version 3, 2 entries\nnot imported, without effect: excludes: 2 patterns\\u{1b}\n',
    );
    shell.out = '';
    await shell.assay('reference', 'import', 'base', '/one', '--format', 'rpm', '--output', 'json');
    expect(sent?.options).toEqual({ format: 'rpm_dump', add: false });
    expect(JSON.parse(shell.out)).toMatchObject({ referenceSet: set.json, changed: true, readCount: '2' });
  });

  test('import hashes a tree as the kernels of the hosts do', async () => {
    shell.files.set('/img/bin/sh', 'shell').set('/img/new\nline', 'x').set('/imgx', 'other');
    const hashed = (name: string, text: string) => createHash(name).update(text).digest('hex');
    await shell.assay('reference', 'import', 'base', '/img', '--format', 'tree', '--root', '/img');
    expect(sent?.text).toBe(
      `${hashed('sha256', 'shell')}  /bin/sh\n\n\\${hashed('sha256', 'x')}  /new\\nline\n\n`.replace('\n\n', '\n'),
    );
    await shell.assay('reference', 'import', 'base', '/img/bin', '--format', 'tree', '--hash', 'sha384');
    expect(sent?.text).toBe(`${hashed('sha384', 'shell')}  /img/bin/sh\n\n`);
    await shell.assay('reference', 'import', 'base', '/img/bin', '--format', 'tree', '--root', './img/');
    expect(sent?.text).toBe(`${hashed('sha256', 'shell')}  /bin/sh\n\n`);
  });

  test('import names the file of several in which something is wrong, and its own line there', async () => {
    shell.files.set('/one', `${A}  /a`).set('/two', `${A}  /b\nbad\n`);
    const { import: keep } = shell.client.referenceSets as { import: (...args: unknown[]) => Promise<unknown> };
    const refused = (...args: unknown[]) =>
      keep(...args).then(() =>
        Promise.reject(RpcError.local('INVALID_ARGUMENT', 'line 3, column 1: neither', undefined)),
      );
    shell.client = { ...shell.client, referenceSets: { import: refused } };
    expect(await shell.assay('reference', 'import', 'base', '/one', '/two', '--format', 'sha256sum')).toBe(1);
    expect(shell.err).toContain('/two: line 2, column 1: neither');
    shell.err = '';
    expect(await shell.assay('reference', 'import', 'base', '/two', '--format', 'sha256sum')).toBe(1);
    expect(shell.err).toContain(': line 3, column 1: neither');
  });

  test('import says which file it could not read', async () => {
    expect(await shell.assay('reference', 'import', 'base', '/gone', '--format', 'keylime')).toBe(2);
    expect(shell.err).toBe('assay: /gone: not found\n');
    shell.err = '';
    shell.files.set('/bad.deb', 'x'.repeat(600));
    expect(await shell.assay('reference', 'import', 'base', '/bad.deb', '--format', 'deb')).toBe(2);
    expect(shell.err).toBe('assay: /bad.deb: not a tar archive\n');
    expect(sent).toBeUndefined();
  });

  test('import asks for a format that it knows, and takes one policy of Keylime at once', async () => {
    expect(await shell.assay('reference', 'import', 'base', '/one')).toBe(2);
    expect(await shell.assay('reference', 'import', 'base', '/one', '--format', 'md5sums')).toBe(2);
    expect(await shell.assay('reference', 'import', 'base', '/a', '/b', '--format', 'keylime')).toBe(2);
    expect(sent).toBeUndefined();
  });

  test('lists and shows in tables and as JSON, and never lets text act on a terminal', async () => {
    await shell.assay('reference', 'list');
    expect(shell.out).toBe('SET   VERSION  ENTRIES  MADE\nbase  3        2        2026-01-02T03:04:05Z\n');
    shell.out = '';
    await shell.assay('reference', 'show', 'base');
    expect(shell.out).toBe('set:      base\nversion:  3\nentries:  2\nmade:     2026-01-02T03:04:05Z\n');
    shell.out = '';
    await shell.assay('reference', 'show', 'base', '--entries');
    expect(shell.out).toContain('/bin/\\u{202e}x\n');
    shell.out = '';
    await shell.assay('reference', 'show', 'base', '--path', '/bin', '--output', 'json');
    expect(JSON.parse(shell.out)).toEqual({
      referenceSet: set.json,
      entries: [{ version: '3', pathPrefix: '/bin' }],
    });
    expect(await shell.assay('reference', 'show', 'base', '--path', '/bin', '--digest', A)).toBe(2);
  });

  test('withdraws digests, and says why a set cannot be deleted', async () => {
    shell.out = '';
    await shell.assay('reference', 'remove', 'base', '--digest', A, 'bb');
    expect(shell.out).toBe('withdrew 2 entries, version 3\n');
    expect(await shell.assay('reference', 'remove', 'base')).toBe(2);
    expect(await shell.assay('reference', 'delete', 'base')).toBe(1);
    expect(shell.err).toContain('referenceSets/base is named by trustPolicies/uses');
  });
});

describe('assay keyring', () => {
  test('imports, lists, shows, withdraws and deletes', async () => {
    shell.files.set('/keys', 'pem').set('/same', 'same');
    await shell.assay('keyring', 'import', 'distro', '/keys');
    await shell.assay('keyring', 'import', 'distro', '/same', '--add');
    expect(shell.out).toBe('imported distro, version 2, 1 keys\ndistro held this already: version 2, 1 keys\n');
    shell.out = '';
    await shell.assay('keyring', 'list');
    expect(shell.out).toBe('KEYRING  VERSION  KEYS  MADE\ndistro   2        1     -\n');
    shell.out = '';
    await shell.assay('keyring', 'show', 'distro', '--version', '2');
    expect(shell.out).toContain(
      '01020304,05060708  RSA-4096   2036-01-02T03:04:05Z  O=Distro, CN=evil\\u{1b}]0;x\\u{7}',
    );
    shell.out = '';
    await shell.assay('keyring', 'remove-key', 'distro', A);
    await shell.assay('keyring', 'delete', 'distro');
    expect(shell.out).toBe(`withdrew ${A}, version 2\ndeleted distro\n`);
    shell.out = '';
    await shell.assay('keyring', 'delete', 'distro', '--output', 'json');
    expect(JSON.parse(shell.out)).toEqual({});
    expect(await shell.assay('keyring', 'import', 'distro', '/gone')).toBe(2);
  });
});
