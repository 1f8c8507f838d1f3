import { randomBytes } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { beforeEach, expect, test } from 'vitest';
import { attest } from '../../../client/agent/attest.ts';
import type { Attester, StreamEvents } from '../../../client/agent/attest.ts';
import { collectLogs } from '../../../client/agent/collect.ts';
import { MeasurementWatch } from '../../../client/agent/watch.ts';
import type { AttestationService, AttestIncoming, AttestOutgoing, Challenge } from '../../../client/sdk/evidence.ts';
import type { AttestationResult } from '../../../client/sdk/resources.ts';
import { attestationBinding, factsDigest } from '../../../proto/transcript.ts';
import { decodeAttest } from '../../../tpm/structures/attest.ts';
import { SoftwareTpm } from '../support/software-tpm.ts';

const facts = { hostname: 'h', os: 'o', kernel: 'k', agentVersion: '1', bootId: 'b' };
const tlsKeySha256 = randomBytes(32);
const hostId = `h-${'a'.repeat(26)}`;
const result = { status: 'AFFIRMING' } as AttestationResult;
const { signal } = new AbortController();

const challenge = (changes: Partial<Challenge> = {}): AttestIncoming => ({
  kind: 'challenge',
  challenge: { nonce: Buffer.alloc(32, 5), selection: [], allBanks: true, logs: [], deadlineSeconds: 30, ...changes },
});

/** The service's side: for each entry it waits until so many messages came in, then says its part. */
class FakeStream implements AttestationService {
  readonly received: AttestOutgoing[] = [];
  readonly #script: readonly (readonly [number, AttestIncoming])[];
  closed = false;

  constructor(...script: readonly (readonly [after: number, AttestIncoming])[]) {
    this.#script = script;
  }

  async *attest(outgoing: AsyncIterable<AttestOutgoing>): AsyncGenerator<AttestIncoming> {
    const source = outgoing[Symbol.asyncIterator]();
    try {
      for (const [after, message] of this.#script) {
        while (this.received.length < after) {
          const next = await source.next();
          if (next.done === true) return;
          this.received.push(next.value);
        }
        yield message;
      }
    } finally {
      this.closed = true;
    }
  }
}

let tpm: SoftwareTpm;
let attester: Attester;
let told: string[];
let newKey: Buffer;
const accepted: Buffer[] = [];

const events: StreamEvents = {
  accepted: async () => void told.push('accepted'),
  result: ({ status }) => void told.push(status),
  pending: (message) => void told.push(`pending ${message}`),
  torn: (reason, attempt) => void told.push(`${reason} ${attempt}`),
  wished: (logs) => void told.push(`wished ${logs.join()}`),
};

beforeEach(async () => {
  tpm = new SoftwareTpm();
  told = [];
  accepted.length = 0;
  newKey = Buffer.alloc(0);
  const [ek] = await tpm.endorsementKeys();
  if (ek === undefined) throw new TypeError('the software tpm has an ek');
  attester = {
    tpm,
    ak: await tpm.loadAk(ek, await tpm.createAk(ek)),
    hostId,
    tlsKeySha256,
    agentVersion: '1',
    collectFacts: () => Promise.resolve(facts),
    collectLogs: (requests) =>
      collectLogs(() => Promise.resolve(Buffer.alloc(300_000, 1)), { boot: 'b', userspace: 'u', ima: 'i' }, requests),
    renewer: {
      newPublicKey: () => Promise.resolve(newKey),
      accept: async ({ clientCertificate }) => void accepted.push(clientCertificate),
    },
    watch: undefined,
  };
});

test('says hello first and binds nonce, host, TLS key and facts into the quote', async () => {
  const stream = new FakeStream([1, challenge()], [2, { kind: 'result', result }]);
  expect(await attest(attester, stream, { events, signal })).toBe('ended');
  expect(told).toEqual(['accepted', 'AFFIRMING']);
  expect(stream.received[0]).toEqual({
    kind: 'hello',
    akName: attester.ak.name,
    bootState: { resetCount: 1, restartCount: 0 },
    agentVersion: '1',
  });
  const [, message] = stream.received;
  if (message?.kind !== 'evidence') throw new TypeError('no evidence came');
  const { evidence } = message;
  const binding = { nonce: Buffer.alloc(32, 5), hostId, tlsKeySha256, facts: factsDigest(facts) };
  expect(decodeAttest(evidence.quote.attest).extraData).toEqual(attestationBinding(binding));
  expect(evidence.bankProof?.attest.toString()).toBe('audit attest');
  expect(evidence.pcrValues).toHaveLength(24);
});

test('quotes exactly the selection that was asked for, without a proof of the banks', async () => {
  const stream = new FakeStream(
    [1, challenge({ allBanks: false, selection: [{ hash: 0x0b, pcrs: [0, 7] }] })],
    [2, { kind: 'result', result }],
  );
  await attest(attester, stream, { events, signal });
  const [, message] = stream.received;
  if (message?.kind !== 'evidence') throw new TypeError('no evidence came');
  expect(message.evidence.pcrValues.map(({ index }) => index)).toEqual([0, 7]);
  expect(message.evidence.bankProof).toBeUndefined();
});

test('sends the logs behind the evidence, in order and in chunks', async () => {
  const logs = [
    { kind: 1, offset: 0 },
    { kind: 3, offset: 1000 },
  ];
  const stream = new FakeStream([1, challenge({ logs })], [6, { kind: 'result', result }]);
  await attest(attester, stream, { events, signal });
  const chunks = stream.received.flatMap((message) => (message.kind === 'chunk' ? [message.chunk] : []));
  expect(chunks.map(({ kind, offset, data }) => [kind, offset, data.length])).toEqual([
    [1, 0, 262_144],
    [1, 262_144, 37_856],
    [3, 1000, 262_144],
    [3, 263_144, 37_856],
  ]);
});

test('a new TLS key stands in the bound facts, and its certificate ends the stream once the round is over', async () => {
  newKey = Buffer.from('new key');
  const renewal = {
    kind: 'renewal',
    clientCertificate: Buffer.from('c'),
    authorityCertificate: Buffer.from('a'),
  } as const;
  const stream = new FakeStream([1, challenge()], [2, renewal], [2, { kind: 'result', result }], [2, challenge()]);
  expect(await attest(attester, stream, { events, signal })).toBe('renewed');
  expect(told).toEqual(['accepted', 'AFFIRMING']);
  expect(accepted).toEqual([Buffer.from('c')]);
  expect(stream.closed).toBe(true);
  const [, message] = stream.received;
  if (message?.kind !== 'evidence') throw new TypeError('no evidence came');
  const binding = { nonce: Buffer.alloc(32, 5), hostId, tlsKeySha256, facts: factsDigest(facts, newKey) };
  expect(decodeAttest(message.evidence.quote.attest).extraData).toEqual(attestationBinding(binding));
});

test('a renewal after the result ends the stream at once', async () => {
  const renewal = {
    kind: 'renewal',
    clientCertificate: Buffer.from('c'),
    authorityCertificate: Buffer.from('a'),
  } as const;
  const stream = new FakeStream([1, challenge()], [2, { kind: 'result', result }], [2, renewal], [2, challenge()]);
  expect(await attest(attester, stream, { events, signal })).toBe('renewed');
});

test('tells that the host waits and that evidence was torn, and answers the next challenge', async () => {
  const stream = new FakeStream(
    [1, { kind: 'pending', message: 'wait' }],
    [1, challenge()],
    [2, { kind: 'torn', reason: 'EVIDENCE_TORN', attempt: 1 }],
    [2, challenge()],
    [3, { kind: 'result', result }],
  );
  await attest(attester, stream, { events, signal });
  expect(told).toEqual(['accepted', 'pending wait', 'EVIDENCE_TORN 1', 'AFFIRMING']);
});

test('wishes for a challenge when something was measured after its quote, and looks no longer than the stream lasts', async () => {
  let looks = 0;
  const gauge = {
    // It grows with each quote, so that the first look after the evidence sees more.
    read: () => Promise.resolve({ userspace: 0, ima: tpm.calls.filter((call) => call === 'quote').length }),
  };
  const watch = new MeasurementWatch(gauge, {
    pauseMillis: 5000,
    sleep: async () => {
      looks += 1;
      await setImmediate();
    },
  });
  const logs = [{ kind: 3, offset: 0 }];
  const stream = new FakeStream([1, challenge({ logs })], [4, { kind: 'result', result }], [5, challenge({ logs })]);
  expect(await attest({ ...attester, watch }, stream, { events, signal })).toBe('ended');
  expect(stream.received.map(({ kind }) => kind)).toEqual(['hello', 'evidence', 'chunk', 'chunk', 'wish']);
  expect(stream.received.at(-1)).toEqual({ kind: 'wish', reason: 'new measurements: ima' });
  expect(told).toEqual(['accepted', 'AFFIRMING', 'wished ima']);
  const before = looks;
  await setImmediate();
  await setImmediate();
  expect(looks).toBe(before);
});

test.each([
  { name: 'a short nonce', changes: { nonce: Buffer.alloc(20) } },
  { name: 'no selection at all', changes: { allBanks: false } },
  { name: 'all banks and a selection', changes: { selection: [{ hash: 0x0b, pcrs: [0] }] } },
  { name: 'a PCR that does not exist', changes: { allBanks: false, selection: [{ hash: 0x0b, pcrs: [24] }] } },
  { name: 'a bank without PCRs', changes: { allBanks: false, selection: [{ hash: 0x0b, pcrs: [] }] } },
  { name: 'a log from no position', changes: { logs: [{ kind: 1, offset: Number.MAX_VALUE }] } },
])('signs nothing for a challenge with $name', async ({ changes }) => {
  const stream = new FakeStream([1, challenge(changes)]);
  await expect(attest(attester, stream, { events, signal })).rejects.toMatchObject({ code: 'bad_challenge' });
  expect(tpm.calls).not.toContain('quote');
  expect(stream.closed).toBe(true);
});
