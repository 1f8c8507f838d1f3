import { X509Certificate, randomBytes } from 'node:crypto';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { storedCertificate, storedChain } from '../../../tpm/device/stored-certificate.ts';
import { type Swtpm, startSwtpm } from '../../support/swtpm.ts';

let swtpm: Swtpm;
let issuer: Buffer;
let root: Buffer;

beforeAll(async () => {
  swtpm = await startSwtpm();
  const [first, second] = swtpm.caCertificates.map(({ pem }) => new X509Certificate(pem).raw);
  if (first === undefined || second === undefined) throw new Error('two certificates were expected');
  issuer = first;
  root = second;
});

afterAll(() => swtpm?.stop());

function wrapped(content: Buffer, size: number): Buffer {
  const header = Buffer.from('1001000000', 'hex');
  header.writeUInt16BE(size, 3);
  return Buffer.concat([header, content]);
}

describe('a certificate in NV', () => {
  it.each([
    { what: 'bare', store: (der: Buffer) => der },
    { what: 'with zeros behind', store: (der: Buffer) => Buffer.concat([der, Buffer.alloc(600)]) },
    { what: 'with 0xff behind', store: (der: Buffer) => Buffer.concat([der, Buffer.alloc(600, 0xff)]) },
    { what: 'wrapped', store: (der: Buffer) => wrapped(der, der.length) },
    { what: 'wrapped and padded', store: (der: Buffer) => wrapped(Buffer.concat([der, Buffer.alloc(9)]), der.length) },
    {
      what: 'wrapped with its padding',
      store: (der: Buffer) => wrapped(Buffer.concat([der, Buffer.alloc(9)]), der.length + 9),
    },
  ])('is found $what', ({ store }) => {
    expect(storedCertificate(store(issuer))).toEqual(issuer);
  });

  it.each([
    { what: 'nothing', store: () => Buffer.alloc(0) },
    { what: 'zeros', store: () => Buffer.alloc(1024) },
    { what: 'the wrapper alone', store: () => Buffer.from('1001000400', 'hex') },
    { what: 'half a wrapper', store: () => Buffer.from('100100', 'hex') },
    { what: 'a cut certificate', store: (der: Buffer) => der.subarray(0, -1) },
    { what: 'a wrapper that cuts it', store: (der: Buffer) => wrapped(der, der.length - 1) },
    { what: 'three bytes', store: (der: Buffer) => der.subarray(0, 3) },
  ])('is not made of $what', ({ store }) => {
    expect(storedCertificate(store(issuer))).toBeUndefined();
  });
});

describe('a chain in NV', () => {
  it.each([
    { what: 'one after the other', store: () => Buffer.concat([issuer, root]) },
    { what: 'with padding', store: () => Buffer.concat([issuer, Buffer.alloc(40, 0xff), root, Buffer.alloc(7)]) },
    { what: 'wrapped', store: () => Buffer.concat([wrapped(issuer, issuer.length), wrapped(root, root.length)]) },
    {
      what: 'after bytes that only look like one',
      store: () => Buffer.concat([Buffer.from('30820003aabbcc', 'hex'), issuer, root]),
    },
    { what: 'before a cut one', store: () => Buffer.concat([issuer, root, issuer.subarray(0, 300)]) },
  ])('is taken apart $what', ({ store }) => {
    expect(storedChain(store())).toEqual([issuer, root]);
  });

  it('is empty where nothing is stored', () => {
    expect(storedChain(Buffer.alloc(0))).toEqual([]);
    expect(storedChain(Buffer.alloc(4096, 0x30))).toEqual([]);
  });

  it('has at most sixteen certificates', () => {
    expect(storedChain(Buffer.concat(Array.from({ length: 40 }, () => root)))).toHaveLength(16);
  });

  it('is read from any bytes without an error', () => {
    for (let round = 0; round < 200; round += 1) {
      const bytes = Buffer.concat([randomBytes(20), issuer.subarray(0, 200), randomBytes(100)]);
      bytes[randomBytes(1)[0] ?? 0] = 0x82;
      expect(storedChain(bytes)).toEqual([]);
      storedCertificate(bytes);
    }
  });
});
