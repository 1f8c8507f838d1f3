import { inspect } from 'node:util';

import { afterAll, beforeAll, expect, it } from 'vitest';

import { AttestationService } from '../../../proto/gen/assay/v1/attestation_pb.ts';
import { EnrollmentService } from '../../../proto/gen/assay/v1/enrollment_pb.ts';
import { failure } from '../../support/rpc.ts';
import { answerTo, goOnline } from './agent-online.ts';
import type { AgentOnline } from './agent-online.ts';

let online: AgentOnline;
beforeAll(async () => {
  online = await goOnline();
});
afterAll(() => online?.running[Symbol.asyncDispose]());

/** Every way in which bytes come into a text. */
function spellings(bytes: Uint8Array): readonly string[] {
  const buffer = Buffer.from(bytes);
  return [
    buffer.toString('hex'),
    buffer.toString('base64').replace(/=+$/, ''),
    buffer.toString('base64url'),
    [...buffer.subarray(0, 8)].join(','),
    [...buffer.subarray(0, 8)].join(', '),
  ];
}

it('neither keys nor nonces nor tokens are logged by the service, whatever becomes of the calls', async () => {
  const { running, agent } = online;
  const { house } = running;
  const unary = agent.client(AttestationService);
  const secrets: Uint8Array[] = [house.root.secret, ...house.keys.current.tokenMasters.map(({ secret }) => secret)];
  const drawn = async () => {
    const { challenge, token } = await unary.createChallenge(online.hello());
    if (challenge === undefined) throw new TypeError('no challenge');
    secrets.push(challenge.nonce, token);
    return { token, evidence: answerTo(online, challenge) };
  };
  const good = await drawn();
  await online.submit({ part: { case: 'submission', value: good } });
  await failure(online.submit({ part: { case: 'submission', value: good } }));
  const other = await drawn();
  const token = Buffer.from(other.token);
  token.writeUInt8(token.readUInt8(20) ^ 1, 20);
  secrets.push(token);
  await failure(online.submit({ part: { case: 'submission', value: { ...other, token } } }));
  const foreign = { ...good.evidence, quote: { attest: Buffer.alloc(9, 1), signature: Buffer.alloc(9, 2) } };
  await failure(online.submit({ part: { case: 'submission', value: { ...(await drawn()), evidence: foreign } } }));
  const hmac = Buffer.alloc(32, 7);
  secrets.push(hmac);
  await failure(
    online.complete({ part: { case: 'proof', value: { ...good.evidence, token: Buffer.alloc(64, 9), hmac } } }),
  );
  await failure(running.connect().client(EnrollmentService).beginEnrollment({}));

  expect(running.logged.length).toBeGreaterThan(3);
  const text = running.logged.map((entry) => inspect(entry, { depth: 10, maxArrayLength: 1_000 })).join('\n');
  expect(text).not.toMatch(/PRIVATE KEY/);
  for (const secret of secrets) {
    expect(secret.length).toBeGreaterThanOrEqual(16);
    for (const spelling of spellings(secret)) expect(text).not.toContain(spelling);
  }
});
