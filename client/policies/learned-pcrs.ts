/** Which PCRs are worth a fixed value. What each holds: TCG PC Client Platform Firmware Profile §3.3.4, and systemd's TPM2 PCRs. */
export interface PcrKind {
  /** What is measured into it. */
  readonly holds: string;
  /** Why its value does not last; empty where it does. */
  readonly moves: string;
  /** Why no policy may name a value of it. */
  readonly refused?: string;
}

const SYSTEM = 'the operating system goes on measuring into it';
const LOADER = 'it changes with each kernel, initrd and boot menu';
const RESETTABLE = { holds: 'nothing of the boot', moves: '', refused: 'anybody on the host can reset it' };
const DYNAMIC = { holds: 'a dynamic launch', moves: 'it is set anew by each dynamic launch' };

const KINDS: readonly PcrKind[] = [
  { holds: 'the code of the firmware', moves: '' },
  { holds: 'settings of the firmware and hardware', moves: 'setup and hardware change it' },
  { holds: 'drivers and option ROMs', moves: '' },
  { holds: 'settings of drivers and option ROMs', moves: 'cards and their settings change it' },
  { holds: 'the boot loaders that ran', moves: '' },
  { holds: 'settings of the boot loader and the partition table', moves: 'it differs from disk to disk' },
  { holds: "what the machine's maker chose", moves: 'some makers measure what differs from machine to machine' },
  { holds: 'Secure Boot: its state, its keys, and who vouched for what ran', moves: '' },
  { holds: 'commands of the boot loader, and the command line of the kernel', moves: LOADER },
  { holds: 'files that the boot loader read: kernel, initrd', moves: LOADER },
  { holds: 'what IMA measures', moves: '', refused: 'IMA moves it at any time' },
  { holds: 'the unified kernel image and phases of the boot', moves: SYSTEM },
  { holds: 'command lines and credentials', moves: SYSTEM },
  { holds: 'system extensions', moves: SYSTEM },
  { holds: "shim's lists of the machine's owner", moves: '' },
  { holds: 'identity of the system', moves: SYSTEM },
  RESETTABLE,
  DYNAMIC,
  DYNAMIC,
  DYNAMIC,
  DYNAMIC,
  DYNAMIC,
  DYNAMIC,
  RESETTABLE,
];

/** Those whose value lasts until firmware, loader or keys are changed on purpose. */
export const STABLE_PCRS: readonly number[] = [0, 2, 4, 7];

/** Undefined where there is no such PCR. */
export function pcrKind(index: number): PcrKind | undefined {
  return KINDS[index];
}
