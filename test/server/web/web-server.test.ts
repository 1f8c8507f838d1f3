import { once } from 'node:events';
import { request } from 'node:https';
import type { RequestOptions } from 'node:https';
import type { IncomingHttpHeaders } from 'node:http';
import { connect as dialPlain } from 'node:net';
import { connect } from 'node:tls';
import type { TLSSocket } from 'node:tls';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { toPem } from '../../../proto/tls-identity.ts';
import { WebServer } from '../../../server/web/web-server.ts';
import type { WebServerOptions } from '../../../server/web/web-server.ts';
import { issueServer, makeTestAuthority } from '../../support/tls.ts';
import type { TestAuthority } from '../../support/tls.ts';

const PATH = '/.well-known/jwks.json';
let authority: TestAuthority;
let server: WebServer;
let body: () => Promise<string>;
const faults: unknown[] = [];

beforeEach(async () => {
  authority = await makeTestAuthority();
  body = () => Promise.resolve('{"keys":[]}');
  await start();
});
afterEach(() => server.close(1_000));

async function start(change: Partial<WebServerOptions> = {}): Promise<void> {
  faults.length = 0;
  server = await WebServer.open({
    documents: new Map([[PATH, async () => ({ type: 'application/jwk-set+json', body: await body(), maxAge: 60 })]]),
    identity: await issueServer(authority),
    host: '127.0.0.1',
    port: 0,
    logger: { debug: () => undefined, error: (fields) => void faults.push(fields) },
    ...change,
  });
}

async function restart(change: Partial<WebServerOptions>): Promise<void> {
  await server.close(0);
  await start(change);
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

async function fetch(path: string, options: RequestOptions = {}, sent = ''): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const { port } = server.address();
  const call = request({
    ...{ host: 'localhost', port, path, ca: toPem(authority.certificate), agent: false },
    lookup: (_name, _options, found) => found(null, [{ address: '127.0.0.1', family: 4 }]),
    ...options,
  });
  call.on('error', reject);
  call.on('response', (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (part: string) => (text += part));
    response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }));
  });
  call.end(sent);
  return promise;
}

async function dial(change: object = {}): Promise<TLSSocket> {
  const { port } = server.address();
  const ca = toPem(authority.certificate);
  const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', ca, ...change });
  socket.on('error', () => undefined);
  const { promise, resolve } = Promise.withResolvers<void>();
  for (const event of ['secureConnect', 'close']) socket.once(event, () => resolve());
  await promise;
  return socket;
}

/** Everything that comes back until the server ends the connection. */
async function exchange(socket: TLSSocket, text: string): Promise<string> {
  let answer = '';
  socket.setEncoding('utf8').on('data', (part: string) => (answer += part));
  const closed = once(socket, 'close');
  socket.write(text);
  await closed;
  return answer;
}

describe('the web listener', () => {
  it('serves its document with what caches and browsers need to know', async () => {
    const answer = await fetch(PATH);
    expect(answer).toMatchObject({ status: 200, body: '{"keys":[]}' });
    expect(answer.headers).toMatchObject({
      'content-type': 'application/jwk-set+json',
      'content-length': '11',
      'cache-control': 'public, max-age=60',
      'access-control-allow-origin': '*',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'strict-transport-security': 'max-age=31536000',
      etag: expect.stringMatching(/^"[\w-]{43}"$/),
    });
  });

  it('answers HEAD without a body, and 304 to who has the document', async () => {
    const head = await fetch(PATH, { method: 'HEAD' });
    expect(head).toMatchObject({ status: 200, body: '' });
    expect(head.headers['content-length']).toBe('11');
    const etag = head.headers.etag ?? '';
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`]) {
      expect(await fetch(PATH, { headers: { 'If-None-Match': known } })).toMatchObject({ status: 304, body: '' });
    }
    body = () => Promise.resolve('{"keys":[1]}');
    expect((await fetch(PATH, { headers: { 'If-None-Match': etag } })).status).toBe(200);
  });

  it.each([
    ['another path', '/', {}, 404],
    ['a path that only ends well', `/x${PATH}`, {}, 404],
    ['a query', `${PATH}?x`, {}, 404],
    ['a way out', '/.well-known/../.well-known/jwks.json', {}, 404],
    ['POST', PATH, { method: 'POST' }, 405],
    ['DELETE', PATH, { method: 'DELETE' }, 405],
    ['TRACE', PATH, { method: 'TRACE' }, 405],
  ])('refuses %s', async (_name, path, options, status) => {
    const answer = await fetch(path, options);
    expect(answer).toMatchObject({ status, body: '' });
    expect(answer.headers['x-content-type-options']).toBe('nosniff');
  });

  it('reads no body', async () => {
    expect((await fetch(PATH, { method: 'GET', headers: { 'Content-Length': '4' } }, 'body')).status).toBe(413);
    expect((await fetch(PATH, { method: 'GET', headers: { 'Transfer-Encoding': 'chunked' } }, 'body')).status).toBe(
      413,
    );
  });

  it('says 503 and no more where the document cannot be made', async () => {
    body = () => Promise.reject(new Error('the store is gone'));
    const answer = await fetch(PATH);
    expect(answer).toMatchObject({ status: 503, body: '' });
    expect(faults).toHaveLength(1);
  });

  it('takes TLS 1.3 and HTTP/1.1 alone', async () => {
    const old = await dial({ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' });
    expect(old.authorized).toBe(false);
    const modern = await dial({ ALPNProtocols: ['h2', 'http/1.1'] });
    expect([modern.getProtocol(), modern.alpnProtocol]).toEqual(['TLSv1.3', 'http/1.1']);
    modern.destroy();
  });

  it.each([
    ['no HTTP', 'hello\r\n\r\n'],
    ['a header of 9 KiB', `GET ${PATH} HTTP/1.1\r\nHost: a\r\nX: ${'a'.repeat(9 * 1024)}\r\n\r\n`],
    ['two lengths', `GET ${PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n`],
    ['no host', `GET ${PATH} HTTP/1.1\r\n\r\n`],
  ])('answers %s with 400 and closes', async (_name, text) => {
    expect(await exchange(await dial(), text)).toMatch(/^HTTP\/1\.1 400 /);
    expect((await fetch(PATH)).status).toBe(200);
  });

  it('does not wait for who is slow: in the handshake, in the headers', async () => {
    await restart({ timeoutMillis: 2_000 });
    const { port } = server.address();
    const raw = dialPlain(port, '127.0.0.1');
    raw.on('error', () => undefined);
    const slow = await dial();
    slow.write(`GET ${PATH} HTTP/1.1\r\nHost:`);
    slow.resume();
    await Promise.all([once(raw, 'close'), once(slow, 'close')]);
    expect((await fetch(PATH)).status).toBe(200);
  });

  it('bounds the connections of one address, and lets them in again', async () => {
    await restart({ maxConnectionsPerAddress: 2 });
    const held = [await dial(), await dial()];
    expect((await dial()).authorized).toBe(false);
    const closed = Promise.all(held.map((socket) => once(socket, 'close')));
    for (const socket of held) socket.destroy();
    await closed;
    await expect.poll(async () => (await fetch(PATH).catch(() => undefined))?.status).toBe(200);
  });

  it('shows a renewed certificate', async () => {
    const serial = async (): Promise<string> => {
      const socket = await dial();
      const { serialNumber } = socket.getPeerCertificate();
      socket.destroy();
      return serialNumber;
    };
    const before = await serial();
    server.updateCredentials(await issueServer(authority));
    expect(await serial()).not.toBe(before);
  });

  it('says where it cannot listen', async () => {
    const { port } = server.address();
    const options = { documents: new Map(), identity: await issueServer(authority), host: '127.0.0.1', port };
    const logger = { debug: () => undefined, error: () => undefined };
    await expect(WebServer.open({ ...options, logger })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });
});
