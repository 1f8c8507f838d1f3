import { hash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { examineEntry } from '../../../tpm/ima/examine.ts';
import type { ImaDigest } from '../../../tpm/ima/fields.ts';
import { imaHashByName } from '../../../tpm/ima/hash-names.ts';
import { ImaKeyring, readImaKey } from '../../../tpm/ima/keyring.ts';
import { checkModsig } from '../../../tpm/ima/modsig.ts';
import type { ImaSignatureResult } from '../../../tpm/ima/signature-result.ts';
import { bare, certificate, content, withAttributes } from './cms-signatures.ts';
import { digestField, nameField } from './list-builder.ts';
import { readOne } from './read-entries.ts';
import { ecSigner, rsaSigner } from './signing.ts';
import type { HashName, Signer } from './signing.ts';

const opensslKey = readImaKey(certificate);
const opensslRing = new ImaKeyring([opensslKey]);

function digestOf(algorithm: HashName, text = content): ImaDigest {
  return { algorithm, hash: imaHashByName(algorithm), of: 'untold', value: hash(algorithm, text, 'buffer') };
}

function outcome(result: ImaSignatureResult): string {
  return result.kind === 'invalid' ? result.fault : result.kind;
}

describe('a signature appended to a file, as OpenSSL makes it', () => {
  test('is valid over the digest of the file without it', () => {
    expect(checkModsig(bare, digestOf('sha256'), opensslRing)).toEqual({
      kind: 'valid',
      source: 'modsig',
      key: opensslKey,
    });
  });

  test('with signed attributes is valid, whichever digest the kernel recorded', () => {
    expect(outcome(checkModsig(withAttributes, digestOf('sha512'), opensslRing))).toBe('valid');
    const at = withAttributes.indexOf(Buffer.from('a08189', 'hex'));
    const attributes = Buffer.from(withAttributes.subarray(at, at + 3 + 0x89));
    attributes.writeUInt8(0x31, 0);
    const digest = { ...digestOf('sha512'), value: hash('sha512', attributes, 'buffer') };
    expect(outcome(checkModsig(withAttributes, digest, opensslRing))).toBe('valid');
  });

  test.each<[string, Buffer, ImaDigest | undefined, ImaKeyring, string]>([
    ['of another file', bare, digestOf('sha256', 'other'), opensslRing, 'VALUE_WRONG'],
    ['with attributes of another file', withAttributes, digestOf('sha512', 'other'), opensslRing, 'VALUE_WRONG'],
    ['with another hash', bare, digestOf('sha512'), opensslRing, 'HASH_MISMATCH'],
    ['whose digest was not measured', bare, undefined, opensslRing, 'DIGEST_MISSING'],
    ['of an unknown key, by issuer and serial', bare, digestOf('sha256'), new ImaKeyring([]), 'unknownKey'],
    ['of an unknown key, by its identifier', withAttributes, digestOf('sha512'), new ImaKeyring([]), 'unknownKey'],
    [
      'of a key that is known without its certificate',
      bare,
      digestOf('sha256'),
      new ImaKeyring([{ ...opensslKey, issuerAndSerial: undefined }]),
      'unknownKey',
    ],
    [
      'under an impostor of that name',
      bare,
      digestOf('sha256'),
      new ImaKeyring([{ ...ecSigner('P-256').key, issuerAndSerial: opensslKey.issuerAndSerial }]),
      'VALUE_WRONG',
    ],
    [
      'with a byte behind it',
      Buffer.concat([bare, Buffer.alloc(1)]),
      digestOf('sha256'),
      opensslRing,
      'PKCS7_MALFORMED',
    ],
    ['that is no DER', Buffer.from('pkcs7'), digestOf('sha256'), opensslRing, 'PKCS7_MALFORMED'],
    ['that is empty', Buffer.alloc(0), digestOf('sha256'), opensslRing, 'none'],
  ])('%s is told', (_, bytes, digest, keyring, expected) => {
    expect(outcome(checkModsig(bytes, digest, keyring))).toBe(expected);
  });

  test.each([
    ['bare', bare, digestOf('sha256')],
    ['with attributes', withAttributes, digestOf('sha512')],
  ] as const)('%s is valid in no other bytes of its signer', (_, message, digest) => {
    const last = message.length - 1;
    const signatureAt = message.lastIndexOf(Buffer.from('0447', 'hex'));
    for (let at = 0; at <= last; at += 1) {
      const flipped = Buffer.from(message);
      flipped.writeUInt8((message[at] ?? 0) ^ 1, at);
      const result = checkModsig(flipped, digest, opensslRing);
      if (at > signatureAt) expect(result.kind).not.toBe('valid');
    }
    for (let length = 1; length < last; length += 1) {
      expect(checkModsig(message.subarray(0, length), digest, opensslRing).kind).toBe('invalid');
    }
  });
});

/** DER of one value. */
function der(tag: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length = body.length < 0x80 ? [body.length] : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));
const version = Buffer.from('020101', 'hex');
const sha256Oid = '608648016503040201';
const rsaOid = '2a864886f70d010101';

interface MessagePlan {
  readonly signatureOid?: string;
  readonly hashOid?: string;
  readonly type?: string;
  readonly signers?: number;
  readonly name?: Buffer;
}

function makeMessage(signer: Signer, digest: Buffer, plan: MessagePlan = {}): Buffer {
  const { signatureOid = rsaOid, hashOid = sha256Oid, type = '2a864886f70d010702', signers = 1 } = plan;
  const identifier = Buffer.from(signer.key.identifiers[0] ?? '', 'hex');
  const info = der(
    0x30,
    version,
    plan.name ?? der(0x80, identifier),
    der(0x30, oid(hashOid)),
    der(0x30, oid(signatureOid), der(0x05)),
    der(0x04, signer.signDigest('sha256', digest)),
  );
  const content7 = der(0x30, oid('2a864886f70d010701'));
  const set = der(0x31, ...Array.from({ length: signers }, () => info));
  return der(0x30, oid(type), der(0xa0, der(0x30, version, der(0x31, der(0x30, oid(hashOid))), content7, set)));
}

describe('a message of our own making', () => {
  const rsa = rsaSigner();
  const ring = new ImaKeyring([rsa.key]);
  const digest = digestOf('sha256');

  test.each<[string, MessagePlan, string]>([
    ['by RSA, named by the hash of its key', {}, 'valid'],
    ['with two signers that both verify', { signers: 2 }, 'valid'],
    ['with more signers than anyone needs', { signers: 5 }, 'PKCS7_MALFORMED'],
    ['without a signer', { signers: 0 }, 'PKCS7_MALFORMED'],
    ['by RSASSA-PSS', { signatureOid: '2a864886f70d01010a' }, 'unsupported'],
    ['with a hash that does not exist', { hashOid: '2a0304' }, 'HASH_UNKNOWN'],
    ['of another content type', { type: '2a864886f70d010703' }, 'PKCS7_MALFORMED'],
    ['that names its signer in no known way', { name: der(0x81, Buffer.alloc(4)) }, 'PKCS7_MALFORMED'],
  ])('%s is told for what it is', (_, plan, expected) => {
    expect(outcome(checkModsig(makeMessage(rsa, digest.value, plan), digest, ring))).toBe(expected);
  });

  test('is tried no more than other signatures where none is', () => {
    expect(outcome(checkModsig(makeMessage(rsa, digest.value), digest, ring.untried))).toBe('UNTRIED');
    const stranger = makeMessage(rsaSigner(), digest.value);
    expect(outcome(checkModsig(stranger, digest, ring.untried))).toBe('unknownKey');
  });

  test('in an ima-modsig entry counts against d-modsig, and d-ng counts for nothing', () => {
    const whole = hash('sha256', 'the file with its signature', 'buffer');
    const entry = (measured: Buffer, signed: Buffer) =>
      readOne({
        template: 'ima-modsig',
        fields: [
          digestField('sha256', whole),
          nameField('/lib/modules/loop.ko'),
          Buffer.alloc(0),
          digestField('sha256', measured),
          makeMessage(rsa, signed),
        ],
      });
    expect(examineEntry(entry(digest.value, digest.value), ring).signature).toMatchObject({
      kind: 'valid',
      source: 'modsig',
    });
    const false7 = examineEntry(entry(digest.value, whole), ring);
    expect(false7.signature).toMatchObject({ kind: 'invalid', source: 'modsig', fault: 'VALUE_WRONG' });
    expect(false7.findings.map(({ code }) => code)).toContain('IMA_SIGNATURE_INVALID');
  });
});
