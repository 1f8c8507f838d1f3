import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import type { Channel } from '../../../proto/client.ts';
import { EndorsementService } from '../../../proto/gen/assay/v1/endorsement_pb.ts';
import { failure } from '../../support/rpc.ts';
import { startAssay } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';
import { commonName, extension } from '../../support/test-ca.ts';
import {
  day,
  intermediateKey,
  makeIntermediate,
  makeRoot,
  pem,
  revocationList,
  rootKey,
  rootName,
} from '../../support/test-ek-pki.ts';
import { dump, sha256 } from '../../support/test-service.ts';

const ANCHOR = `trustAnchors/${'ab'.repeat(32)}`;

let running: Running;
let channel: Channel;
beforeEach(async () => {
  running = await startAssay({ admission: ['certificate', 'approval'] });
  channel = running.connect(await running.identity('ada', ['operator']));
});
afterEach(async () => {
  await running[Symbol.asyncDispose]();
  expect(running.errors).toEqual([]);
});

describe('endorsements', () => {
  const client = () => channel.client(EndorsementService);

  it('are imported once, listed and removed', async () => {
    const certificates = Buffer.concat([
      makeRoot({ serial: Buffer.from([9]) }),
      makeIntermediate({ serial: Buffer.from([9]) }),
    ]);
    const { added } = await client().importTrustAnchors({ certificates });
    expect(added.map(({ anchor }) => anchor)).toEqual([true, false]);
    expect(await client().importTrustAnchors({ certificates })).toMatchObject({ added: [], known: 2 });
    const listed = (await client().listTrustAnchors({})).trustAnchors;
    expect(listed).toHaveLength(4);
    for (const { name } of added) await client().removeTrustAnchor({ name });
    expect((await client().listTrustAnchors({})).trustAnchors).toHaveLength(2);
  });

  it('that another CA issued become anchors where that is asked for, and stay ones', async () => {
    const certificates = makeIntermediate({ serial: Buffer.from([9]) });
    expect((await client().importTrustAnchors({ certificates })).added).toMatchObject([{ anchor: false }]);
    const { added } = await client().importTrustAnchors({ certificates, asAnchors: true });
    expect(added).toMatchObject([{ anchor: true }]);
    expect(await client().importTrustAnchors({ certificates })).toMatchObject({ added: [], known: 1 });
    const listed = (await client().listTrustAnchors({})).trustAnchors;
    expect(listed.find(({ name }) => name === added[0]?.name)).toMatchObject({ anchor: true });
  });

  it('are revoked by lists, which are imported once, replaced by newer ones, listed page by page and removed', async () => {
    const first = revocationList([0x30, 0x31], { number: 10 });
    const ofRoot = revocationList([], { issuer: rootName, signer: rootKey });
    const { added } = await client().importRevocationLists({ revocationLists: Buffer.concat([first, ofRoot]) });
    expect(added).toMatchObject([
      {
        name: `revocationLists/${sha256(first)}`,
        issuer: 'CN=Test Intermediate CA',
        issuerKeySha256: sha256(intermediateKey.spki),
        number: '0a',
        thisUpdateTime: { seconds: BigInt(day('2025-12-01').getTime() / 1000) },
        nextUpdateTime: { seconds: BigInt(day('2028-01-01').getTime() / 1000) },
        entryCount: 2,
      },
      { issuer: 'CN=Test Root CA', number: '', entryCount: 0 },
    ]);
    expect(await client().importRevocationLists({ revocationLists: first })).toMatchObject({ added: [], known: 1 });

    const second = revocationList(0x30, { number: 11 });
    const pemText = Buffer.from(pem('X509 CRL', second));
    expect((await client().importRevocationLists({ revocationLists: pemText })).added).toMatchObject([
      { number: '0b' },
    ]);
    const names: string[] = [];
    let pageToken = '';
    do {
      const page = await client().listRevocationLists({ pageSize: 1, pageToken });
      names.push(...page.revocationLists.map(({ name }) => name));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(names).toEqual([first, ofRoot].map((list) => `revocationLists/${sha256(list)}`).toSorted());

    for (const name of names) await client().removeRevocationList({ name });
    expect((await client().listRevocationLists({})).revocationLists).toEqual([]);
    const audit = await running.house.store.listAudit(0, 100);
    expect(audit.filter(({ action }) => action.startsWith('revocationList.')).map(({ action }) => action)).toEqual([
      ...Array.from({ length: 3 }, () => 'revocationList.add'),
      ...Array.from({ length: 2 }, () => 'revocationList.remove'),
    ]);
    expect(audit.at(-1)).toMatchObject({ actor: 'identities/ada', target: names[1] });
  });

  it('have versions that stay readable, only what was read is removed, and who did what is told', async () => {
    const certificates = makeIntermediate({ serial: Buffer.from([9]) });
    const [intermediate] = (await client().importTrustAnchors({ certificates })).added;
    const [made] = (await client().importTrustAnchors({ certificates, asAnchors: true })).added;
    const name = made?.name ?? '';
    expect([intermediate?.version, made?.version]).toEqual([1n, 2n]);
    expect(await failure(client().removeTrustAnchor({ name, etag: intermediate?.etag ?? '' }))).toMatchObject({
      code: 'ABORTED',
      reason: 'ETAG_MISMATCH',
    });
    await client().removeTrustAnchor({ name, etag: made?.etag ?? '' });
    expect(await failure(client().getTrustAnchor({ name }))).toMatchObject({ code: 'NOT_FOUND' });
    expect((await client().getTrustAnchor({ name, version: 1n })).trustAnchor).toEqual(intermediate);

    const lists = [revocationList([0x30, 0x31], { number: 10 }), revocationList(0x30, { number: 11 })];
    for (const list of lists) await client().importRevocationLists({ revocationLists: list });
    const [kept] = (await client().listRevocationLists({})).revocationLists;
    expect(kept).toMatchObject({ version: 2n, number: '0b', listSha256: sha256(lists[1] ?? Buffer.of()) });
    const ofList = kept?.name ?? '';
    for (const [index, der] of lists.entries()) {
      const read = await client().getRevocationList({ name: ofList, version: BigInt(index + 1) });
      expect([Buffer.from(read.data), read.size]).toEqual([der, der.length]);
    }
    const tail = await client().getRevocationList({ name: ofList, offset: 9 });
    expect(Buffer.from(tail.data)).toEqual(lists[1]?.subarray(9));
    expect(await failure(client().removeRevocationList({ name: ofList, etag: 'v1' }))).toMatchObject({
      reason: 'ETAG_MISMATCH',
    });
    await client().removeRevocationList({ name: ofList, etag: kept?.etag ?? '' });

    const history = await client().listEndorsementChanges({ pageSize: 2 });
    expect(history.changes).toMatchObject([
      { action: 'revocationList.remove', resource: ofList, version: 2n, actor: 'identities/ada' },
      {
        action: 'revocationList.add',
        resource: ofList,
        version: 2n,
        endorsementVersion: history.endorsementVersion - 1n,
      },
    ]);
    const next = await client().listEndorsementChanges({ pageSize: 2, pageToken: history.nextPageToken });
    expect(next.changes.map(({ version }) => version)).toEqual([1n, 2n]);
    const ofAnchor = await client().listEndorsementChanges({ resource: name });
    expect(ofAnchor.changes.map(({ action, version }) => [action, version])).toEqual([
      ['trustAnchor.remove', 2n],
      ['trustAnchor.add', 2n],
      ['trustAnchor.add', 1n],
    ]);
  });

  it.each<[string, () => Promise<unknown>, string]>([
    ['no name of an anchor', () => client().getTrustAnchor({}), 'name'],
    ['no name of a list', () => client().getRevocationList({ name: 'revocationLists/x' }), 'name'],
    ['a version of no anchor', () => client().getTrustAnchor({ name: ANCHOR, version: 1n << 60n }), 'version'],
    ['no etag', () => client().removeTrustAnchor({ name: ANCHOR, etag: 'x' }), 'etag'],
    ['no resource', () => client().listEndorsementChanges({ resource: 'hosts/x' }), 'resource'],
    ['no page token', () => client().listEndorsementChanges({ pageToken: 'x' }), 'page_token'],
  ])('are not asked for by %s', async (_name, call, field) => {
    expect(await failure(call())).toMatchObject({ code: 'INVALID_ARGUMENT', fieldViolations: [{ field }] });
  });

  it('are not read behind the end of a list', async () => {
    const list = revocationList([], { number: 1 });
    const [{ name } = { name: '' }] = (await client().importRevocationLists({ revocationLists: list })).added;
    expect(await client().getRevocationList({ name, offset: list.length })).toMatchObject({ size: list.length });
    for (const offset of [-1, list.length + 1]) {
      expect(await failure(client().getRevocationList({ name, offset }))).toMatchObject({
        fieldViolations: [{ field: 'offset' }],
      });
    }
  });

  it.each<[string, () => Buffer, string, string]>([
    ['that is none', () => Buffer.from('junk'), 'INVALID_ARGUMENT', 'REVOCATION_LIST_INVALID'],
    [
      'that another key signed',
      () => revocationList(1, { signer: rootKey }),
      'INVALID_ARGUMENT',
      'REVOCATION_LIST_INVALID',
    ],
    [
      'that is a delta',
      () => revocationList(1, { extensions: [extension('2.5.29.27', Buffer.from('020101', 'hex'), 'critical')] }),
      'INVALID_ARGUMENT',
      'REVOCATION_LIST_UNSUPPORTED',
    ],
    [
      'of an issuer that is not known',
      () => revocationList(1, { issuer: commonName('Nobody') }),
      'FAILED_PRECONDITION',
      'REVOCATION_LIST_ISSUER_UNKNOWN',
    ],
    [
      'of the future',
      () => revocationList(1, { thisUpdate: new Date(running.house.store.now() + 86_400_000) }),
      'FAILED_PRECONDITION',
      'REVOCATION_LIST_NOT_YET_VALID',
    ],
    [
      'that is older than the one that is there',
      () => revocationList(1, { number: 9, thisUpdate: day('2025-12-02') }),
      'FAILED_PRECONDITION',
      'REVOCATION_LIST_OUTDATED',
    ],
  ])(
    'are not revoked by a list %s, and every other list of the request is refused with it',
    async (_name, make, code, reason) => {
      await client().importRevocationLists({ revocationLists: revocationList(0x30, { number: 10 }) });
      const before = await dump(running.house.store);
      const good = pem('X509 CRL', revocationList([], { issuer: rootName, signer: rootKey }));
      const revocationLists = Buffer.from(`${good}${pem('X509 CRL', make())}`);
      expect(await failure(client().importRevocationLists({ revocationLists }))).toMatchObject({ code, reason });
      expect(await dump(running.house.store)).toEqual(before);
    },
  );

  it('of the inventory are added, overwritten, listed page by page and removed', async () => {
    const entries = ['a', 'b', 'c'].map((digit) => ({
      name: `inventory/${digit.repeat(64)}`,
      group: 'rack',
      comment: '',
    }));
    expect(await client().importInventory({ entries })).toMatchObject({ added: 3, updated: 0 });
    const others = entries.slice(1).map((entry) => ({ ...entry, comment: 'moved' }));
    expect(await client().importInventory({ entries: others })).toMatchObject({ added: 0, updated: 2 });
    const page = await client().listInventory({ pageSize: 2 });
    const rest = await client().listInventory({ pageSize: 2, pageToken: page.nextPageToken });
    expect([...page.entries, ...rest.entries].map(({ name }) => name)).toEqual(entries.map(({ name }) => name));
    expect(rest.nextPageToken).toBe('');
    await client().removeInventoryEntry({ name: entries[0]?.name ?? '' });
    expect((await client().listInventory({})).entries).toHaveLength(2);
  });
});
