import { createHash, createHmac, hkdfSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  attestationBinding,
  bankProofBinding,
  enrollmentKey,
  enrollmentOutcomeDigest,
  enrollmentOutcomeMac,
  enrollmentProofMac,
  enrollmentQuoteBinding,
  enrollmentTranscript,
  factsDigest,
  logsDigest,
  pcrValuesDigest,
} from '../../proto/transcript.ts';

/**
 * The published vectors. They are computed twice: by the functions that both sides use, and by the few lines below, which are
 * written from docs/protocol.md ("Digests") and share nothing with them.
 */

interface Facts {
  readonly hostname: string;
  readonly os: string;
  readonly kernel: string;
  readonly agentVersion: string;
  readonly bootId: string;
}

interface Reading {
  readonly algorithm: number;
  readonly index: number;
  readonly digest: string;
}

/** Offset and size in decimal: they may be larger than a double holds. */
interface Log {
  readonly kind: number;
  readonly offset: string;
  readonly size: string;
  readonly sha256: string;
  readonly unreadable: string;
}

/** Bytes are hexadecimal. */
interface Inputs {
  readonly facts: { readonly facts: Facts; readonly newTlsPublicKey: string };
  readonly enrollBegin: {
    readonly enrollmentId: string;
    readonly ekNames: readonly string[];
    readonly parentIndex: number;
    readonly akName: string;
    readonly tlsKeySha256: string;
    readonly credentials: readonly { readonly credentialBlob: string; readonly encryptedSecret: string }[];
    readonly nonce: string;
    readonly expireMillis: number;
  };
  readonly enrollQuote: { readonly nonce: string; readonly transcript: string; readonly facts: string };
  readonly attest: {
    readonly nonce: string;
    readonly hostId: string;
    readonly tlsKeySha256: string;
    readonly facts: string;
  };
  readonly banks: { readonly quoteBinding: string };
  readonly pcrValues: { readonly values: readonly Reading[] };
  readonly logs: { readonly logs: readonly Log[] };
  readonly enrollKey: { readonly secrets: readonly string[]; readonly transcript: string };
  readonly enrollProof: {
    readonly key: string;
    readonly transcript: string;
    readonly attest: string;
    readonly signature: string;
    readonly pcrValues: readonly Reading[];
    readonly bankProof: { readonly capabilityData: string; readonly attest: string; readonly signature: string };
    readonly facts: string;
    readonly logs: readonly Log[];
  };
  readonly enrollOutcome: {
    readonly transcript: string;
    readonly proofMac: string;
    readonly hostId: string;
    readonly state: number;
    readonly replacementPending: boolean;
    readonly akCertificate: string;
    readonly clientCertificate: string;
  };
  readonly enrollAccept: { readonly key: string; readonly outcomeDigest: string };
}

type Kind = keyof Inputs;

interface Vector<K extends Kind> {
  readonly name: string;
  readonly input: Inputs[K];
  /** The bytes that are hashed. */
  readonly encoded: string;
  readonly output: string;
}

type Vectors = { readonly [K in Kind]: readonly Vector<K>[] };

const { vectors } = JSON.parse(
  readFileSync(join(import.meta.dirname, '..', 'vectors', 'transcripts.json'), 'utf8'),
) as { readonly vectors: Vectors };

/** What the page says, in hexadecimal throughout: a field is its length in eight digits, then itself. */
const field = (hex: string): string => (hex.length / 2).toString(16).padStart(8, '0') + hex;
const ascii = (text: string): string =>
  field([...text].map((c) => c.charCodeAt(0).toString(16).padStart(2, '0')).join(''));
const utf8 = (text: string): string => field(Buffer.from(text, 'utf8').toString('hex'));
const number = (value: number | string): string => field(BigInt(value).toString(16).padStart(16, '0'));
const list = <T>(items: readonly T[], each: (item: T) => string): string =>
  number(items.length) + items.map(each).join('');
const hash = (hex: string): string => createHash('sha256').update(hex, 'hex').digest('hex');
const mac = (key: string, hex: string): string =>
  createHmac('sha256', Buffer.from(key, 'hex')).update(hex, 'hex').digest('hex');

const encodedReadings = (values: readonly Reading[]): string =>
  ascii('assay.v1 pcr values') + list(values, (v) => number(v.algorithm) + number(v.index) + field(v.digest));
const encodedLogs = (logs: readonly Log[]): string =>
  ascii('assay.v1 logs') +
  list(logs, (l) => number(l.kind) + number(l.offset) + number(l.size) + field(l.sha256) + utf8(l.unreadable));

/** The page, row by row: what is hashed, and what becomes of it. */
const page: {
  readonly [K in Kind]: {
    readonly encode: (input: Inputs[K]) => string;
    readonly finish: (hex: string, input: Inputs[K]) => string;
  };
} = {
  facts: {
    encode: ({ facts: f, newTlsPublicKey }) =>
      ascii('assay.v1 facts') +
      [f.hostname, f.os, f.kernel, f.agentVersion, f.bootId].map(utf8).join('') +
      field(newTlsPublicKey),
    finish: hash,
  },
  enrollBegin: {
    encode: (i) =>
      ascii('assay.v1 enroll begin') +
      field(i.enrollmentId) +
      list(i.ekNames, field) +
      number(i.parentIndex) +
      field(i.akName) +
      field(i.tlsKeySha256) +
      list(i.credentials, (c) => field(c.credentialBlob) + field(c.encryptedSecret)) +
      field(i.nonce) +
      number(i.expireMillis),
    finish: hash,
  },
  enrollQuote: {
    encode: (i) => ascii('assay.v1 enroll quote') + field(i.nonce) + field(i.transcript) + field(i.facts),
    finish: hash,
  },
  attest: {
    encode: (i) => ascii('assay.v1 attest') + field(i.nonce) + utf8(i.hostId) + field(i.tlsKeySha256) + field(i.facts),
    finish: hash,
  },
  banks: { encode: (i) => ascii('assay.v1 banks') + field(i.quoteBinding), finish: hash },
  pcrValues: { encode: ({ values }) => encodedReadings(values), finish: hash },
  logs: { encode: ({ logs }) => encodedLogs(logs), finish: hash },
  enrollKey: {
    encode: ({ secrets }) => ascii('assay.v1 enroll secrets') + list(secrets, field),
    // RFC 5869 in its two steps: extract with the transcript as salt, expand to one block.
    finish: (material, { transcript }) =>
      mac(mac(transcript, material), `${Buffer.from('assay.v1 enroll key').toString('hex')}01`),
  },
  enrollProof: {
    encode: (i) =>
      ascii('assay.v1 enroll proof') +
      field(i.transcript) +
      field(hash(i.attest)) +
      field(hash(i.signature)) +
      field(hash(encodedReadings(i.pcrValues))) +
      field(hash(i.bankProof.capabilityData)) +
      field(hash(i.bankProof.attest)) +
      field(hash(i.bankProof.signature)) +
      field(i.facts) +
      field(hash(encodedLogs(i.logs))),
    finish: (hex, { key }) => mac(key, hex),
  },
  enrollOutcome: {
    encode: (i) =>
      ascii('assay.v1 enroll outcome') +
      field(i.transcript) +
      field(i.proofMac) +
      utf8(i.hostId) +
      number(i.state) +
      number(i.replacementPending ? 1 : 0) +
      field(hash(i.akCertificate)) +
      field(hash(i.clientCertificate)),
    finish: hash,
  },
  enrollAccept: {
    encode: ({ outcomeDigest }) => ascii('assay.v1 enroll accept') + field(outcomeDigest),
    finish: (hex, { key }) => mac(key, hex),
  },
};

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');
const readings = (values: readonly Reading[]) => values.map((value) => ({ ...value, digest: bytes(value.digest) }));
const announcements = (logs: readonly Log[]) =>
  logs.map((log) => ({ ...log, offset: BigInt(log.offset), size: BigInt(log.size), sha256: bytes(log.sha256) }));

/** The functions of the programs. */
const programs: { readonly [K in Kind]: (input: Inputs[K]) => Buffer } = {
  facts: ({ facts, newTlsPublicKey }) => factsDigest(facts, bytes(newTlsPublicKey)),
  enrollBegin: (i) =>
    enrollmentTranscript({
      enrollmentId: bytes(i.enrollmentId),
      ekNames: i.ekNames.map(bytes),
      parentIndex: i.parentIndex,
      akName: bytes(i.akName),
      tlsKeySha256: bytes(i.tlsKeySha256),
      credentials: i.credentials.map((c) => ({
        credentialBlob: bytes(c.credentialBlob),
        encryptedSecret: bytes(c.encryptedSecret),
      })),
      nonce: bytes(i.nonce),
      expireMillis: i.expireMillis,
    }),
  enrollQuote: (i) =>
    enrollmentQuoteBinding({ nonce: bytes(i.nonce), transcript: bytes(i.transcript), facts: bytes(i.facts) }),
  attest: (i) =>
    attestationBinding({
      nonce: bytes(i.nonce),
      hostId: i.hostId,
      tlsKeySha256: bytes(i.tlsKeySha256),
      facts: bytes(i.facts),
    }),
  banks: ({ quoteBinding }) => bankProofBinding(bytes(quoteBinding)),
  pcrValues: ({ values }) => pcrValuesDigest(readings(values)),
  logs: ({ logs }) => logsDigest(announcements(logs)),
  enrollKey: ({ secrets, transcript }) => enrollmentKey(secrets.map(bytes), bytes(transcript)),
  enrollProof: (i) =>
    enrollmentProofMac(bytes(i.key), {
      transcript: bytes(i.transcript),
      attest: bytes(i.attest),
      signature: bytes(i.signature),
      pcrValues: readings(i.pcrValues),
      bankProof: {
        capabilityData: bytes(i.bankProof.capabilityData),
        attest: bytes(i.bankProof.attest),
        signature: bytes(i.bankProof.signature),
      },
      facts: bytes(i.facts),
      logs: announcements(i.logs),
    }),
  enrollOutcome: (i) =>
    enrollmentOutcomeDigest({
      transcript: bytes(i.transcript),
      proofMac: bytes(i.proofMac),
      hostId: i.hostId,
      state: i.state,
      replacementPending: i.replacementPending,
      akCertificate: bytes(i.akCertificate),
      clientCertificate: bytes(i.clientCertificate),
    }),
  enrollAccept: ({ key, outcomeDigest }) => enrollmentOutcomeMac(bytes(key), bytes(outcomeDigest)),
};

/** One row of each kind keeps its types together; the table below only needs what can be run. */
function rowsOf<K extends Kind>(kind: K) {
  return vectors[kind].map(({ name, input, encoded, output }) => ({
    title: `${kind}: ${name}`,
    encoded,
    output,
    asThePageSays: () => page[kind].encode(input),
    finished: () => page[kind].finish(encoded, input),
    asTheProgramsDo: () => programs[kind](input).toString('hex'),
  }));
}

const kinds = Object.keys(page) as Kind[];
const rows = kinds.flatMap((kind) => rowsOf(kind));

describe('a published vector', () => {
  test('is there for every digest', () => {
    expect(Object.keys(vectors)).toEqual(kinds);
    expect(kinds.filter((kind) => vectors[kind].length === 0)).toEqual([]);
  });

  test.each(rows)('$title, encodes as the page says', ({ asThePageSays, encoded }) => {
    expect(asThePageSays()).toBe(encoded);
  });

  test.each(rows)('$title, has this digest', ({ finished, output }) => {
    expect(finished()).toBe(output);
  });

  test.each(rows)('$title, is what the programs compute', ({ asTheProgramsDo, output }) => {
    expect(asTheProgramsDo()).toBe(output);
  });

  test.each(rows)('$title, stands in the page', ({ output }) => {
    expect(readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'protocol.md'), 'utf8')).toContain(output);
  });
});

describe('a digest', () => {
  test('differs from every other, and so does what is hashed', () => {
    expect(new Set(rows.map(({ output }) => output)).size).toBe(rows.length);
    expect(new Set(rows.map(({ encoded }) => encoded)).size).toBe(rows.length);
  });

  test('tells apart fields that run into each other', () => {
    const facts = { hostname: 'ab', os: 'c', kernel: '', agentVersion: '', bootId: '' };
    expect(factsDigest(facts)).not.toEqual(factsDigest({ ...facts, hostname: 'a', os: 'bc' }));
  });

  test('takes no number that eight bytes do not hold', () => {
    const log = { kind: 1, offset: 2n ** 64n, size: 0, sha256: Buffer.alloc(0), unreadable: '' };
    expect(() => logsDigest([log])).toThrow(RangeError);
    expect(() => logsDigest([{ ...log, offset: -1n }])).toThrow(RangeError);
  });

  test('of the key is what HKDF of the library yields', () => {
    const [vector] = vectors.enrollKey;
    expect(vector).toBeDefined();
    if (vector === undefined) return;
    const { input, encoded, output } = vector;
    const derived = hkdfSync('sha256', bytes(encoded), bytes(input.transcript), 'assay.v1 enroll key', 32);
    expect(Buffer.from(derived).toString('hex')).toBe(output);
  });
});
