import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { STATUS_CODES } from '../../proto/status.ts';
import { makeBareCertificate, makeTlsKey as makeAgentKey } from '../../client/agent/tls-key.ts';
import type { TlsIdentity } from '../../proto/tls-identity.ts';
import { costlyBegin } from '../support/costly-chain.ts';
import { memoryInUse } from '../support/memory.ts';
import { frame, RawCaller } from '../support/raw-caller.ts';
import type { RawAnswer } from '../support/raw-caller.ts';
import { SoftwareTpm } from '../support/software-tpm.ts';
import { beginRequest, makeTlsKey } from '../support/evidence-builder.ts';
import { dump, enroll, openHouse } from '../support/test-service.ts';
import { goOnline } from '../server/rpc/agent-online.ts';
import type { AgentOnline } from '../server/rpc/agent-online.ts';

const BEGIN = '/assay.v1.EnrollmentService/BeginEnrollment';
const MEBIBYTE = 1024 * 1024;

it('10,000 enrolments that are begun and never finished leave nothing behind', async () => {
  // Without EK certificates: what they cost is time and not memory.
  await using house = await openHouse({ admission: ['approval'] });
  const tpm = new SoftwareTpm({ eks: ['rsa2048'] });
  const request = beginRequest(tpm, tpm.createAk(), { tls: makeTlsKey() });
  const begin = async (count: number): Promise<void> => {
    for (let left = count; left > 0; left -= 50)
      await Promise.all(Array.from({ length: 50 }, () => house.beginner.begin(request)));
  };
  // What is parsed once and kept is there after the first.
  await begin(500);
  const [stored, before] = [await dump(house.store), await memoryInUse()];
  await begin(10_000);
  expect((await memoryInUse()) - before).toBeLessThan(4 * MEBIBYTE);
  expect(await dump(house.store)).toEqual(stored);
  expect((await enroll(house, tpm, tpm.createAk(), { certificates: [undefined] })).host.state).toBe('pending');
});

describe('a flood of enrolments', () => {
  let online: AgentOnline;
  let stranger: TlsIdentity;
  beforeAll(async () => {
    online = await goOnline();
    const key = makeAgentKey();
    const certificate = await makeBareCertificate(key, { now: new Date(), serial: Buffer.alloc(16, 1) });
    stranger = { certificateChain: [certificate], privateKey: key };
  });
  afterAll(async () => {
    await online.running[Symbol.asyncDispose]();
    expect(online.running.errors).toEqual([]);
  });
  beforeEach(() => {
    // Every bucket is full again.
    online.running.house.clock.advance(120_000);
  });

  /** So many begins from an address; none is sound, and each counts. */
  async function flood(localAddress: string, count: number): Promise<readonly RawAnswer[]> {
    using caller = await RawCaller.open(online.running.service.address.port, { localAddress });
    const body = frame(Buffer.alloc(0));
    const answers: RawAnswer[] = [];
    for (let left = count; left > 0; left -= 50) {
      const batch = Array.from({ length: Math.min(50, left) }, () => caller.call({ path: BEGIN, body }));
      answers.push(...(await Promise.all(batch)));
    }
    return answers;
  }

  /** What a stranger asks for while a host is attested again and again, and how many rounds that makes. */
  async function roundsDuring(attack: Promise<unknown>): Promise<number> {
    let over = false;
    void attack.finally(() => (over = true)).catch(() => undefined);
    let rounds = 0;
    while (!over) {
      // oxlint-disable-next-line no-await-in-loop -- one after another is the point
      expect((await online.round()).result?.host).toBe(`hosts/${online.hostId}`);
      rounds += 1;
      // A host has two rounds a second.
      online.running.house.clock.advance(500);
    }
    return rounds;
  }

  const passed = (answers: readonly RawAnswer[]): number =>
    answers.filter(({ reason }) => reason !== 'ENROLLMENT_RATE').length;

  it('from one address is refused, and costs no other address and no host anything', async () => {
    const answers = await flood('127.0.0.9', 300);
    expect(passed(answers)).toBe(100);
    expect(answers.at(-1)).toMatchObject({ status: STATUS_CODES.RESOURCE_EXHAUSTED, reason: 'ENROLLMENT_RATE' });
    expect(passed(await flood('127.0.0.10', 100))).toBe(100);
    expect((await online.round()).result?.host).toBe(`hosts/${online.hostId}`);
  });

  it('with certificates that cost as much as may be is refused without a signature, and hosts are attested meanwhile', async () => {
    const body = frame(costlyBegin());
    const callers = await Promise.all(
      Array.from({ length: 12 }, () =>
        RawCaller.open(online.running.service.address.port, { localAddress: '127.0.0.12', identity: stranger }),
      ),
    );
    const answers: RawAnswer[] = [];
    const attack = Promise.all(
      callers.map(async (caller) => {
        for (let count = 0; count < 8; count += 1) answers.push(await caller.call({ path: BEGIN, body }));
      }),
    );
    // Judged upwards from the host's own certificates these took 20 s of one thread, and a round took as long.
    expect(await roundsDuring(attack)).toBeGreaterThanOrEqual(5);
    await attack;
    expect(new Set(answers.map(({ reason }) => reason))).toEqual(new Set(['EK_CERT_CHAIN_TOO_COMPLEX']));
    for (const caller of callers) caller[Symbol.dispose]();
  });

  it('of proofs from one address is refused, whatever is in them', async () => {
    using caller = await RawCaller.open(online.running.service.address.port, { localAddress: '127.0.0.13' });
    const path = '/assay.v1.EnrollmentService/CompleteEnrollment';
    const answers: RawAnswer[] = [];
    for (let left = 150; left > 0; left -= 50) {
      const batch = Array.from({ length: 50 }, () => caller.call({ path, body: frame(Buffer.alloc(0)) }));
      answers.push(...(await Promise.all(batch)));
    }
    expect(passed(answers)).toBe(100);
    expect(answers.at(-1)).toMatchObject({ status: STATUS_CODES.RESOURCE_EXHAUSTED, reason: 'ENROLLMENT_RATE' });
  });

  it('from many addresses is refused as a whole, and costs no enrolled host anything', async () => {
    const addresses = Array.from({ length: 12 }, (_, index) => `127.0.1.${index + 1}`);
    const answers = (await Promise.all(addresses.map((address) => flood(address, 60)))).flat();
    expect(answers).toHaveLength(720);
    expect(passed(answers)).toBe(500);
    expect((await online.round()).result?.host).toBe(`hosts/${online.hostId}`);
  });

  it('of streams that never say anything is bounded, and ends with its connection', async () => {
    const caller = await RawCaller.open(online.running.service.address.port, { localAddress: '127.0.0.11' });
    const path = '/assay.v1.EnrollmentService/CompleteEnrollment';
    const silent = Array.from({ length: 150 }, () => caller.open(path));
    const refused = await Promise.race([
      Promise.any(silent.map(({ answer }) => answer)),
      new Promise<null>((resolve) => setTimeout(() => resolve(null), 60_000)),
    ]);
    expect(refused).toMatchObject({ reason: 'TOO_MANY_CALLS' });
    expect((await online.round()).result?.host).toBe(`hosts/${online.hostId}`);
    caller[Symbol.dispose]();
  });
});
