import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { createChallenge } from '../../server/attestation/single-round.ts';
import { Endorsements } from '../../server/endorsement/endorsements.ts';
import { EnrollmentBeginner } from '../../server/enrollment/begin.ts';
import { completeEnrollment } from '../../server/enrollment/complete.ts';
import type { Store } from '../../server/store/store.ts';
import { answerEnrollment, feedOf, makeTlsKey } from '../support/evidence-builder.ts';
import { SoftwareTpm } from '../support/software-tpm.ts';
import { enrollMachine } from '../support/stream-agent.ts';
import type { Machine } from '../support/stream-agent.ts';
import { beginEnrollment, openHouse, OPERATOR, transcriptOf } from '../support/test-service.ts';
import type { House } from '../support/test-service.ts';

let house: House;
let known: Machine;
let banned: Machine;
beforeAll(async () => {
  house = await openHouse();
  known = await enrollMachine(house);
  banned = await enrollMachine(house);
  await house.store.revokeHost(banned.id, { ...OPERATOR, reason: '' });
});
afterAll(() => house[Symbol.asyncDispose]());

/** TPMs that a stranger would like to tell apart. */
const TPMS: readonly (readonly [string, () => SoftwareTpm])[] = [
  ['of a host', () => known.tpm],
  ['of a banned host', () => banned.tpm],
  ['of nobody', () => new SoftwareTpm()],
];

/** The same store, which notes what is asked of it: work that differs is time that differs. */
function watched(asked: string[]): Store {
  return new Proxy(house.store, {
    get: (store, name) => {
      const value: unknown = Reflect.get(store, name);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        if (name !== 'now') asked.push(String(name));
        return (value as (...given: unknown[]) => unknown).apply(store, args);
      };
    },
  });
}

/** What a stranger sees of a begin with the EK of a TPM, and what the service did for it. */
async function begin(tpm: SoftwareTpm) {
  const asked: string[] = [];
  const store = watched(asked);
  const { keys } = house;
  const endorsements = new Endorsements(store);
  const beginner = new EnrollmentBeginner({
    endorsements,
    keys,
    admission: ['certificate'],
    now: () => store.now(),
    random: (size) => Buffer.alloc(size, 1),
  });
  const ak = tpm.createAk();
  const { challenge, tls } = await beginEnrollment({ ...house, beginner }, tpm, ak);
  const { credentials, token, expireMillis, nonce } = challenge;
  const sizes = credentials.map(({ credentialBlob, encryptedSecret }) => [
    credentialBlob.length,
    encryptedSecret.length,
  ]);
  return { ak, challenge, tls, asked, seen: { sizes, token: token.length, left: expireMillis - store.now(), nonce } };
}

describe('a stranger', () => {
  it('who begins with the EK of a host, of a banned one or of nobody sees the same, for the same work', async () => {
    const begun = await Promise.all(TPMS.map(async ([, tpm]) => begin(tpm())));
    for (const { seen, asked } of begun) {
      // Certificates differ by the length of a signature, and the token with them.
      expect(Math.abs(seen.token - (begun[0]?.seen.token ?? 0))).toBeLessThan(64);
      expect({ ...seen, token: 0 }).toEqual({ ...begun[0]?.seen, token: 0 });
      expect(asked).toEqual(begun[0]?.asked);
      expect(asked.filter((name) => /host|result|enroll/i.test(name))).toEqual([]);
    }
  });

  it('who completes without the secrets learns the same of each, and the store is not asked at all', async () => {
    const answers: { readonly code: string; readonly message: string }[] = [];
    for (const [, make] of TPMS) {
      const tpm = make();
      const { ak, challenge, tls } = await begin(tpm);
      const honest = answerEnrollment(tpm, ak, challenge, { transcript: transcriptOf(tpm, ak, challenge) });
      const asked: string[] = [];
      const error: unknown = await completeEnrollment(
        { ...house.complete, store: watched(asked) },
        {
          proof: { ...honest, hmac: Buffer.alloc(32) },
          caller: { tlsKeySha256: tls.sha256, tlsPublicKey: tls.spki, hostId: '' },
          nextChunk: feedOf([]),
        },
      ).catch((reason: unknown) => reason);
      expect(asked).toEqual([]);
      answers.push({ code: (error as { code: string }).code, message: (error as Error).message });
    }
    expect(answers).toEqual(answers.map(() => ({ code: 'ENROLLMENT_PROOF_INVALID', message: answers[0]?.message })));
  });
});

describe('a host', () => {
  it('that asks by the AK of another, or of nobody, learns the same of both', async () => {
    const other = await enrollMachine(house, { tls: makeTlsKey() });
    const caller = {
      hostId: known.id,
      tlsKeySha256: known.tls.sha256.toString('hex'),
      expires: house.store.now() + 86_400_000,
    };
    const ask = async (akName: string) => {
      const asked: string[] = [];
      const services = { ...house.services, store: watched(asked) };
      const boot = { resetCount: 0, restartCount: 0 };
      const error: unknown = await createChallenge(services, caller, { akName, boot }).catch(
        (reason: unknown) => reason,
      );
      return { asked, code: (error as { code: string }).code, message: (error as Error).message };
    };
    const ofNobody = await ask(`000b${'ab'.repeat(32)}`);
    expect(ofNobody).toMatchObject({ code: 'AK_UNKNOWN', asked: ['getHost'] });
    expect(await ask(other.ak.name.toString('hex'))).toEqual(ofNobody);
    expect(await ask(banned.ak.name.toString('hex'))).toEqual(ofNobody);
  });
});
