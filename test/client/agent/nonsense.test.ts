import { afterAll, beforeAll, expect, it } from 'vitest';

import { adviceFor } from '../../../client/agent/advice.ts';
import { openHostTpm } from '../../../client/agent/host-tpm.ts';
import { quotePcrs } from '../../../client/agent/quote-pcrs.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { startSwtpm } from '../../support/swtpm.ts';
import type { Swtpm } from '../../support/swtpm.ts';
import { bareResponse, commandCode, tapTpm } from '../../support/tpm-wiretap.ts';

/** Header of a response. */
const HEADER = 10;
const QUOTE = 0x158;
/** What an agent asks of its TPM when it joins and when it attests (Part 2 §6.5.2). */
const COMMANDS = {
  TPM2_Quote: QUOTE,
  TPM2_PCR_Read: 0x17e,
  TPM2_GetCapability: 0x17a,
  TPM2_ReadClock: 0x181,
  TPM2_GetSessionAuditDigest: 0x14d,
  TPM2_ReadPublic: 0x173,
  TPM2_NV_Read: 0x14e,
  TPM2_NV_ReadPublic: 0x169,
  TPM2_CreatePrimary: 0x131,
  TPM2_Create: 0x153,
  TPM2_Load: 0x157,
} as const;
const RC_RETRY = 0x922;
const RC_LOCKOUT = 0x921;
const RC_FAILURE = 0x101;

let swtpm: Swtpm;
beforeAll(async () => {
  swtpm = await startSwtpm();
});
afterAll(() => swtpm?.stop());

/** All that an agent does with a TPM, with the answers to one command changed. Null where it went through. */
async function failureOf(code: number, change: (response: Buffer) => Buffer): Promise<unknown> {
  await using tapped = await tapTpm(swtpm, {
    alter: (command, response) => (commandCode(command) === code ? change(response) : response),
  });
  try {
    const tpm = await openHostTpm(tapped.tcti);
    try {
      const [ek] = await tpm.endorsementKeys();
      if (ek === undefined) return null;
      const ak = await tpm.loadAk(ek, await tpm.createAk(ek, 'ecdsa-p256-sha256'));
      await tpm.bootState();
      const selection = await tpm.activeBanks();
      await quotePcrs(tpm, ak, { qualifyingData: Buffer.alloc(32, 1), selection });
      await ak.proveBanks(Buffer.alloc(32, 2));
      return null;
    } finally {
      await tpm.close();
    }
  } catch (error) {
    return error;
  } finally {
    await swtpm.restart();
  }
}

function scramble(random: SeededRandom): (response: Buffer) => Buffer {
  return (response) => {
    const changed = Buffer.from(response);
    for (let times = 0; times < 8 && changed.length > HEADER; times += 1) {
      changed[HEADER + random.below(Math.min(64, changed.length - HEADER))] = random.below(256);
    }
    return changed;
  };
}

it.each(Object.entries(COMMANDS))(
  'a TPM that answers nonsense to %s has failed: the agent opens it again, and does not end',
  async (_name, code) => {
    const random = new SeededRandom(code);
    const tries = code === QUOTE ? 12 : 2;
    for (let attempt = 0; attempt < tries; attempt += 1) {
      const error = await failureOf(code, scramble(random));
      // What nobody on the host can tell from an answer goes through, and the service judges it.
      if (error !== null) expect(adviceFor(error)).toMatchObject({ act: 'reopen_tpm', event: 'tpm_failed' });
    }
  },
);

it.each([
  ['asks to be asked again for ever', RC_RETRY, 'busy'],
  ['is in lockout', RC_LOCKOUT, 'lockout'],
  ['has failed its self test', RC_FAILURE, 'refused'],
])('of a TPM that %s the agent says so, and tries again', async (_name, code, word) => {
  const advice = adviceFor(await failureOf(QUOTE, () => bareResponse(code)));
  expect(advice).toMatchObject({ act: 'reopen_tpm', event: 'tpm_failed' });
  expect(advice.sentence).toContain('the TPM failed');
  expect(advice.sentence.toLowerCase()).toContain(word);
});
