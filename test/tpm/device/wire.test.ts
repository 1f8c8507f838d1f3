import { randomBytes } from 'node:crypto';

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { makeCredential } from '../../../tpm/crypto/make-credential.ts';
import { Tpm } from '../../../tpm/device/tpm.ts';
import {
  TPM_ALG_SHA256,
  TPM_CC_ActivateCredential,
  TPM_CC_Create,
  TPM_CC_PCR_Read,
  TPM_CC_ReadClock,
} from '../../../tpm/structures/constants.ts';
import { decodePublicArea } from '../../../tpm/structures/public-area.ts';
import { type Swtpm, startSwtpm } from '../../support/swtpm.ts';
import { bareResponse, commandCode, tapTpm } from '../../support/tpm-wiretap.ts';

const TPM_RC_RETRY = 0x922;
const TPM_RC_YIELDED = 0x908;
const TPM_RC_TESTING = 0x90a;
const TPM_RC_LOCKOUT = 0x921;
const TPM_RC_FAILURE = 0x101;

/** Offset of pcrUpdateCounter in the response of TPM2_PCR_Read without sessions. */
const UPDATE_COUNTER = 10;

const SELECTION = [{ hash: TPM_ALG_SHA256, pcrs: Array.from({ length: 24 }, (_, index) => index) }];

let swtpm: Swtpm;

beforeAll(async () => {
  swtpm = await startSwtpm();
});

afterAll(async () => {
  await swtpm?.stop();
});

describe('a TPM that is busy', () => {
  it.each([
    { name: 'RETRY', code: TPM_RC_RETRY },
    { name: 'YIELDED', code: TPM_RC_YIELDED },
    { name: 'TESTING', code: TPM_RC_TESTING },
  ])('is asked again: $name', async ({ code }) => {
    let refusals = 20;
    await using tapped = await tapTpm(swtpm, {
      answer: (command) =>
        commandCode(command) === TPM_CC_ReadClock && refusals-- > 0 ? bareResponse(code) : undefined,
    });
    await using tpm = await Tpm.open(tapped);

    expect((await tpm.clock()).safe).toBe(true);
    expect(refusals).toBe(-1);
  });

  it('is not asked for ever', async () => {
    let asked = 0;
    await using tapped = await tapTpm(swtpm, {
      answer: (command) => {
        if (commandCode(command) !== TPM_CC_ReadClock) return undefined;
        asked += 1;
        return bareResponse(TPM_RC_RETRY);
      },
    });
    await using tpm = await Tpm.open(tapped);

    await expect(tpm.clock()).rejects.toMatchObject({ code: 'BUSY', response: { layer: 'tpm', name: 'RETRY' } });
    expect(asked).toBeLessThan(200);
    expect((await tpm.properties()).manufacturer).toBe('IBM');
  });
});

describe('a TPM that refuses', () => {
  it.each([
    { code: TPM_RC_LOCKOUT, expected: { code: 'LOCKOUT', response: { name: 'LOCKOUT' } } },
    { code: TPM_RC_FAILURE, expected: { code: 'REFUSED', response: { name: 'FAILURE' } } },
    {
      code: 0x1d5,
      expected: { code: 'REFUSED', response: { name: 'SIZE', subject: { kind: 'parameter', index: 1 } } },
    },
  ])('is told by name: $expected.response.name', async ({ code, expected }) => {
    await using tapped = await tapTpm(swtpm, {
      answer: (command) => (commandCode(command) === TPM_CC_ReadClock ? bareResponse(code) : undefined),
    });
    await using tpm = await Tpm.open(tapped);

    await expect(tpm.clock()).rejects.toMatchObject({ ...expected, operation: 'Esys_ReadClock' });
  });
});

describe('an answer that is no answer', () => {
  it.each([
    { what: 'success without parameters', response: bareResponse(0) },
    { what: 'an unknown tag', response: Buffer.from('12340000000a00000000', 'hex') },
    { what: 'bytes that run on', response: withSize(Buffer.concat([bareResponse(0), Buffer.alloc(4000, 0xff)])) },
    {
      what: 'a list that is longer than any',
      response: withSize(Buffer.concat([bareResponse(0), Buffer.alloc(8, 0xff)])),
    },
  ])('ends in an error and no more: $what', async ({ response }) => {
    await using tapped = await tapTpm(swtpm, {
      answer: (command) => (commandCode(command) === TPM_CC_PCR_Read ? response : undefined),
    });
    await using tpm = await Tpm.open(tapped);

    await expect(tpm.pcrRead(SELECTION)).rejects.toMatchObject({
      code: expect.stringMatching(/^(LIBRARY_FAILURE|UNREACHABLE)$/),
    });
  });
});

describe('PCRs that are extended while they are read', () => {
  it('are read anew until all answers are of one moment', async () => {
    let answers = 0;
    await using tapped = await tapTpm(swtpm, {
      alter: (command, response) => {
        if (commandCode(command) !== TPM_CC_PCR_Read) return response;
        answers += 1;
        return answers === 2 ? withCounter(response, 0xffff) : response;
      },
    });
    await using tpm = await Tpm.open(tapped);

    expect(await tpm.pcrRead(SELECTION)).toHaveLength(24);
    expect(answers).toBe(5);
  });

  it('are given up on when they never stand still', async () => {
    let answers = 0;
    await using tapped = await tapTpm(swtpm, {
      alter: (command, response) => {
        if (commandCode(command) !== TPM_CC_PCR_Read) return response;
        answers += 1;
        return withCounter(response, answers);
      },
    });
    await using tpm = await Tpm.open(tapped);

    await expect(tpm.pcrRead(SELECTION)).rejects.toMatchObject({ code: 'UNSTABLE' });
  });
});

describe('on the wire', () => {
  // What an answer that does not verify leaves in the TPM is gone after a reboot.
  afterEach(() => swtpm.restart());

  it.each(['L-1', 'H-3'])(
    'the secret of a credential never shows, and an altered answer is not taken: %s',
    async (name) => {
      const secret = randomBytes(32);
      const activations: Buffer[] = [];
      let tamper = false;
      await using tapped = await tapTpm(swtpm, {
        alter: (command, response) => {
          if (commandCode(command) !== TPM_CC_ActivateCredential) return response;
          activations.push(Buffer.from(response));
          if (tamper) response[20] = (response[20] ?? 0) ^ 1;
          return response;
        },
      });
      await using tpm = await Tpm.open(tapped);
      const ek = (await tpm.endorsementKeys()).find(({ template }) => template === name);
      if (ek === undefined) throw new Error(`no endorsement key ${name}`);
      const ak = await tpm.loadAk(ek, await tpm.createAk(ek));
      const subject = { ek: decodePublicArea(ek.publicArea), akName: ak.name };
      const credential = makeCredential(subject, secret, { random: randomBytes });

      expect(await tpm.activateCredential(ek, ak, credential)).toEqual(secret);
      tamper = true;
      await expect(tpm.activateCredential(ek, ak, credential)).rejects.toMatchObject({
        code: 'LIBRARY_FAILURE',
        response: { layer: 'esys', name: 'RSP_AUTH_FAILED' },
      });

      expect(activations).toHaveLength(2);
      for (const response of activations) {
        expect(response.readUInt32BE(6)).toBe(0);
        expect(response.includes(secret)).toBe(false);
      }
      await expect(tpm.clock()).rejects.toMatchObject({ code: 'LIBRARY_FAILURE' });
    },
  );

  it('the private blob of a key does not show while it is made', async () => {
    const creations: Buffer[] = [];
    await using tapped = await tapTpm(swtpm, {
      alter: (command, response) => {
        if (commandCode(command) === TPM_CC_Create) creations.push(Buffer.from(response));
        return response;
      },
    });
    await using tpm = await Tpm.open(tapped);
    const [ek] = await tpm.endorsementKeys();
    if (ek === undefined) throw new Error('no endorsement key');
    const { publicBlob, privateBlob } = await tpm.createAk(ek);

    expect(creations).toHaveLength(1);
    expect(creations[0]?.includes(publicBlob)).toBe(true);
    expect(creations[0]?.includes(privateBlob.subarray(2))).toBe(false);
  });
});

function withCounter(response: Buffer, counter: number): Buffer {
  response.writeUInt32BE(counter, UPDATE_COUNTER);
  return response;
}

function withSize(response: Buffer): Buffer {
  response.writeUInt32BE(response.length, 2);
  return response;
}
