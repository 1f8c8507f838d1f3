import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { LogKind } from '../../../proto/gen/assay/v1/evidence_pb.ts';
import { FACTS } from '../../support/evidence-builder.ts';
import { failure } from '../../support/rpc.ts';
import { dump } from '../../support/test-service.ts';
import { goOnline } from './agent-online.ts';
import type { AgentOnline, EvidenceMessage } from './agent-online.ts';

let online: AgentOnline;
beforeAll(async () => {
  online = await goOnline();
});
afterAll(async () => {
  await online.running[Symbol.asyncDispose]();
  expect(online.running.errors).toEqual([]);
});

const SOUND: EvidenceMessage = { quote: { attest: Buffer.alloc(1), signature: Buffer.alloc(1) }, facts: FACTS };
const log = { kind: LogKind.BOOT, offset: 0n, size: 10n, sha256: Buffer.alloc(32), unreadable: '' };
const value = { index: 0, digest: Buffer.alloc(32) };
const bank = { algorithm: 11, values: [value] };

/** What is wrong with evidence, and where. */
const BAD_EVIDENCE: readonly (readonly [string, EvidenceMessage, string])[] = [
  ['no attest', { quote: { signature: Buffer.alloc(1) } }, 'quote.attest'],
  ['no signature', { quote: { attest: Buffer.alloc(1) } }, 'quote.signature'],
  ['a large attest', { quote: { attest: Buffer.alloc(1025), signature: Buffer.alloc(1) } }, 'quote.attest'],
  ['a large signature', { quote: { attest: Buffer.alloc(1), signature: Buffer.alloc(1025) } }, 'quote.signature'],
  ['a long host name', { facts: { ...FACTS, hostname: 'x'.repeat(254) } }, 'facts.hostname'],
  ['a long boot id', { facts: { ...FACTS, bootId: 'x'.repeat(65) } }, 'facts.boot_id'],
  ['values of an unknown hash', { pcrValues: [{ algorithm: 99 }] }, 'pcr_values[0].algorithm'],
  ['a bank twice', { pcrValues: [bank, bank] }, 'pcr_values[1].algorithm'],
  ['17 banks', { pcrValues: Array.from({ length: 17 }, () => bank) }, 'pcr_values'],
  [
    '25 values',
    { pcrValues: [{ algorithm: 11, values: Array.from({ length: 25 }, () => value) }] },
    'pcr_values[0].values',
  ],
  ['a PCR twice', { pcrValues: [{ algorithm: 11, values: [value, value] }] }, 'pcr_values[0].values[1].index'],
  ['PCR 24', { pcrValues: [{ algorithm: 11, values: [{ ...value, index: 24 }] }] }, 'pcr_values[0].values[0].index'],
  [
    'a value of another length',
    { pcrValues: [{ algorithm: 11, values: [{ ...value, digest: Buffer.alloc(20) }] }] },
    'pcr_values[0].values[0].digest',
  ],
  ['four logs', { logs: [log, log, log, log] }, 'logs'],
  ['an unset log', { logs: [{ ...log, kind: LogKind.UNSPECIFIED }] }, 'logs[0].kind'],
  ['an unknown log', { logs: [log, { ...log, kind: 99 as LogKind }] }, 'logs[1].kind'],
  ['an offset above all bounds', { logs: [{ ...log, offset: 1n << 60n }] }, 'logs[0].offset'],
  ['a size above all bounds', { logs: [{ ...log, size: 1n << 60n }] }, 'logs[0].size'],
  ['a log without digest', { logs: [{ ...log, sha256: Buffer.alloc(0) }] }, 'logs[0].sha256'],
  ['an unreadable log with a size', { logs: [{ ...log, unreadable: 'permission denied' }] }, 'logs[0].size'],
  ['a long excuse', { logs: [{ ...log, size: 0n, unreadable: 'x'.repeat(257) }] }, 'logs[0].unreadable'],
  ['a large TLS key', { newTlsPublicKey: Buffer.alloc(1025) }, 'new_tls_public_key'],
  ['a large bank proof', { bankProof: { capabilityData: Buffer.alloc(1025) } }, 'bank_proof.capability_data'],
];

const [token, hmac] = [Buffer.alloc(64), Buffer.alloc(32)];

/** The same evidence on every way in. */
async function refusedAt(evidence: EvidenceMessage, field: string): Promise<void> {
  const before = await dump(online.running.house.store);
  const { newTlsPublicKey, ...common } = evidence;
  const hello = { part: { case: 'hello', value: online.hello() } } as const;
  const ways = [
    ['evidence', () => online.attest(hello, { part: { case: 'evidence', value: evidence } })],
    ['submission.evidence', () => online.submit({ part: { case: 'submission', value: { token, evidence } } })],
    ['proof', () => online.complete({ part: { case: 'proof', value: { ...common, token, hmac } } })],
  ] as const;
  for (const [path, call] of newTlsPublicKey === undefined ? ways : ways.slice(0, 2)) {
    const error = await failure(call());
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'INVALID_FIELD' });
    expect(error.fieldViolations.map((violation) => violation.field)).toEqual([`${path}.${field}`]);
  }
  expect(await dump(online.running.house.store)).toEqual(before);
}

describe('evidence with', () => {
  it.each(BAD_EVIDENCE)('%s is INVALID_ARGUMENT at its field, on every way in', async (_name, change, field) => {
    await refusedAt({ ...SOUND, ...change }, field);
  });

  it.each(['quote', 'facts'] as const)('no %s is INVALID_ARGUMENT, on every way in', async (field) => {
    const { [field]: _, ...rest } = SOUND;
    await refusedAt(rest, field);
  });
});
