/** Logs that explain every PCR, of boots that no policy of these may affirm: by who has root, and knows what is not covered. */
import { describe, expect, it } from 'vitest';

import { EV_EFI_VARIABLE_AUTHORITY, EV_IPL } from '../../../tpm/eventlog/event-types.ts';
import { SHIM_LOCK } from '../../../tpm/eventlog/uefi-variable.ts';
import { RULE, SECURE_BOOT } from '../../support/booted-machine.ts';
import { changedBoot } from '../../support/changed-boot.ts';
import { dataIsHere } from '../../support/data.ts';
import { makeVariable } from '../../tpm/eventlog/make-log.ts';
import type { MadeEvent } from '../../tpm/eventlog/make-log.ts';
import { EVERY_RULE, findingOf, judge } from './boot-input.ts';

const here = dataIsHere('measured-boot');

/** An event of PCR 7 as shim measures its variables. */
const ofShim = (name: string, data: Buffer): MadeEvent => ({
  pcr: 7,
  type: EV_EFI_VARIABLE_AUTHORITY,
  data: makeVariable(SHIM_LOCK, name, data),
});

describe.skipIf(!here)('shim that verifies nothing', () => {
  const off = ofShim('MokSBState', Buffer.from([1]));
  const inPcr14 = (name: string): MadeEvent => ({
    pcr: 14,
    type: EV_IPL,
    data: Buffer.from(name),
    measured: Buffer.from([1]),
  });

  it.each([
    ['calls its state what it is', [off, inPcr14('MokSBState')]],
    ['calls its state in PCR 14 otherwise', [off, inPcr14('MokListX')]],
    ['says it in PCR 7 alone', [off]],
    ['says it in PCR 14 alone', [inPcr14('MokSBState')]],
    ['measures that it is on after that it is off', [off, ofShim('MokSBState', Buffer.from([0]))]],
  ])('is SECURE_BOOT_WEAKENED where the log %s', (_name, later) => {
    const verdict = judge({ secureBoot: RULE }, changedBoot(SECURE_BOOT, undefined, later));
    expect(verdict.status).toBe('contraindicated');
    expect(findingOf(verdict, 'boot.secure-boot')).toMatchObject({
      reason: 'SECURE_BOOT_WEAKENED',
      observed: 'MokSBState',
    });
  });

  it('is not what MokSBState of 0 says, nor is that a signer', () => {
    const later = [ofShim('MokSBState', Buffer.from([0])), inPcr14('MokSBState')];
    expect(judge(EVERY_RULE, changedBoot(SECURE_BOOT, undefined, later)).status).toBe('affirming');
  });
});
