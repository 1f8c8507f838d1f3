/** Logs that explain every PCR, of boots that no policy of these may affirm: by who has root, and knows what is not covered. */
import { describe, expect, it } from 'vitest';

import { BOOT_CHECKS } from '../../../server/policy/boot-checks.ts';
import type { BootOutcome } from '../../../server/verifier/verify-boot.ts';
import {
  EV_EFI_ACTION,
  EV_EFI_BOOT_SERVICES_APPLICATION,
  EV_EFI_VARIABLE_AUTHORITY,
  EV_EFI_VARIABLE_DRIVER_CONFIG,
  EV_EVENT_TAG,
  EV_IPL,
} from '../../../tpm/eventlog/event-types.ts';
import { readEventLog } from '../../../tpm/eventlog/read-event-log.ts';
import { EFI_GLOBAL_VARIABLE, SHIM_LOCK } from '../../../tpm/eventlog/uefi-variable.ts';
import { bootLog, IMAGES, NO_SECURE_BOOT, RULE, SECURE_BOOT, SIGNERS } from '../../support/booted-machine.ts';
import { changedBoot } from '../../support/changed-boot.ts';
import type { Change } from '../../support/changed-boot.ts';
import { dataIsHere } from '../../support/data.ts';
import { makeVariable, u32 } from '../../tpm/eventlog/make-log.ts';
import type { MadeEvent } from '../../tpm/eventlog/make-log.ts';
import { EVERY_RULE, findingOf, judge } from './boot-input.ts';

const here = dataIsHere('measured-boot');
const SHIM_AND_GRUB = 2;
const wide = (text: string): string => Buffer.from(text, 'utf16le').toString('latin1');

/** A certificate that the rules allow. */
const signerOf = (): Buffer => {
  const { authorities } = readEventLog(bootLog(SECURE_BOOT).data).secureBoot;
  const signer = authorities.find(({ sha256 }) => sha256 === SIGNERS[1]);
  if (signer === undefined) throw new Error('the capture has no such signer');
  return signer.data;
};

/** An event of PCR 7 as shim measures its variables. */
const ofShim = (name: string, data: Buffer): MadeEvent => ({
  pcr: 7,
  type: EV_EFI_VARIABLE_AUTHORITY,
  data: makeVariable(SHIM_LOCK, name, data),
});

const BAD = '/vmlinuz root=/dev/sda1 init=/bin/sh';
const GOOD = '/vmlinuz root=/dev/sda1 ima_policy=tcb';
/** Text as GRUB measures it, under the prefix that somebody writes before it. */
const inPcr8 = (prefix: string, text: string): MadeEvent => ({
  pcr: 8,
  type: EV_IPL,
  data: Buffer.from(`${prefix}: ${text}`),
  measured: Buffer.from(text),
});
const command = (text: string): MadeEvent => inPcr8('grub_cmd', text);
const goodLine = inPcr8('kernel_cmdline', GOOD);

/** In the place of the command that loads the kernel, and in that of its command line. */
const loading =
  (commands: readonly MadeEvent[], lines: readonly MadeEvent[]): Change =>
  ({ pcr }, text) => {
    if (pcr !== 8) return null;
    if (text.startsWith('grub_cmd: linux ')) return commands;
    return text.startsWith('kernel_cmdline: ') ? lines : null;
  };

describe.skipIf(!here)('a kernel that boots with arguments that the policy forbids', () => {
  const rules = {
    ...EVERY_RULE,
    commandLine: { ...RULE, allowed: [], required: ['ima_policy=tcb'], forbidden: ['init'] },
  };
  const options = Buffer.from(`${BAD}\0`, 'utf16le');
  const hiddenOptions: MadeEvent = { pcr: 9, type: EV_IPL, data: Buffer.from('(hd0,gpt1)/vmlinuz'), measured: options };

  it.each<readonly [string, readonly MadeEvent[], readonly MadeEvent[]]>([
    [
      'was loaded by a command that returns the opposite',
      [command(`! linux ${BAD}`)],
      [command(BAD), command(`linux ${GOOD}`), goodLine],
    ],
    ['was started as a program, beside a command line', [command(`chainloader ${BAD}`)], [goodLine]],
    [
      'was started as a program, after another was loaded',
      [command(`chainloader ${BAD}`)],
      [command(`linux ${GOOD}`), goodLine],
    ],
    [
      'was started as a program, and its options stand in the log as a file',
      [command(`chainloader ${BAD}`)],
      [hiddenOptions, command(`linux ${GOOD}`), goodLine],
    ],
    ['was loaded by an unknown command', [command(`kexec_load ${BAD}`)], [command(`linux ${GOOD}`), goodLine]],
  ])('is not affirmed where it %s', (_name, commands, lines) => {
    const verdict = judge(rules, changedBoot(SECURE_BOOT, loading(commands, lines)));
    expect(verdict.status).toBe('none');
    expect(findingOf(verdict, 'boot.command-line')).toMatchObject({ outcome: 'error', reason: 'BOOT_CLAIM_MISSING' });
  });

  it('is contraindicated where the log is honest', () => {
    const change = loading([command(`linux ${BAD}`)], [inPcr8('kernel_cmdline', BAD)]);
    expect(judge(rules, changedBoot(SECURE_BOOT, change)).status).toBe('contraindicated');
  });

  const text = Buffer.from('LOADED_IMAGE::LoadOptions\0');
  const tag = Buffer.concat([u32(0x8f3b_22ed), u32(text.length), text]);
  const measuredByStub = (line: string): MadeEvent => ({
    pcr: 9,
    type: EV_EVENT_TAG,
    data: tag,
    measured: Buffer.from(`BOOT_IMAGE=${line}\0`, 'utf16le'),
  });

  it.each([
    ['affirmed where its EFI stub measured the same arguments again', GOOD, 'affirming'],
    ['not affirmed where its EFI stub measured other arguments', BAD, 'none'],
  ] as const)('is %s', (_name, line, status) => {
    const change = loading([command(`linux ${GOOD}`)], [goodLine, measuredByStub(line)]);
    expect(judge(rules, changedBoot(SECURE_BOOT, change)).status).toBe(status);
  });
});

describe.skipIf(!here)('a shim of before revocation levels', () => {
  const oldShim: Change = ({ pcr, type }, text) =>
    pcr === 7 && type === EV_EFI_VARIABLE_AUTHORITY && text.includes(wide('SbatLevel')) ? [] : null;
  const later = [ofShim('SbatLevel', Buffer.from('sbat,1,2025051800\nshim,4\ngrub,5\n'))];

  it.each([
    ['measures none', []],
    ['measures none, and root extends one into PCR 7', later],
  ])('%s: the rule on it is an error', (_name, events) => {
    const verdict = judge({ sbatLevel: EVERY_RULE.sbatLevel }, changedBoot(SECURE_BOOT, oldShim, events));
    expect(verdict.status).toBe('none');
    expect(findingOf(verdict, 'boot.sbat-level')).toMatchObject({
      outcome: 'error',
      observed: 'no revocation level was measured',
    });
  });
});

describe.skipIf(!here)('an odd event of the firmware', () => {
  const odd = (pcr: number): BootOutcome =>
    changedBoot(SECURE_BOOT, undefined, [{ pcr, type: EV_EFI_ACTION, data: Buffer.from('HP config\r\n') }]);

  it.each([0, 1, 3, 5, 6])('in PCR %i, on which no rule rests, refuses no log', (pcr) => {
    expect(judge(EVERY_RULE, odd(pcr)).status).toBe('affirming');
  });

  const decisive = [...new Set(Object.values(BOOT_CHECKS).flatMap(({ pcrs }) => pcrs))];
  it.each(decisive)('in PCR %i, on which a rule rests, does', (pcr) => {
    expect(judge(EVERY_RULE, odd(pcr)).status).toBe('contraindicated');
  });
});

/** The firmware's answer to whether Secure Boot is on, changed to another. */
const answering =
  (value: number, others: Change = () => null): Change =>
  (event, text) =>
    event.pcr === 7 && event.type === EV_EFI_VARIABLE_DRIVER_CONFIG && text.includes(wide('SecureBoot'))
      ? [{ pcr: 7, type: event.type, data: makeVariable(EFI_GLOBAL_VARIABLE, 'SecureBoot', Buffer.from([value])) }]
      : others(event, text);

/** Without Secure Boot GRUB does not ask shim about the kernel, and nobody measures an authority or the kernel's image. */
const withoutSecureBoot = (): BootOutcome => {
  let applications = 0;
  return changedBoot(
    SECURE_BOOT,
    answering(0, ({ pcr, type }, text) => {
      if (pcr === 7 && type === EV_EFI_VARIABLE_AUTHORITY) return text.includes(wide('SbatLevel')) ? null : [];
      if (pcr !== 4 || type !== EV_EFI_BOOT_SERVICES_APPLICATION) return null;
      applications += 1;
      return applications > SHIM_AND_GRUB ? [] : null;
    }),
  );
};

describe.skipIf(!here)('a boot without Secure Boot', () => {
  const names = ['allowedImages', 'forbiddenImages', 'allowedSigners', 'forbiddenSigners', 'sbatLevel'] as const;

  it.each(names)('leaves %s an error, never passed', (name) => {
    const verdict = judge({ [name]: EVERY_RULE[name] }, withoutSecureBoot());
    expect(verdict.status).toBe('none');
    expect(verdict.checks[0]).toMatchObject({ outcome: 'error', reason: 'BOOT_CLAIM_MISSING' });
  });

  it('has no signers, whoever extends one of his own into PCR 7', () => {
    const { allowedSigners, forbiddenSigners } = EVERY_RULE;
    const outcome = changedBoot(NO_SECURE_BOOT, undefined, [ofShim('Shim', signerOf())]);
    const verdict = judge({ allowedSigners, forbiddenSigners }, outcome);
    expect(verdict.status).toBe('none');
    for (const id of ['boot.allowed-signers', 'boot.forbidden-signers'])
      expect(findingOf(verdict, id)).toMatchObject({ outcome: 'error', observed: 'Secure Boot disabled' });
  });

  it('still fails for a forbidden image that was measured', () => {
    const verdict = judge({ forbiddenImages: { ...RULE, digests: [IMAGES[0]] } }, withoutSecureBoot());
    expect(findingOf(verdict, 'boot.forbidden-images')).toMatchObject({ reason: 'IMAGE_FORBIDDEN' });
  });

  it('is affirmed by the same rules where it is on', () => {
    const rules = Object.fromEntries(names.map((name) => [name, EVERY_RULE[name]]));
    expect(judge(rules, changedBoot(SECURE_BOOT)).status).toBe('affirming');
  });
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
