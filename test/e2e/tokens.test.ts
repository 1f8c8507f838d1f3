/** Tokens of the real service: a host that is affirmed on a software TPM, checked by everybody who may want to. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { createLocalJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import type { JSONWebKeySet } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { fetchJwks, parseJwks } from '../../client/sdk/jwks.ts';
import { parseProfile } from '../../client/sdk/profile.ts';
import { verifyToken } from '../../client/sdk/verify-token.ts';
import { toPem } from '../../proto/tls-identity.ts';
import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy } from '../support/deployment.ts';
import { freePort, run, RunningProgram } from '../support/programs.ts';
import type { Ended } from '../support/programs.ts';

const execute = promisify(execFile);
const source = join(import.meta.dirname, '..', 'other-language', 'python', 'verify_token.py');
/** `npm test` makes it where Python is. */
const python = process.env['ASSAY_PYTHON'];
/** Where the system has it. */
const curl = ['/usr/bin/curl', '/bin/curl'].find((path) => existsSync(path));
const AUDIENCE = 'https://rp.example';

let deployment: Deployment;
let host: AttestedHost;
let url: string;
let authority: Buffer;
let ca: string;
beforeAll(async () => {
  const port = await freePort();
  url = `https://localhost:${port}/.well-known/jwks.json`;
  deployment = await Deployment.start({ configuration: [`web_listen: 127.0.0.1:${port}`, 'max_token_ttl: 10m'] });
  ({ authority } = parseProfile(await readFile(deployment.profile, 'utf8')));
  ca = await deployment.file('ca.pem', toPem(authority));
  await deployment.operator.policies.apply(policy('base', { quote: { interval: '1s', validity: '120s' } }));
  host = await AttestedHost.enrolled(deployment);
  host.runAgent();
  await affirmed();
});
afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
  await deployment?.[Symbol.asyncDispose]();
});

async function affirmed(): Promise<void> {
  await deployment.result(host.id, 'an affirmed host', ({ status }) => status === 'AFFIRMING');
}

const published = (): Promise<Buffer> => fetchJwks({ url: new URL(url), authority, now: () => new Date() });

/** A token by the command line, as a person gets it. */
async function tokenOf(...args: readonly string[]): Promise<string> {
  const ended = await deployment.assay('token', 'get', host.id, '--audience', AUDIENCE, ...args);
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  return ended.stdout.trim();
}

async function verify(token: string, ...args: readonly string[]): Promise<Ended> {
  const file = await deployment.file('token.jwt', token);
  return deployment.assay('token', 'verify', file, '--audience', AUDIENCE, ...args);
}

describe('a token of an affirmed host', () => {
  it('is verified by jose with the keys that are served by HTTPS', async () => {
    const keys = createLocalJWKSet(JSON.parse((await published()).toString()) as JSONWebKeySet);
    const options = { audience: AUDIENCE, algorithms: ['ES256'], typ: 'eat+jwt' };
    const { payload } = await jwtVerify(await tokenOf(), keys, options);
    expect(payload).toMatchObject({
      sub: `hosts/${host.id}`,
      ear_status: 'affirming',
      submods: { 'tpm20-host': { ear_status: 'affirming', ear_appraisal_policy_ids: ['trustPolicies/base@1'] } },
    });
  });

  it('is verified offline by the command, with keys of a file, and with those of the service', async () => {
    const jwks = await deployment.assay('key', 'jwks');
    expect(jwks.stdout.trim()).toBe((await published()).toString());
    const file = await deployment.file('keys.json', jwks.stdout);
    const nonce = Buffer.alloc(16, 3).toString('base64url');
    const token = await tokenOf('--nonce', nonce);
    const expected = ['--host', host.id, '--nonce', nonce];
    expect(await verify(token, '--jwks', file, ...expected)).toMatchObject({ code: 0, stderr: '' });
    expect(await verify(token, '--jwks', url, ...expected)).toMatchObject({ code: 0, stderr: '' });
    expect(await verify(token, '--jwks', file, '--host', `h-${'a'.repeat(26)}`)).toMatchObject({ code: 1 });
    // Nobody but the verifier's own machine is needed.
    const alone = await run('assay', ['token', 'verify', '--jwks', file, '--audience', AUDIENCE], {
      env: { ASSAY_PROFILE: '/none' },
      input: token,
    });
    expect(alone).toMatchObject({ code: 0, stderr: '' });
  });

  it('never outlives its result', async () => {
    const token = await handed();
    const { validUntil } = await deployment.operator.results.get(host.id);
    const { iat = 0, exp = 0 } = decodeJwt(token);
    // The policy's validity is 2 min, the longest life of a token 10 min.
    expect(exp - iat).toBeLessThanOrEqual(120);
    expect(exp * 1000).toBeLessThanOrEqual(validUntil?.getTime() ?? 0);
  });

  it.runIf(python)('is verified by PyJWT in Python, which refuses it for others', async () => {
    const token = await tokenOf();
    const check = async (change: Readonly<Record<string, string>>, input = token): Promise<unknown> => {
      const options = { jwks: url, ca, audience: AUDIENCE, host: host.id, ...change };
      const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
      await using program = new RunningProgram(python ?? '', [source, ...args], { input });
      const { stdout, stderr } = await program.end();
      expect(stderr).toBe('');
      return JSON.parse(stdout);
    };
    expect(await check({})).toMatchObject({ sub: `hosts/${host.id}`, ear_status: 'affirming' });
    expect(await check({ audience: 'https://other.example' })).toMatchObject({ refused: 'InvalidAudienceError' });
    expect(await check({ host: `h-${'a'.repeat(26)}` })).toMatchObject({ message: 'another host' });
    const [head, payload, signature = ''] = token.split('.');
    const turned = `${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`;
    expect(await check({}, `${head}.${payload}.${turned}`)).toMatchObject({ refused: 'InvalidSignatureError' });
    const report = await deployment.assay('report', '--format', 'jwt', '--audience', AUDIENCE);
    expect(await check({}, report.stdout)).toMatchObject({ message: 'not an attestation result' });
  });
});

describe('the HTTPS listener', () => {
  it.runIf(curl)('serves the keys to curl, and nothing else', async () => {
    const ask = async (...args: readonly string[]): Promise<string> =>
      (await execute(curl ?? '', ['--silent', '--show-error', '--cacert', ca, '--include', ...args])).stdout;
    const answer = await ask(url);
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(answer).toContain('application/jwk-set+json');
    expect(answer.endsWith((await published()).toString())).toBe(true);
    expect(await ask(new URL('/', url).href)).toMatch(/^HTTP\/1\.1 404 /);
    expect(await ask('--data', 'x', url)).toMatch(/^HTTP\/1\.1 405 /);
  });

  it('is believed with the CA of the service alone', async () => {
    const other = await Deployment.start();
    try {
      const theirs = parseProfile(await readFile(other.profile, 'utf8')).authority;
      const query = { url: new URL(url), authority: theirs, now: () => new Date() };
      await expect(fetchJwks(query)).rejects.toMatchObject({ code: 'KEYS_UNREACHABLE' });
    } finally {
      await other[Symbol.asyncDispose]();
    }
  });
});

describe('the report of the platform', () => {
  it('counts the host, and is verified offline as jwt', async () => {
    const text = await deployment.assay('report');
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout).toMatch(/^AFFIRMING +1$/m);
    const jwt = await deployment.assay('report', '--format', 'jwt', '--audience', AUDIENCE);
    const file = await deployment.file('keys.json', (await published()).toString());
    const verified = await verify(jwt.stdout, '--jwks', file);
    expect(verified).toMatchObject({ code: 0, stderr: '' });
    expect(verified.stdout).toMatch(/^AFFIRMING +1$/m);
  });
});

/** The same without a process of its own: what is under test there is the service. */
async function handed(): Promise<string> {
  return (await deployment.operator.results.token(host.id, { audience: AUDIENCE })).jwt;
}

async function holds(jwt: string): Promise<unknown> {
  return verifyToken(jwt, { keys: await parseJwks(await published()), now: new Date(), audience: AUDIENCE });
}

describe('the keys', () => {
  it('survive a service that is killed', async () => {
    const token = await handed();
    await deployment.stop('SIGKILL');
    await deployment.serve();
    expect(await holds(token)).toMatchObject({ host: `hosts/${host.id}` });
    await affirmed();
    expect(decodeProtectedHeader(await handed()).kid).toBe(decodeProtectedHeader(token).kid);
  });

  it('rotate: tokens of the former key hold on, new ones name the new key, and who has the old set is told', async () => {
    await affirmed();
    const former = await handed();
    const old = join(deployment.directory, 'old.json');
    await writeFile(old, await published());
    const rotated = await deployment.assay('key', 'rotate');
    expect(rotated).toMatchObject({ code: 0, stderr: '' });
    const token = await handed();
    expect(decodeProtectedHeader(token).kid).not.toBe(decodeProtectedHeader(former).kid);
    expect(rotated.stdout).toContain(decodeProtectedHeader(token).kid);
    for (const jwt of [former, token]) expect(await holds(jwt)).toMatchObject({ status: 'affirming' });
    const stale = await verify(token, '--jwks', old);
    expect(stale).toMatchObject({ code: 1, stderr: expect.stringContaining('TOKEN_KEY_UNKNOWN') });
    const listed = await deployment.assay('key', 'list');
    expect(listed.stdout.match(/\b(?:signs|retired)\b/g)).toEqual(['signs', 'retired']);
    expect(await deployment.assay('key', 'withdraw', decodeProtectedHeader(former).kid ?? '')).toMatchObject({
      code: 0,
    });
    await expect(holds(former)).rejects.toMatchObject({ code: 'TOKEN_KEY_UNKNOWN' });
  });
});

describe('a host that turns bad', () => {
  it('has a token that says so, for a minute at most', async () => {
    await host.tamper();
    await deployment.result(host.id, 'a verdict', ({ status }) => status === 'CONTRAINDICATED');
    const token = await tokenOf();
    const { iat = 0, exp = 0 } = decodeJwt(token);
    expect(exp - iat).toBeLessThanOrEqual(60);
    const verified = await verify(token, '--jwks', url);
    expect(verified).toMatchObject({ code: 5, stderr: '' });
    expect(verified.stdout).toContain('PCR_MISMATCH');
    const report = await deployment.assay('report', '--format', 'markdown');
    expect(report.stdout).toContain(String.raw`PCR\_MISMATCH`);
  });
});
