import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Challenge, RoundEvidence } from '../../server/attestation/messages.ts';
import { KeptKey } from '../../server/attestation/kept-key.ts';
import { NO_RUNTIME } from '../../server/attestation/known-runtime.ts';
import { judgeRound, proveRound } from '../../server/attestation/round.ts';
import { UNASKED } from '../../server/attestation/round-runtime.ts';
import type { RoundContext } from '../../server/attestation/round.ts';
import { Appraiser } from '../../server/policy/appraiser.ts';
import { SharedParts } from '../../server/policy/shared-parts.ts';
import { completeEnrollment } from '../../server/enrollment/complete.ts';
import { EnrollmentError } from '../../server/enrollment/enrollment-error.ts';
import { EnrollmentLimits } from '../../server/enrollment/enrollment-limits.ts';
import { proveEnrollment } from '../../server/enrollment/prove.ts';
import type { EnrollmentProof } from '../../server/enrollment/prove.ts';
import { collectLogs, LogError } from '../../server/verifier/collect-logs.ts';
import { EvidenceError } from '../../server/verifier/evidence-error.ts';
import { announce, announcementOf, chunksOf, feedOf } from '../support/evidence-builder.ts';
import type { Log } from '../support/evidence-builder.ts';
import { RealHost } from '../support/real-evidence.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { startSwtpm } from '../support/swtpm.ts';
import type { Swtpm } from '../support/swtpm.ts';
import { importCertificates, openHouse, putPolicy } from '../support/test-service.ts';
import type { House } from '../support/test-service.ts';
import { FakeClock } from '../server/store/contract/harness.ts';

const SEED = Number(process.env['ASSAY_FUZZ_SEED'] ?? 20_261_125);
/** Of so many bytes of a part every other value is tried, and one of those behind. */
const THOROUGH = 64;
const LOGS: readonly Log[] = [
  { kind: 'boot', data: Buffer.from('a boot log') },
  { kind: 'ima', data: Buffer.from('a list') },
];

let swtpm: Swtpm;
let house: House;
let host: RealHost;
let proof: EnrollmentProof;
let context: RoundContext;
let evidence: RoundEvidence;
beforeAll(async () => {
  swtpm = await startSwtpm();
  const clock = new FakeClock();
  clock.wall = Date.now();
  house = await openHouse({ clock, anchors: false });
  await importCertificates(house.store, ...swtpm.caCertificates.map(({ pem }) => Buffer.from(pem)));
  await putPolicy(house.store, {
    pcrRules: [{ bank: 'sha256', index: 16, allowed: ['00'.repeat(32)], severity: undefined, message: '' }],
  });
  host = await RealHost.open(swtpm.tcti);
  proof = await host.proof(house, LOGS);
  const nextChunk = feedOf(LOGS.flatMap((log) => chunksOf(log)));
  const enrolled = await completeEnrollment(house.complete, { proof, caller: host.caller, nextChunk });
  const challenge: Challenge = {
    nonce: Buffer.alloc(32, 0x17),
    selection: 'all',
    logs: LOGS.map(({ kind }) => ({ kind, offset: 0 })),
    time: house.store.now(),
  };
  const { applicable, epoch } = await house.services.policies.resolve(enrolled.host);
  context = {
    host: enrolled.host,
    ak: new KeptKey(enrolled.host.ak),
    challenge,
    // One for all that follow: none is taken for another.
    appraiser: new Appraiser(new SharedParts()),
    applicable,
    endorsed: true,
    facts: { host: enrolled.host, certified: true },
    revoked: null,
    endorsementEnds: null,
    epochs: { policy: epoch, endorsement: 0 },
    tlsKeySha256: host.tls.sha256.toString('hex'),
    streamEpoch: 0,
    boot: null,
    runtime: NO_RUNTIME,
    logs: [],
  };
  evidence = await host.evidence(enrolled.host.id, challenge, LOGS);
});
afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
  await house?.[Symbol.asyncDispose]();
  await swtpm?.stop();
});

/** A part of evidence: its bytes, and the evidence with other ones in their place. */
interface Part<T> {
  readonly name: string;
  readonly bytes: (whole: T) => Buffer;
  readonly put: (whole: T, bytes: Buffer) => T;
}

/** Calls back with every change of a part; answers how many there were. */
function sweep<T>(
  whole: T,
  { bytes, put }: Part<T>,
  tried: (changed: T, place: string) => void,
  thorough = THOROUGH,
): number {
  const random = new SeededRandom(SEED);
  const original = bytes(whole);
  expect(original.length).toBeGreaterThan(0);
  let count = 0;
  for (let at = 0; at < original.length; at += 1) {
    const masks = at < thorough ? Array.from({ length: 255 }, (_, index) => index + 1) : [1 + random.below(255)];
    for (const mask of masks) {
      const copy = Buffer.from(original);
      copy.writeUInt8((original[at] ?? 0) ^ mask, at);
      tried(put(whole, copy), `seed ${SEED}, byte ${at} xor ${mask}`);
      count += 1;
    }
  }
  return count;
}

/** Values of every bank as one row of bytes. */
function valuesOf({ pcrValues }: Pick<RoundEvidence, 'pcrValues'>): Buffer {
  return Buffer.concat([...pcrValues.values()].flatMap((bank) => [...bank.values()]));
}

function withValues<T extends Pick<RoundEvidence, 'pcrValues'>>(whole: T, bytes: Buffer): T {
  let at = 0;
  const take = (length: number): Buffer => bytes.subarray(at, (at += length));
  const pcrValues = new Map(
    [...whole.pcrValues].map(([hash, bank]) => [
      hash,
      new Map([...bank].map(([index, value]) => [index, take(value.length)])),
    ]),
  );
  return { ...whole, pcrValues };
}

/** Text in a character set of single bytes, so that each byte of it may have every value. */
function withFacts<T extends Pick<RoundEvidence, 'facts'>>(whole: T, bytes: Buffer): T {
  let at = 0;
  const take = (text: string): string => bytes.subarray(at, (at += text.length)).toString('latin1');
  const { hostname, os, kernel, agentVersion, bootId } = whole.facts;
  const facts = {
    hostname: take(hostname),
    os: take(os),
    kernel: take(kernel),
    agentVersion: take(agentVersion),
    bootId: take(bootId),
  };
  return { ...whole, facts };
}

const factsOf = ({ facts }: Pick<RoundEvidence, 'facts'>): Buffer =>
  Buffer.from(Object.values(facts).join(''), 'latin1');

const bankPart = (key: 'capabilityData' | 'attest' | 'signature'): Part<RoundEvidence> => ({
  name: `the ${key} of the proof of the banks`,
  bytes: ({ bankProof }) => bankProof?.[key] ?? Buffer.alloc(0),
  put: (whole, bytes) => ({
    ...whole,
    bankProof: whole.bankProof === null ? null : { ...whole.bankProof, [key]: bytes },
  }),
});

const QUOTED: readonly Part<RoundEvidence>[] = [
  { name: 'the quote', bytes: ({ attest }) => attest, put: (whole, attest) => ({ ...whole, attest }) },
  { name: 'the signature', bytes: ({ signature }) => signature, put: (whole, signature) => ({ ...whole, signature }) },
  { name: 'the PCR values', bytes: valuesOf, put: withValues },
  { name: 'the facts', bytes: factsOf, put: withFacts },
];

describe('evidence of a real TPM for a round', () => {
  const status = (given: RoundEvidence): string => {
    const outcome = proveRound(context, given);
    if (outcome.kind === 'torn') return outcome.kind;
    return judgeRound(context, given, { verified: outcome.evidence, proven: null, runtime: UNASKED }).verdict.status;
  };
  const digestOf = (given: RoundEvidence): string | undefined => {
    const outcome = proveRound(context, given);
    if (outcome.kind === 'torn') return undefined;
    return judgeRound(context, given, { verified: outcome.evidence, proven: null, runtime: UNASKED }).verdictDigest;
  };

  it('is affirming as it is', () => {
    expect(status(evidence)).toBe('affirming');
  });

  it.each(QUOTED)('with any byte of $name changed makes no verdict', (part) => {
    const count = sweep(evidence, part, (changed, place) => {
      let outcome: string;
      try {
        outcome = status(changed);
      } catch (error) {
        if (!(error instanceof EvidenceError)) throw error;
        outcome = 'refused';
      }
      if (outcome !== 'refused' && outcome !== 'torn') expect.fail(`${place}: ${outcome}`);
    });
    process.stdout.write(`${part.name}: ${count} changes refused\n`);
  });

  it.each((['capabilityData', 'attest', 'signature'] as const).map(bankPart))(
    'with any byte of $name changed has unproven banks and is never affirming',
    (part) => {
      const count = sweep(
        evidence,
        part,
        (changed, place) => {
          if (status(changed) === 'affirming') expect.fail(`${place}: affirming`);
        },
        4,
      );
      process.stdout.write(`${part.name}: ${count} changes refused\n`);
    },
  );

  it('with any byte changed of what nothing covers has the same verdict', () => {
    // Why a log cannot be read is told, believed by nobody, and decides nothing.
    const logs = [{ ...announce({ kind: 'boot', data: Buffer.alloc(0) }), unreadable: 'permission denied' }];
    const whole = { ...evidence, logs };
    const before = digestOf(whole);
    expect(before).toBeDefined();
    const part: Part<RoundEvidence> = {
      name: 'why a log cannot be read',
      bytes: () => Buffer.from('permission denied'),
      put: (given, bytes) => ({
        ...given,
        logs: logs.map((log) => ({ ...log, unreadable: bytes.toString('latin1') })),
      }),
    };
    const count = sweep(
      whole,
      part,
      (changed) => {
        if (digestOf(changed) !== before) expect.fail('another verdict');
      },
      4,
    );
    process.stdout.write(`${part.name}: ${count} changes without effect\n`);
  });
});

describe('the proof of an enrolment by a real TPM', () => {
  const refused = (changed: EnrollmentProof, place: string): void => {
    try {
      proveEnrollment(house.complete, changed, host.caller);
    } catch (error) {
      // One that holds and is tried once more has passed for the same.
      if (error instanceof EnrollmentError && error.code !== 'ENROLLMENT_USED') return;
      if (!(error instanceof EnrollmentError)) throw error;
    }
    expect.fail(`${place} is taken`);
  };

  const withReadings = (whole: EnrollmentProof, bytes: Buffer): EnrollmentProof => {
    const changed = withValues(whole, bytes);
    const readings = whole.readings.map((reading) => ({
      ...reading,
      digest: changed.pcrValues.get(reading.algorithm)?.get(reading.index) ?? Buffer.alloc(0),
    }));
    return { ...changed, readings };
  };
  const PROVEN: readonly Part<EnrollmentProof>[] = [
    { name: 'the token', bytes: ({ token }) => token, put: (whole, token) => ({ ...whole, token }) },
    { name: 'the HMAC', bytes: ({ hmac }) => hmac, put: (whole, hmac) => ({ ...whole, hmac }) },
    { name: 'the quote', bytes: ({ attest }) => attest, put: (whole, attest) => ({ ...whole, attest }) },
    {
      name: 'the signature',
      bytes: ({ signature }) => signature,
      put: (whole, signature) => ({ ...whole, signature }),
    },
    { name: 'the PCR values', bytes: valuesOf, put: withReadings },
    { name: 'the facts', bytes: factsOf, put: withFacts },
    {
      name: 'the digest of a log',
      bytes: ({ logs }) => logs[0]?.sha256 ?? Buffer.alloc(0),
      put: (whole, sha256) => {
        const logs = whole.logs.map((log, index) => (index === 0 ? { ...log, sha256 } : log));
        return { ...whole, logs, announcements: logs.map(announcementOf) };
      },
    },
  ];

  it('holds as it is', () => {
    const complete = { ...house.complete, limits: new EnrollmentLimits(() => 0) };
    expect(proveEnrollment(complete, proof, host.caller).evidence.banksProven).toBe(true);
  });

  it.each(PROVEN)('with any byte of $name changed is refused', (part) => {
    // Of what a round has too, one change of each byte: there all of them were tried, without the HMAC in front.
    const count = sweep(proof, part, refused, QUOTED.some(({ name }) => name === part.name) ? 0 : THOROUGH);
    process.stdout.write(`${part.name} at enrolment: ${count} changes refused\n`);
  });

  it('with any byte of a log changed is refused by its digest', async () => {
    let count = 0;
    for (const log of LOGS) {
      for (let at = 0; at < log.data.length; at += 1) {
        const data = Buffer.from(log.data);
        data.writeUInt8((data[at] ?? 0) ^ 0x40, at);
        const chunks = feedOf(chunksOf({ ...log, data }));
        await expect(collectLogs([announce(log)], chunks, { take: () => undefined })).rejects.toThrow(LogError);
        count += 1;
      }
    }
    expect(count).toBe(Buffer.concat(LOGS.map(({ data }) => data)).length);
  });
});
