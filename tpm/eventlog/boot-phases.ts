/** What booted, in order: events in the phases of a boot, and what the log says of the kernel. */
import type { CheckedEvent, CheckedLog } from './check-events.ts';
import { EV_ACTION_TYPES, EV_EFI_BOOT_SERVICES_APPLICATION, EV_IPL, EV_SEPARATOR } from './event-types.ts';
import {
  CALLING_APPLICATION,
  EXIT_BOOT_SERVICES,
  EXIT_BOOT_SERVICES_FAILURE,
  EXIT_BOOT_SERVICES_SUCCESS,
} from './known-digests.ts';
import { FindingList } from './finding.ts';
import type { EventLogFinding } from './finding.ts';
import { readKernel } from './kernel.ts';
import type { KernelClaims } from './kernel.ts';
import { EV_NO_ACTION } from './parse.ts';

/**
 * `firmware`: until it hands over; `boot-manager`: EFI applications such as shim; `boot-loader`: what GRUB, systemd-boot or a unified
 * kernel image measure; `exit`: ExitBootServices and whatever is logged after it.
 */
export const BOOT_PHASES = ['firmware', 'boot-manager', 'boot-loader', 'exit'] as const;
export type BootPhaseName = (typeof BOOT_PHASES)[number];

export interface BootPhase {
  readonly phase: BootPhaseName;
  readonly events: readonly CheckedEvent[];
}

export interface Boot {
  /** Only phases that have events. */
  readonly phases: readonly BootPhase[];
  /**
   * What ran or may have run before the kernel, by digest: every event of PCR 2 and 4 whose digest is not that of its own data,
   * whatever its type, since an image that a policy forbids could hide under any; and one whose data is itself an image, since the
   * bytes that Authenticode hashes could stand in the log as the data of another event.
   */
  readonly images: readonly CheckedEvent[];
  readonly kernel: KernelClaims;
  /** `missing`: the log ends without; `begun`: it does not say how it ended. */
  readonly exitBootServices: 'success' | 'failure' | 'begun' | 'missing';
  readonly findings: readonly EventLogFinding[];
}

const IMAGE_PCRS: readonly number[] = [2, 4];
/** How images begin: with a DOS header, or without one, or in the terse form (PI 1.8 vol. 1 §15). */
const IMAGE_STARTS: readonly number[] = ['MZ', 'PE', 'VZ'].map((start) => Buffer.from(start).readUInt16BE());
/** Texts, separators and variables that firmware measures beside images are shorter. */
const MAX_PLAIN_BYTES = 1024;
const LOADER_PCRS: readonly number[] = [8, 9, 11, 12, 13];

/** Orders the events of a log into phases. A phase once left is never entered again: firmware that logs late shows where it did. */
export function readBoot(log: CheckedLog): Boot {
  const findings = new FindingList();
  const phases: CheckedEvent[][] = BOOT_PHASES.map(() => []);
  let current = 0;
  for (const event of log.events) {
    if (event.type === EV_NO_ACTION) continue;
    current = Math.max(current, BOOT_PHASES.indexOf(phaseThatBegins(event)));
    phases[current]?.push(event);
  }
  const exitBootServices = readExit(log.events);
  if (exitBootServices === 'failure') {
    findings.add('EXIT_BOOT_SERVICES_FAILED', { pcr: 5 }, 'ExitBootServices failed, and no later call succeeded');
  }
  const kernel = readKernel(log, findings);
  return {
    phases: BOOT_PHASES.flatMap((phase, index) => {
      const events = phases[index] ?? [];
      return events.length === 0 ? [] : [{ phase, events }];
    }),
    images: log.events.filter(
      (event) => IMAGE_PCRS.includes(event.pcr) && event.type !== EV_NO_ACTION && !isPlainData(event),
    ),
    kernel,
    exitBootServices,
    findings: findings.list(),
  };
}

/** Data that was measured as it is, and is no image. */
function isPlainData({ measured }: CheckedEvent): boolean {
  if (measured === undefined || measured.length > MAX_PLAIN_BYTES) return false;
  return measured.length < 2 || !IMAGE_STARTS.includes(measured.readUInt16BE());
}

/** The phase that an event shows to have begun; most show none but the first. */
function phaseThatBegins(event: CheckedEvent): BootPhaseName {
  const { type, pcr } = event;
  if (type !== EV_SEPARATOR && LOADER_PCRS.includes(pcr)) return 'boot-loader';
  const action = actionText(event);
  if (action === EXIT_BOOT_SERVICES) return 'exit';
  if (action === CALLING_APPLICATION || type === EV_EFI_BOOT_SERVICES_APPLICATION) return 'boot-manager';
  return type === EV_IPL ? 'boot-manager' : 'firmware';
}

/** The text of a verified action. */
export function actionText({ type, measured }: CheckedEvent): string | undefined {
  if (measured === undefined || !EV_ACTION_TYPES.includes(type)) return undefined;
  return measured.toString('latin1').replace(/\0$/, '');
}

/** The last word of the log on it: a loader may try again after a failure. */
function readExit(events: readonly CheckedEvent[]): Boot['exitBootServices'] {
  let exit: Boot['exitBootServices'] = 'missing';
  for (const event of events) {
    const text = actionText(event);
    if (text === EXIT_BOOT_SERVICES) exit = 'begun';
    else if (text === EXIT_BOOT_SERVICES_SUCCESS) exit = 'success';
    else if (text === EXIT_BOOT_SERVICES_FAILURE) exit = 'failure';
  }
  return exit;
}
