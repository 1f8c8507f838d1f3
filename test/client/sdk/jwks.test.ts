import { describe, expect, it } from 'vitest';

import { parseJwks } from '../../../client/sdk/jwks.ts';
import { TokenRefusal } from '../../../client/sdk/token-refusal.ts';
import { makeSigner } from '../../support/tokens.ts';

const signer = makeSigner();
const other = makeSigner();

describe('a key set', () => {
  const malformed = async (text: string): Promise<string> => {
    const error = await parseJwks(Buffer.from(text)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TokenRefusal);
    return (error as TokenRefusal).code;
  };

  it('leaves out keys that verify no tokens', async () => {
    const rsa = { kty: 'RSA', kid: 'rsa', n: 'AQAB', e: 'AQAB' };
    const secret = { kty: 'oct', kid: signer.keyId, k: 'AAAA' };
    const encrypting = { ...other.jwk, use: 'enc' };
    const set = await parseJwks(Buffer.from(JSON.stringify({ keys: [rsa, secret, encrypting, signer.jwk] })));
    expect([...set.keys()]).toEqual([signer.keyId]);
  });

  it.each([
    ['no JSON', '{'],
    ['a list', '[]'],
    ['no keys', '{"keys":[]}'],
    ['keys that are no list', '{"keys":{}}'],
    ['a key that is text', '{"keys":["a"]}'],
    ['too many keys', JSON.stringify({ keys: Array.from({ length: 65 }, () => signer.jwk) })],
    ['two keys of one id', JSON.stringify({ keys: [signer.jwk, { ...other.jwk, kid: signer.keyId }] })],
    ['a point beside the curve', JSON.stringify({ keys: [{ ...signer.jwk, x: other.jwk['x'] }] })],
    ['a key without its point', JSON.stringify({ keys: [{ ...signer.jwk, x: undefined }] })],
    ['a name twice', '{"keys":[],"keys":[]}'],
    ['more than 64 KiB', JSON.stringify({ keys: [signer.jwk], filler: 'a'.repeat(64 * 1024) })],
  ])('with %s is refused', async (_name, text) => {
    expect(await malformed(text)).toBe('KEYS_MALFORMED');
  });

  it('of private keys verifies, and gives no private key away', async () => {
    const jwk = { ...signer.jwk, ...signer.privateKey.export({ format: 'jwk' }) };
    const set = await parseJwks(Buffer.from(JSON.stringify({ keys: [jwk] })));
    expect(set.get(signer.keyId)).toMatchObject({ type: 'public' });
  });
});
