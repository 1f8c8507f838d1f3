import { beforeEach, describe, expect, it } from 'vitest';

import {
  earClaims,
  keySet,
  makeSigner,
  makeToken,
  reportClaims,
  TOKEN_HOST,
  TOKEN_TIME,
  appraisal,
} from '../../support/tokens.ts';
import type { Json } from '../../support/tokens.ts';
import { Shell } from '../support/shell.ts';

const signer = makeSigner();
const NONCE = Buffer.alloc(16, 7).toString('base64url');
let shell: Shell;
beforeEach(async () => {
  shell = await Shell.open();
  shell.time = TOKEN_TIME;
  shell.files.set('/keys.json', keySet(signer).toString());
});

function verify(token: string, ...args: readonly string[]): Promise<number> {
  shell.files.set('/token', token);
  return shell.assay('token', 'verify', '/token', '--jwks', '/keys.json', ...args);
}

const good = (change: Json = {}): string => makeToken(signer, earClaims(change));

describe('assay token verify', () => {
  it('tells what a token says, and ends with 0 for an affirmed host', async () => {
    expect(await verify(`${good()}\n`)).toBe(0);
    expect(shell.err).toBe('');
    expect(shell.out).toMatch(/^verified: +attestation result$/m);
    expect(shell.out).toMatch(new RegExp(`^host: +hosts/${TOKEN_HOST}$`, 'm'));
    expect(shell.out).toMatch(/^status: +AFFIRMING$/m);
    expect(shell.out).toMatch(/^policy: +trustPolicies\/base@3$/m);
    expect(shell.out).toMatch(/^expires: +2026-11-25T12:04:00Z$/m);
  });

  it('reads the token from standard input', async () => {
    shell.files.set('-', good());
    expect(await shell.assay('token', 'verify', '--jwks', '/keys.json')).toBe(0);
  });

  it('ends with 5 for a host that is not affirmed', async () => {
    const vector = { hardware: 96 };
    const bad = appraisal({ ear_status: 'contraindicated', ear_trustworthiness_vector: vector });
    expect(await verify(good({ ear_status: 'contraindicated', submods: { 'tpm20-host': bad } }))).toBe(5);
    expect(shell.out).toMatch(/^status: +CONTRAINDICATED$/m);
  });

  it('takes host, audience and nonce', async () => {
    const jwt = good({ aud: 'rp', eat_nonce: NONCE });
    expect(await verify(jwt, '--audience', 'rp', '--nonce', NONCE, '--host', TOKEN_HOST)).toBe(0);
    expect(await verify(jwt, '--audience', 'other')).toBe(1);
    expect(await verify(jwt)).toBe(1);
    expect(await verify(jwt, '--audience', 'rp', '--nonce', Buffer.alloc(16).toString('base64url'))).toBe(1);
    expect(await verify(jwt, '--audience', 'rp', '--host', `h-${'b'.repeat(26)}`)).toBe(1);
    expect(shell.err.match(/TOKEN_[A-Z]+/g)).toEqual(['TOKEN_AUDIENCE', 'TOKEN_AUDIENCE', 'TOKEN_NONCE', 'TOKEN_HOST']);
  });

  it('refuses with 1 and the reason, for people and for scripts', async () => {
    shell.time = new Date('2026-11-25T12:10:00Z');
    expect(await verify(good())).toBe(1);
    expect(shell.err).toBe('assay: TOKEN_EXPIRED: the token has expired\n');
    expect(shell.out).toBe('');
    expect(await verify(good(), '--output', 'json')).toBe(1);
    expect(JSON.parse(shell.out)).toMatchObject({ verified: false, reason: 'TOKEN_EXPIRED' });
  });

  it('gives scripts every claim', async () => {
    expect(await verify(good({ new_claim: 1 }), '--output', 'json')).toBe(0);
    expect(JSON.parse(shell.out)).toMatchObject({ verified: true, claims: { new_claim: 1, ear_status: 'affirming' } });
  });

  it('shows hostile text escaped, of tokens that hold and of such that do not', async () => {
    const evil = 'a\u001b[2J\u202e\n';
    const submods = { 'tpm20-host': appraisal({ ear_appraisal_policy_ids: [evil] }) };
    expect(await verify(good({ submods }))).toBe(0);
    expect(await verify(makeToken(signer, earClaims(), { alg: evil, typ: 'eat+jwt', kid: signer.keyId }))).toBe(1);
    expect(await verify(good({ aud: evil }))).toBe(1);
    expect(await verify(good({ submods }), '--output', 'json')).toBe(0);
    expect(shell.out).toContain(String.raw`a\u{1b}[2J\u{202e}\n`);
    // oxlint-disable-next-line no-control-regex -- that is what must not be there
    expect(shell.out + shell.err).not.toMatch(/[\u001b\u202e]/);
  });

  it('shows a report', async () => {
    const jwt = makeToken(signer, reportClaims(), { alg: 'ES256', typ: 'assay-report+jwt', kid: signer.keyId });
    expect(await verify(jwt)).toBe(0);
    expect(shell.out).toMatch(/^verified: +platform report$/m);
    expect(shell.out).toContain('PCR_MISMATCH: It holds another value.');
    expect(await verify(jwt, '--host', TOKEN_HOST)).toBe(1);
  });

  it('says where verdicts that a report counts may have ended', async () => {
    const header = { alg: 'ES256', typ: 'assay-report+jwt', kid: signer.keyId };
    const ending = (earliestValidUntil: string): string =>
      makeToken(signer, reportClaims({}, { earliestValidUntil }), header);
    expect(await verify(ending('2026-11-25T12:00:00Z'))).toBe(0);
    expect(shell.out).toMatch(/^outdated: +verdicts that it counts may have ended since 2026-11-25T12:00:00Z$/m);
    shell.out = '';
    expect(await verify(ending('2026-11-25T12:00:00Z'), '--output', 'json')).toBe(0);
    expect(JSON.parse(shell.out)).toMatchObject({ verified: true, outdatedSince: '2026-11-25T12:00:00.000Z' });
    shell.out = '';
    expect(await verify(ending('2026-11-25T12:00:01Z'))).toBe(0);
    expect(await verify(ending('2026-11-25T12:00:01Z'), '--output', 'json')).toBe(0);
    expect(shell.out).not.toMatch(/outdated/);
  });

  it('fetches the keys from the service of the profile by https alone', async () => {
    shell.files.set('/token', good());
    const url = 'https://assay.example:9444/.well-known/jwks.json';
    shell.files.set(url, keySet(signer).toString());
    expect(await shell.assay('token', 'verify', '/token', '--jwks', url)).toBe(0);
    expect(await shell.assay('token', 'verify', '/token', '--jwks', url.replace('https', 'http'))).toBe(2);
    expect(shell.fetched).toEqual([url]);
  });

  it.each([
    ['no keys', [], /required option '--jwks/],
    ['a key set that is not there', ['--jwks', '/none'], /key set \/none: not found/],
    ['a nonce that is too short', ['--jwks', '/keys.json', '--nonce', 'AAAA'], /8 to 64 bytes/],
    ['a nonce that is no base64url', ['--jwks', '/keys.json', '--nonce', '+/+/+/+/+/+/'], /base64url/],
    ['a time', ['--jwks', '/keys.json', '--now', '2020-01-01'], /unknown option '--now'/],
  ])('is used wrongly with %s', async (_name, args, says) => {
    shell.files.set('/token', good());
    expect(await shell.assay('token', 'verify', '/token', ...args)).toBe(2);
    expect(shell.err).toMatch(says);
  });
});

describe('assay token get', () => {
  it('prints the token alone, made for who will check it', async () => {
    const asked: unknown[] = [];
    const results = {
      token: (host: string, request: object) => {
        asked.push(host, request);
        return Promise.resolve({ jwt: 'a.b.c', expireTime: TOKEN_TIME });
      },
    };
    shell.client = { results };
    expect(await shell.assay('token', 'get', TOKEN_HOST, '--audience', 'rp', '--nonce', NONCE)).toBe(0);
    expect(shell.out).toBe('a.b.c\n');
    expect(asked).toEqual([TOKEN_HOST, { audience: 'rp', nonce: Buffer.alloc(16, 7) }]);
  });
});

describe('assay key', () => {
  const key = {
    keyId: 'k2',
    version: 2n,
    createTime: TOKEN_TIME,
    retireTime: undefined,
    publishEndTime: undefined,
    json: {},
  };
  const former = { ...key, keyId: 'k1', version: 1n, retireTime: TOKEN_TIME, publishEndTime: TOKEN_TIME };

  it('lists the keys, which of them signs, and until when the others are published', async () => {
    shell.client = { tokenKeys: { list: () => Promise.resolve({ keys: [key, former], jwks: '{"keys":[]}' }) } };
    expect(await shell.assay('key', 'list')).toBe(0);
    expect(shell.out).toMatch(/^k2 +2 +signs +2026-11-25T12:00:00Z +-$/m);
    expect(shell.out).toMatch(/^k1 +1 +retired +2026-11-25T12:00:00Z +2026-11-25T12:00:00Z$/m);
  });

  it('prints the key set as it is published', async () => {
    shell.client = { tokenKeys: { list: () => Promise.resolve({ keys: [], jwks: '{"keys":[]}' }) } };
    expect(await shell.assay('key', 'jwks')).toBe(0);
    expect(shell.out).toBe('{"keys":[]}\n');
  });

  it('rotates', async () => {
    const rotated: string[] = [];
    const list = () => Promise.resolve({ keys: [former], jwks: '' });
    const rotate = (id: string) => (rotated.push(id), Promise.resolve(key));
    shell.client = { tokenKeys: { list, rotate } };
    expect(await shell.assay('key', 'rotate')).toBe(0);
    expect(shell.out).toBe('version 2 signs from now on: k2\n');
    expect(rotated).toEqual(['k1']);
  });

  describe('withdraws', () => {
    let withdrawn: string[];
    beforeEach(() => {
      withdrawn = [];
      shell.client = { tokenKeys: { withdraw: (id: string) => (withdrawn.push(id), Promise.resolve()) } };
    });

    it.each(['k', '-', '-h', '-5', '--', '--profile', '--output'])(
      'a key whose name begins with %s',
      async (beginning) => {
        const keyId = beginning.padEnd(43, 'a');
        expect(await shell.assay('key', 'withdraw', keyId)).toBe(0);
        expect(shell.out).toBe(`withdrawn: ${keyId}\n`);
        expect(await shell.assay('key', 'withdraw', keyId, '--output', 'json')).toBe(0);
        expect(await shell.assay('key', 'withdraw', '--output=json', '--', keyId)).toBe(0);
        expect(withdrawn).toEqual([keyId, keyId, keyId]);
      },
    );

    it('nothing where an option is not known, or no name of a key is given', async () => {
      const keyId = '-'.padEnd(43, 'a');
      expect(await shell.assay('key', 'withdraw', '--outptu', 'json', keyId)).toBe(2);
      expect(await shell.assay('key', 'withdraw', keyId, '--force')).toBe(2);
      expect(await shell.assay('key', 'withdraw', '--force')).toBe(2);
      expect(await shell.assay('key', 'withdraw')).toBe(2);
      expect(await shell.assay('key', 'withdraw', '-h')).toBe(0);
      expect(shell.out).toContain('Usage: assay key withdraw [options] <key>');
      expect(withdrawn).toEqual([]);
    });
  });
});
