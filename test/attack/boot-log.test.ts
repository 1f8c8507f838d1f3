/** A host's owner forges what no bank of the TPM holds, and what runs after the boot loader: root extends what he likes. */
import { describe, expect, it } from 'vitest';

import { digestSize } from '../../tpm/crypto/digest.ts';
import { parseEventLog } from '../../tpm/eventlog/parse.ts';
import { hashAlgorithmByName, TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../tpm/structures/constants.ts';
import { EVERY_RULE, findingOf, judge } from '../server/policy/boot-input.ts';
import { bootLog, IMAGES, proveBootOf, RULE, SECURE_BOOT } from '../support/booted-machine.ts';
import { dataIsHere } from '../support/data.ts';
import { SoftwareTpm } from '../support/software-tpm.ts';
import { measuredPcrs } from '../tpm/eventlog/real-logs.ts';

const here = dataIsHere('measured-boot');

/** A TPM of which the boot left its values in one bank, the others switched off. */
function tpmWithBank(name: string): SoftwareTpm {
  const alg = hashAlgorithmByName(name)?.alg ?? 0;
  const tpm = new SoftwareTpm({ banks: [alg] });
  const bank = tpm.pcrs.get(alg);
  for (const [pcr, value] of measuredPcrs(SECURE_BOOT).get(name) ?? []) bank?.set(pcr, Buffer.from(value, 'hex'));
  for (let pcr = 17; pcr <= 22; pcr++) bank?.set(pcr, Buffer.alloc(digestSize(alg), 0xff));
  return tpm;
}

/** Writes a digest of the choice into the SHA-256 column of every image: no PCR of that bank is there to contradict. */
function withImages(log: Buffer, digest: string): Buffer {
  const forged = Buffer.from(log);
  const { banks, events } = parseEventLog(log);
  const position = banks.findIndex(({ alg }) => alg === TPM_ALG_SHA256);
  for (const { pcr, digests } of events) {
    const real = digests[position];
    if ((pcr !== 2 && pcr !== 4) || real === undefined) continue;
    const at = forged.indexOf(real);
    if (at >= 0) Buffer.from(digest, 'hex').copy(forged, at);
  }
  return forged;
}

describe.skipIf(!here)('digests of a bank that the TPM does not have', () => {
  const allowed = '11'.repeat(32);
  const { outcome } = proveBootOf(tpmWithBank('sha384'), [bootLog(SECURE_BOOT, (log) => withImages(log, allowed))]);

  it('make no image an allowed one', () => {
    expect(outcome.kind).toBe('verified');
    const verdict = judge({ allowedImages: { ...RULE, digests: [allowed] } }, outcome);
    expect(verdict.status).toBe('none');
    expect(findingOf(verdict, 'boot.allowed-images')).toMatchObject({ outcome: 'error', reason: 'BOOT_CLAIM_MISSING' });
  });

  it('hide no forbidden image', () => {
    const verdict = judge({ forbiddenImages: { ...RULE, digests: [IMAGES[0]] } }, outcome);
    expect(verdict.status).toBe('none');
    expect(findingOf(verdict, 'boot.forbidden-images')).toMatchObject({ outcome: 'error' });
  });

  it('are not among what is claimed', () => {
    if (outcome.kind !== 'verified') throw new Error(outcome.finding.message);
    const sizes = new Set(outcome.boot.images.flatMap(({ digests }) => digests.map(({ length }) => length / 2)));
    expect([...sizes]).toEqual([digestSize(TPM_ALG_SHA384)]);
  });
});

it.runIf(here)('a TPM that measures with SHA-1 alone satisfies no boot rule', () => {
  const { outcome } = proveBootOf(tpmWithBank('sha1'), [bootLog(SECURE_BOOT)]);
  expect(outcome.kind).toBe('verified');
  const verdict = judge(EVERY_RULE, outcome);
  expect(verdict.status).toBe('none');
  const rules = verdict.checks.filter(({ id }) => id.startsWith('boot.'));
  expect(new Set(rules.map(({ reason }) => reason))).toEqual(new Set(['BOOT_BANK_WEAK']));
  // The same machine with a sound bank does.
  const sound = proveBootOf(tpmWithBank('sha256'), [bootLog(SECURE_BOOT)]).outcome;
  expect(judge(EVERY_RULE, sound).status).toBe('affirming');
});
