import { generateKeyPairSync } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import type { Channel } from '../../../proto/client.ts';
import {
  ImportMode,
  ReferenceFormat,
  ReferenceSetKind,
  ReferenceValueService,
} from '../../../proto/gen/assay/v1/reference_value_pb.ts';
import { failure } from '../../support/rpc.ts';
import { startAssay } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';
import { dump, OPERATOR } from '../../support/test-service.ts';

let running: Running;
let channel: Channel;
const client = () => channel.client(ReferenceValueService);
const SET = 'referenceSets/base';
const RING = 'keyrings/distro';
const A = 'aa'.repeat(32);
const B = 'bb'.repeat(32);
const C = 'cc'.repeat(32);
const list = (...digests: readonly string[]) =>
  digests.map((digest) => `${digest}  /bin/${digest.slice(0, 2)}\n`).join('');

interface Header {
  readonly name?: string;
  readonly format?: ReferenceFormat;
  readonly mode?: ImportMode;
  readonly etag?: string;
}

async function* parts(header: Header, ...chunks: readonly (string | Buffer)[]) {
  const value = { name: SET, format: ReferenceFormat.DIGEST_LIST, ...header };
  yield { part: { case: 'header', value } as const };
  for (const chunk of chunks) yield { part: { case: 'chunk', value: Buffer.from(chunk) } as const };
}

async function* only(...messages: readonly object[]) {
  yield* messages;
}

const load = (header: Header, ...chunks: readonly (string | Buffer)[]) =>
  client().importReferenceSet(parts(header, ...chunks));
const learn = (request: Parameters<ReturnType<typeof client>['learnReferenceSet']>[0]) =>
  client().learnReferenceSet({ name: SET, host: `hosts/h-${'a'.repeat(26)}`, ...request });
const publicKey = (curve: string) =>
  generateKeyPairSync('ec', { namedCurve: curve }).publicKey.export({ type: 'spki', format: 'pem' }) as string;

describe('reference sets and keyrings', () => {
  beforeEach(async () => {
    running = await startAssay();
    channel = running.connect(await running.identity('ada', ['operator']));
  });
  afterEach(async () => {
    await running[Symbol.asyncDispose]();
    expect(running.errors).toEqual([]);
  });

  it('are imported in chunks, read and listed', async () => {
    const file = list(A, B);
    const imported = await load({}, file.slice(0, 70), file.slice(70));
    expect(imported).toMatchObject({
      changed: true,
      readCount: 2n,
      notImported: [],
      referenceSet: { name: SET, version: 1n, kind: ReferenceSetKind.FILES, entryCount: 2n, etag: 'v1' },
    });
    expect((await client().getReferenceSet({ name: SET })).referenceSet).toEqual(imported.referenceSet);
    expect((await client().getReferenceSet({ name: SET, version: 1n })).referenceSet).toEqual(imported.referenceSet);
    expect((await client().listReferenceSets({})).referenceSets).toEqual([imported.referenceSet]);
    expect(await load({}, file)).toMatchObject({ changed: false, referenceSet: { version: 1n } });
    expect(await load({ mode: ImportMode.ADD, etag: 'v1' }, list(C))).toMatchObject({
      referenceSet: { version: 2n, entryCount: 3n },
    });
    expect(await failure(load({ etag: 'v1' }, list(C)))).toMatchObject({ code: 'ABORTED', reason: 'ETAG_MISMATCH' });
    const [record] = (await running.house.store.listAudit(0, 100)).filter(
      ({ action }) => action === 'referenceSet.import',
    );
    expect(record).toMatchObject({
      actor: 'identities/ada',
      target: SET,
      detail: '2 read, version 1, 2 entries, 0 verdicts dropped',
    });
  });

  it('say of a Keylime policy what is not imported', async () => {
    const policy = { meta: { version: 1 }, digests: { '/bin/sh': [A] }, excludes: ['^/tmp/', '^/var/'] };
    const header = { format: ReferenceFormat.KEYLIME_POLICY };
    expect(await load(header, JSON.stringify(policy))).toMatchObject({
      referenceSet: { entryCount: 1n },
      notImported: ['excludes: 2 patterns'],
    });
    expect(await failure(load(header, '{"meta": {"version": 1},\n "digests": {"/a": ["xy"]}}'))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      reason: 'REFERENCE_MALFORMED',
      message: 'line 2, column 21: $.digests["/a"][0]: the digest is not hexadecimal',
    });
    const dumped = `/bin/ls 7 7 ${B} 0100755 root root 0 0 0 X\n`;
    expect(await load({ format: ReferenceFormat.RPM_DUMP }, dumped)).toMatchObject({ referenceSet: { version: 2n } });
  });

  it('that are refused or broken off leave the former version in force', async () => {
    await load({}, list(A));
    const before = await dump(running.house.store);
    expect(await failure(load({}, list(B), 'nonsense\n'))).toMatchObject({
      code: 'INVALID_ARGUMENT',
      reason: 'REFERENCE_MALFORMED',
      message: 'line 2, column 1: neither "DIGEST  PATH" nor "SHA256 (PATH) = DIGEST"',
    });
    const ending = new AbortController();
    const breaking = async function* () {
      yield* parts({}, list(B));
      ending.abort();
      await new Promise(() => undefined);
    };
    const cut = client().importReferenceSet(breaking(), { signal: ending.signal });
    expect(await failure(cut)).toMatchObject({ code: 'CANCELLED' });
    const chunk = Buffer.from(`#${'x'.repeat(1022)}\n`.repeat(256));
    const huge = async function* () {
      yield* parts({});
      // 200 MB: refused at 64 MiB.
      for (let sent = 0; sent < 200e6; sent += chunk.length) yield { part: { case: 'chunk', value: chunk } as const };
    };
    expect(await failure(client().importReferenceSet(huge()))).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      reason: 'REFERENCE_TOO_LARGE',
    });
    expect(await dump(running.house.store)).toEqual(before);
  });

  it('are listed page by page in the version of the first page', async () => {
    await load({}, list(A, B, C));
    const first = await client().listReferenceEntries({ name: SET, pageSize: 2 });
    expect(first.entries.map(({ algorithm, digest, path }) => [algorithm, digest, path])).toEqual([
      ['sha256', A, '/bin/aa'],
      ['sha256', B, '/bin/bb'],
    ]);
    await load({}, list(A));
    const second = await client().listReferenceEntries({ name: SET, pageSize: 2, pageToken: first.nextPageToken });
    expect(second).toMatchObject({ entries: [{ digest: C }], nextPageToken: '' });
    const found = async (filter: object) =>
      (await client().listReferenceEntries({ name: SET, version: 1n, ...filter })).entries.map(({ path }) => path);
    expect(await found({ digest: B.toUpperCase() })).toEqual(['/bin/bb']);
    expect(await found({ pathPrefix: '/bin/c' })).toEqual(['/bin/cc']);
    expect(await found({ pathPrefix: '/usr' })).toEqual([]);
    const other = client().listReferenceEntries({ name: SET, pathPrefix: '/', pageToken: first.nextPageToken });
    expect(await failure(other)).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });

  it('fit into a message where paths are long', async () => {
    const long = Array.from({ length: 1000 }, (_, index) => `${A}  /${String(index).padStart(4095, 'x')}\n`).join('');
    const chunks = Array.from({ length: Math.ceil(long.length / 200_000) }, (_, index) =>
      long.slice(index * 200_000, (index + 1) * 200_000),
    );
    await load({}, ...chunks);
    let count = 0;
    for (let pageToken = '', pages = 0; pages === 0 || pageToken !== ''; pages++) {
      const page = await client().listReferenceEntries({ name: SET, pageSize: 1000, pageToken });
      expect(page.entries.length).toBeLessThan(1000);
      count += page.entries.length;
      pageToken = page.nextPageToken;
    }
    expect(count).toBe(1000);
  });

  it('lose a digest that is withdrawn', async () => {
    await load({}, list(A, B));
    expect(await client().removeReferenceEntries({ name: SET, digests: [A.toUpperCase()], etag: 'v1' })).toMatchObject({
      referenceSet: { version: 2n, entryCount: 1n },
      removedCount: 1n,
    });
    expect(await failure(client().removeReferenceEntries({ name: SET, digests: [B, A] }))).toMatchObject({
      code: 'NOT_FOUND',
    });
    expect((await client().getReferenceSet({ name: SET })).referenceSet).toMatchObject({ version: 2n });
    const stale = client().removeReferenceEntries({ name: SET, digests: [B], etag: 'v1' });
    expect(await failure(stale)).toMatchObject({ code: 'ABORTED', reason: 'ETAG_MISMATCH' });
    expect((await running.house.store.listAudit(0, 100)).at(-1)).toMatchObject({
      action: 'referenceSet.withdraw',
      detail: `${A}, version 2, 1 entries, 0 verdicts dropped`,
    });
  });

  it('keep keys with what names them, and lose one that is withdrawn', async () => {
    const keys = Buffer.from(publicKey('P-256') + publicKey('P-384'));
    const { keyring, changed } = await client().importKeyring({ name: RING, keys });
    expect(changed).toBe(true);
    expect(keyring).toMatchObject({ name: RING, version: 1n, keyCount: 2, etag: 'v1' });
    expect(keyring?.keys.map(({ algorithm }) => algorithm).sort()).toEqual(['EC-P-256', 'EC-P-384']);
    expect((await client().getKeyring({ name: RING })).keyring).toEqual(keyring);
    expect((await client().listKeyrings({})).keyrings).toMatchObject([{ name: RING, keyCount: 2, keys: [] }]);
    expect(await client().importKeyring({ name: RING, keys, add: true })).toMatchObject({ changed: false });
    const [first, second] = keyring?.keys ?? [];
    const fingerprint = first?.fingerprint ?? '';
    const removed = await client().removeKeyringKey({ name: RING, fingerprint, etag: 'v1' });
    expect(removed.keyring).toMatchObject({ version: 2n, keys: [{ fingerprint: second?.fingerprint }] });
    expect(await failure(client().removeKeyringKey({ name: RING, fingerprint }))).toMatchObject({ code: 'NOT_FOUND' });
    await client().deleteKeyring({ name: RING, etag: 'v2' });
    expect((await client().listKeyrings({})).keyrings).toEqual([]);
  });

  it('take keys all or none, with a reason for each bad one', async () => {
    const weak = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }) as string;
    const before = await dump(running.house.store);
    const error = await failure(
      client().importKeyring({ name: RING, keys: Buffer.from(publicKey('P-256') + weak + weak) }),
    );
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'KEY_INVALID' });
    expect(error.fieldViolations).toEqual([
      { field: 'keys', description: 'key 2: ed25519 keys sign no files' },
      { field: 'keys', description: 'key 3: ed25519 keys sign no files' },
    ]);
    expect(await dump(running.house.store)).toEqual(before);
  });

  it('cannot be deleted while a policy names them', async () => {
    await load({}, list(A));
    await client().importKeyring({ name: RING, keys: Buffer.from(publicKey('P-256')) });
    const attachment = { matchLabels: {}, allHosts: false, precedence: 0 };
    const written = { id: 'uses', attachment, body: '{}' };
    const options = { ...OPERATOR, expected: 'any' } as const;
    await running.house.store.putPolicy({ ...written, references: [SET, RING] }, options);
    const refused = { code: 'FAILED_PRECONDITION', reason: 'RESOURCE_IN_USE' };
    expect(await failure(client().deleteReferenceSet({ name: SET }))).toMatchObject({
      ...refused,
      message: 'referenceSets/base is named by trustPolicies/uses',
    });
    expect(await failure(client().deleteKeyring({ name: RING }))).toMatchObject(refused);
    await running.house.store.deletePolicy('uses', options);
    await client().deleteReferenceSet({ name: SET });
    expect(await failure(client().getReferenceSet({ name: SET }))).toMatchObject({ code: 'NOT_FOUND' });
  });
});

/** Name, call, and the fields that it is refused for. */
const INVALID: readonly (readonly [string, () => Promise<unknown>, readonly string[]])[] = [
  ['an import of nothing', () => client().importReferenceSet(only()), ['part']],
  ['an import without a part', () => client().importReferenceSet(only({})), ['part']],
  [
    'a chunk before the header',
    () => client().importReferenceSet(only({ part: { case: 'chunk', value: Buffer.from('x') } })),
    ['part'],
  ],
  [
    'a second header',
    () => {
      const header = { case: 'header', value: { name: SET, format: ReferenceFormat.DIGEST_LIST } };
      return client().importReferenceSet(only({ part: header }, { part: header }));
    },
    ['part'],
  ],
  ['an import without a name', () => load({ name: '' }, list(A)), ['header.name']],
  ['an import of another collection', () => load({ name: RING }, list(A)), ['header.name']],
  ['a set in upper case', () => load({ name: 'referenceSets/Base' }, list(A)), ['header.name']],
  ['no format', () => load({ format: ReferenceFormat.UNSPECIFIED }, list(A)), ['header.format']],
  ['an unknown format', () => load({ format: 99 as ReferenceFormat }, list(A)), ['header.format']],
  ['an unknown mode', () => load({ mode: 99 as ImportMode }, list(A)), ['header.mode']],
  ['a bad etag of an import', () => load({ etag: '1' }, list(A)), ['header.etag']],
  ['an empty chunk', () => load({}, ''), ['chunk']],
  ['a chunk above 256 KiB', () => load({}, Buffer.alloc(256 * 1024 + 1, 0x23)), ['chunk']],
  ['what ran, for no set', () => learn({ name: '' }), ['name']],
  ['what ran on no host', () => learn({ host: 'hosts/x' }), ['host']],
  ['what ran, in an unknown mode', () => learn({ mode: 99 as ImportMode }), ['mode']],
  ['what ran, by a bad etag', () => learn({ etag: '1' }), ['etag']],
  ['what ran but what fits nearly all', () => learn({ excludes: ['/tmp/*', '/*'] }), ['excludes[1]']],
  ['what ran but too many', () => learn({ excludes: Array.from({ length: 257 }, () => '/tmp/*') }), ['excludes']],
  ['a set by no name', () => client().getReferenceSet({}), ['name']],
  ['a version that no set has', () => client().getReferenceSet({ name: SET, version: 1n << 60n }), ['version']],
  ['the entries of no set', () => client().listReferenceEntries({}), ['name']],
  [
    'entries by digest and path',
    () => client().listReferenceEntries({ name: SET, digest: A, pathPrefix: '/' }),
    ['path_prefix'],
  ],
  ['entries by what is no digest', () => client().listReferenceEntries({ name: SET, digest: 'xy' }), ['digest']],
  [
    'entries by a long path',
    () => client().listReferenceEntries({ name: SET, pathPrefix: 'x'.repeat(4097) }),
    ['path_prefix'],
  ],
  ['a negative page', () => client().listReferenceEntries({ name: SET, pageSize: -1 }), ['page_size']],
  ['a page token of sets that is none', () => client().listReferenceSets({ pageToken: 'x' }), ['page_token']],
  ['the withdrawal from no set', () => client().removeReferenceEntries({ digests: [A] }), ['name']],
  ['the withdrawal of nothing', () => client().removeReferenceEntries({ name: SET }), ['digests']],
  [
    'the withdrawal of too many',
    () => client().removeReferenceEntries({ name: SET, digests: Array.from({ length: 1001 }, () => A) }),
    ['digests'],
  ],
  [
    'the withdrawal of an MD5 digest',
    () => client().removeReferenceEntries({ name: SET, digests: [A, '11'.repeat(16)] }),
    ['digests[1]'],
  ],
  [
    'a bad etag of a withdrawal',
    () => client().removeReferenceEntries({ name: SET, digests: [A], etag: 'x' }),
    ['etag'],
  ],
  ['the deletion of no set', () => client().deleteReferenceSet({}), ['name']],
  ['a bad etag of a deletion', () => client().deleteReferenceSet({ name: SET, etag: 'x' }), ['etag']],
  ['keys for no keyring', () => client().importKeyring({ keys: Buffer.from('x') }), ['name']],
  ['a keyring without keys', () => client().importKeyring({ name: RING }), ['keys']],
  ['keys above 1 MiB', () => client().importKeyring({ name: RING, keys: Buffer.alloc(1024 * 1024 + 1) }), ['keys']],
  ['a bad etag of keys', () => client().importKeyring({ name: RING, keys: Buffer.from('x'), etag: 'x' }), ['etag']],
  ['a keyring by no name', () => client().getKeyring({}), ['name']],
  ['a version that no keyring has', () => client().getKeyring({ name: RING, version: 1n << 60n }), ['version']],
  ['a page token of keyrings that is none', () => client().listKeyrings({ pageToken: 'x' }), ['page_token']],
  ['the removal from no keyring', () => client().removeKeyringKey({ fingerprint: A }), ['name']],
  ['the removal of no key', () => client().removeKeyringKey({ name: RING }), ['fingerprint']],
  [
    'the removal of a key in upper case',
    () => client().removeKeyringKey({ name: RING, fingerprint: A.toUpperCase() }),
    ['fingerprint'],
  ],
  ['the deletion of no keyring', () => client().deleteKeyring({}), ['name']],
];

describe('a request with', () => {
  beforeAll(async () => {
    running = await startAssay();
    channel = running.connect(await running.identity('ada', ['operator']));
    await load({}, list(A));
  });
  afterAll(async () => {
    await running[Symbol.asyncDispose]();
    expect(running.errors).toEqual([]);
  });

  it.each(INVALID)('%s is INVALID_ARGUMENT at its fields, and changes nothing', async (_name, call, fields) => {
    const before = await dump(running.house.store);
    const error = await failure(call());
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
    expect(error.fieldViolations.map(({ field }) => field)).toEqual(fields);
    expect(error.fieldViolations.every(({ description }) => description !== '')).toBe(true);
    expect(await dump(running.house.store)).toEqual(before);
  });
});
