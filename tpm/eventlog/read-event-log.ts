/** One call from the bytes of a boot log to all that it says, and all that is wrong with it. */
import { bootAggregates } from './boot-aggregate.ts';
import type { BootAggregates } from './boot-aggregate.ts';
import { readBoot } from './boot-phases.ts';
import type { Boot } from './boot-phases.ts';
import { checkEvents } from './check-events.ts';
import type { CheckedLog } from './check-events.ts';
import { comparePcrs } from './compare-pcrs.ts';
import type { PcrComparison } from './compare-pcrs.ts';
import type { EventLogFinding } from './finding.ts';
import { parseEventLog } from './parse.ts';
import { replayLog } from './replay.ts';
import type { Replay, ReplayedPcrs } from './replay.ts';
import { readSecureBoot } from './secure-boot.ts';
import type { SecureBootState } from './secure-boot-state.ts';
import { checkSeparators } from './separators.ts';
import { extendReplay, parseUserspaceLog } from './userspace-log.ts';
import { cutToPcrs } from './userspace-prefix.ts';
import type { UserspaceLog } from './userspace-log.ts';

export interface EventLogOptions {
  /** TPM_ALG_IDs of the banks that count; by default all that the log declares. */
  readonly banks?: readonly number[] | undefined;
  /** systemd's log, which goes on where the firmware's ends. */
  readonly userspaceLog?: Uint8Array | undefined;
  /** PCR values to explain: those that a quote proved, of every active bank, without IMA's PCR 10. */
  readonly pcrs?: ReplayedPcrs | undefined;
  /** More events than these end the reading with a finding. */
  readonly maxEvents?: number | undefined;
}

export interface EventLogReading {
  readonly log: CheckedLog;
  readonly userspace: UserspaceLog | undefined;
  /** After both logs. */
  readonly replay: Replay;
  /** How each of the given PCRs came out; empty where none were given. */
  readonly pcrs: readonly PcrComparison[];
  /** By bank, after the firmware log alone: IMA takes it before the operating system measures anything. */
  readonly bootAggregates: ReadonlyMap<number, BootAggregates>;
  readonly secureBoot: SecureBootState;
  readonly boot: Boot;
  /** Of every part, in the order of the work. */
  readonly findings: readonly EventLogFinding[];
}

/**
 * Reads, checks and replays a boot log. Never throws for what the logs hold. With `pcrs` of a verified quote and no finding of
 * severity error, what is `verified` in the answer was measured on the host; without, the answer is but what the log claims.
 */
export function readEventLog(bytes: Uint8Array, options: EventLogOptions = {}): EventLogReading {
  const parsed = parseEventLog(bytes, options.maxEvents);
  const log = checkEvents(parsed, options.banks);
  const firmware = replayLog(log, options.banks);
  const whole = options.userspaceLog === undefined ? undefined : parseUserspaceLog(options.userspaceLog);
  const userspace =
    whole === undefined || options.pcrs === undefined ? whole : cutToPcrs(whole, firmware, options.pcrs);
  const replay = userspace === undefined ? firmware : extendReplay(firmware, userspace);
  const compared = options.pcrs === undefined ? undefined : comparePcrs(log, replay, options.pcrs);
  const secureBoot = readSecureBoot(log);
  const boot = readBoot(log);
  return {
    log,
    userspace,
    replay,
    pcrs: compared?.pcrs ?? [],
    bootAggregates: bootAggregates(firmware),
    secureBoot: secureBoot.state,
    boot,
    findings: [
      ...log.findings,
      ...(userspace?.findings ?? []),
      ...replay.findings,
      ...(compared?.findings ?? []),
      ...checkSeparators(log),
      ...secureBoot.findings,
      ...boot.findings,
    ],
  };
}
