import { afterEach, describe, expect, it } from 'vitest';

import {
  bootedTpm,
  bootLog,
  NO_RULES,
  NO_SECURE_BOOT,
  RULE,
  SECURE_BOOT,
  SIGNERS,
} from '../../support/booted-machine.ts';
import { dataIsHere } from '../../support/data.ts';
import { dump, enroll, openHouse, putPolicy } from '../../support/test-service.ts';
import type { House, HouseOptions } from '../../support/test-service.ts';

let house: House;
afterEach(async () => {
  await house[Symbol.asyncDispose]();
});

/** A service that admits only what booted with Secure Boot, under the signers of the capture. */
async function open(options: HouseOptions = {}): Promise<void> {
  house = await openHouse({ bootPolicy: 'base', ...options });
  const boot = { ...NO_RULES, secureBoot: RULE, allowedSigners: { ...RULE, certificates: SIGNERS } };
  await putPolicy(house.store, { pcrRules: [], boot });
}

describe.skipIf(!dataIsHere('measured-boot'))('admission by boot', () => {
  it('lets a host in whose quote and log satisfy the policy, and records its boot', async () => {
    await open();
    const tpm = bootedTpm(SECURE_BOOT);
    const { host, akCertificate } = await enroll(house, tpm, tpm.createAk(), { logs: [bootLog(SECURE_BOOT)] });
    expect(host.state).toBe('active');
    expect(akCertificate.length).toBeGreaterThan(0);
    expect((await house.store.getBoot(host.id))?.bootLog.size).toBe(bootLog(SECURE_BOOT).data.length);
    const record = (await house.store.listAudit(0, 100)).find(({ action }) => action === 'host.enroll.created');
    expect(record?.detail).toMatch(
      /boot log [0-9a-f]{64} verified, secure boot enabled, satisfies policy base version 1$/,
    );
  });

  it.each([
    {
      name: 'that booted without Secure Boot',
      boot: NO_SECURE_BOOT,
      logs: [bootLog(NO_SECURE_BOOT)],
      says: /boot\.secure-boot \(SECURE_BOOT_OFF\)/,
    },
    {
      name: 'with the log of another boot',
      boot: SECURE_BOOT,
      logs: [bootLog(NO_SECURE_BOOT)],
      says: /BOOT_LOG_MISMATCH/,
    },
    { name: 'without a log', boot: SECURE_BOOT, logs: [], says: /BOOT_LOG_MISSING/ },
  ] as const)('keeps out a host $name, names the checks and stores nothing', async ({ boot, logs, says }) => {
    await open();
    const tpm = bootedTpm(boot);
    const before = await dump(house.store);
    await expect(enroll(house, tpm, tpm.createAk(), { logs })).rejects.toMatchObject({
      code: 'ADMISSION_BOOT_DENIED',
      message: expect.stringMatching(says) as string,
    });
    expect(await dump(house.store)).toEqual(before);
  });

  it('admits nobody by an expression over what ran, which no enrolment proves', async () => {
    await open();
    const expression = 'runtime.violations == 0 || true';
    const expressions = [{ id: 'rule', expression, claim: 'executables', severity: undefined, message: '' }] as const;
    await putPolicy(house.store, { pcrRules: [], expressions });
    const tpm = bootedTpm(SECURE_BOOT);
    await expect(enroll(house, tpm, tpm.createAk(), { logs: [bootLog(SECURE_BOOT)] })).rejects.toMatchObject({
      code: 'ADMISSION_BOOT_DENIED',
      message: expect.stringMatching(/expression\.rule \(EXPRESSION_CLAIM_MISSING\)/) as string,
    });
  });

  it('keeps out a host that waits for approval just as well', async () => {
    await open({ admission: ['approval'] });
    const tpm = bootedTpm(NO_SECURE_BOOT);
    const options = { logs: [bootLog(NO_SECURE_BOOT)], certificates: [undefined] };
    await expect(enroll(house, tpm, tpm.createAk(), options)).rejects.toMatchObject({ code: 'ADMISSION_BOOT_DENIED' });
    const good = bootedTpm(SECURE_BOOT);
    const admitted = await enroll(house, good, good.createAk(), { ...options, logs: [bootLog(SECURE_BOOT)] });
    expect(admitted.host.state).toBe('pending');
  });

  it('keeps out a known host that comes again after a boot that does not satisfy the policy', async () => {
    await open();
    const tpm = bootedTpm(SECURE_BOOT);
    const ak = tpm.createAk();
    await enroll(house, tpm, ak, { logs: [bootLog(SECURE_BOOT)] });
    const other = bootLog(NO_SECURE_BOOT);
    await expect(enroll(house, tpm, ak, { logs: [other] })).rejects.toMatchObject({ code: 'ADMISSION_BOOT_DENIED' });
  });

  it('keeps everybody out as long as its policy does not exist', async () => {
    house = await openHouse({ bootPolicy: 'nowhere' });
    const tpm = bootedTpm(SECURE_BOOT);
    await expect(enroll(house, tpm, tpm.createAk(), { logs: [bootLog(SECURE_BOOT)] })).rejects.toMatchObject({
      code: 'ADMISSION_BOOT_DENIED',
      message: expect.stringContaining('nowhere') as string,
    });
  });
});
