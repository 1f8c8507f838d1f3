import { createHash } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { Endorsements } from '../../../server/endorsement/endorsements.ts';
import type { EndorsableEk } from '../../../server/endorsement/endorsements.ts';
import type { RevocationListRecord, TrustAnchorRecord } from '../../../server/store/records.ts';
import {
  ekRsaKey,
  intermediateKey,
  makeEk,
  makeIntermediate,
  makeRoot,
  NOW,
  revocationList,
} from '../../support/test-ek-pki.ts';

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const EK: EndorsableEk = { spki: ekRsaKey.spki, fingerprint: sha256(ekRsaKey.spki), certificate: makeEk(), chain: [] };

/** What the store keeps, and how often the bytes of a list were looked at. */
class Source {
  endorsement = 1;
  lists: RevocationListRecord[] = [];
  reads = 0;
  readonly #anchors: readonly TrustAnchorRecord[] = [makeRoot(), makeIntermediate()].map((der, index) => ({
    fingerprint: sha256(der),
    subject: '',
    anchor: index === 0,
    notAfter: 0,
    certificate: der.toString('hex'),
    createTime: 0,
    version: 1,
  }));

  /** Keeps a list in the place of those before. */
  put(serial: number): void {
    const der = revocationList(serial);
    const count = (): number => (this.reads += 1);
    this.lists = [
      {
        id: sha256(der),
        version: 1,
        fingerprint: sha256(der),
        issuer: '',
        issuerKey: sha256(intermediateKey.spki),
        number: '',
        thisUpdate: 0,
        nextUpdate: null,
        entries: 1,
        createTime: 0,
        get list() {
          count();
          return der.toString('hex');
        },
      },
    ];
    this.endorsement += 1;
  }

  now = () => NOW.getTime();
  epochs = () => Promise.resolve({ policy: 1, endorsement: this.endorsement });
  allTrustAnchors = () => Promise.resolve(this.#anchors);
  allRevocationLists = () => Promise.resolve(this.lists);
  findInventory = () => Promise.resolve([]);
}

describe('endorsements', () => {
  it('tell what is revoked, by the lists of the present version', async () => {
    const source = new Source();
    const endorsements = new Endorsements(source);
    expect(await endorsements.judge([EK])).toMatchObject({ certified: true, revoked: null, epoch: 1 });
    source.put(0x17);
    expect(await endorsements.judge([{ ...EK, certificate: Buffer.alloc(0) }, EK])).toMatchObject({
      certified: false,
      revoked: { code: 'EK_CERT_REVOKED', detail: 'CN=TPM, serial 17' },
      epoch: 2,
    });
    source.put(0x18);
    expect(await endorsements.judge([EK])).toMatchObject({ certified: true, revoked: null, epoch: 3 });
  });

  it('parse a list once, whatever else changes', async () => {
    const source = new Source();
    const endorsements = new Endorsements(source);
    source.put(0x17);
    for (let round = 0; round < 3; round += 1) {
      expect((await endorsements.judge([EK])).revoked).not.toBeNull();
      expect((await endorsements.judge([EK])).revoked).not.toBeNull();
      source.endorsement += 1;
    }
    expect(source.reads).toBe(1);
  });

  it('give everybody else a turn between two EKs', async () => {
    const endorsements = new Endorsements(new Source());
    await endorsements.judge([EK]);
    let turns = 0;
    let judged = false;
    const count = (): void => {
      if (judged) return;
      turns += 1;
      setImmediate(count);
    };
    setImmediate(count);
    await endorsements.judge(Array.from({ length: 8 }, () => EK));
    judged = true;
    expect(turns).toBeGreaterThanOrEqual(7);
  });

  it('bound the signatures of all EKs of a judgement', async () => {
    const eks = Array.from({ length: 30 }, (_, index) => ({
      ...EK,
      certificate: makeEk({ serial: Buffer.from([index + 1]) }),
    }));
    const { certificates } = await new Endorsements(new Source()).judge(eks);
    expect(certificates.filter((verdict) => verdict?.status === 'verified')).toHaveLength(23);
    expect(certificates.at(-1)).toMatchObject({ code: 'EK_CERT_CHAIN_TOO_COMPLEX' });
  });
});
