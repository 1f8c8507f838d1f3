import { algorithmName } from '../../tpm/structures/constants.ts';
import type { BootEvidence } from '../policy/appraise-boot.ts';
import type { ApplicablePolicy } from '../policy/appraise.ts';
import { selectBootPcrs } from '../policy/select-pcrs.ts';
import { isDamaged } from '../store/damaged.ts';
import type { HostRecord, LogKind, LogPart } from '../store/records.ts';
import type { LogStore } from '../store/log-store.ts';
import type { RoundInput } from '../store/store.ts';
import type { BootCache, KnownBoot } from '../verifier/boot-cache.ts';
import { logsOf, recordBoot } from '../verifier/boot-record.ts';
import { unevaluated } from '../verifier/finding.ts';
import type { VerifiedEvidence } from '../verifier/verify-evidence.ts';
import type { Challenge, RoundEvidence } from './messages.ts';

/** What of a round its boot is judged from. */
export interface BootContext {
  readonly host: Pick<HostRecord, 'banks'>;
  readonly challenge: Pick<Challenge, 'selection'>;
  readonly applicable: ApplicablePolicy;
  readonly boot: KnownBoot | null;
}

/** What a host proved of its present boot in an earlier round; null when nothing, or its logs are not there any more. */
export async function loadBoot(
  store: Pick<LogStore, 'getBoot' | 'readLog'>,
  boots: BootCache,
  hostId: string,
): Promise<KnownBoot | null> {
  const record = await store.getBoot(hostId);
  if (record === null) return null;
  // A log that is damaged is none: the host is asked for it anew.
  const read = (kind: LogKind, size: number): Promise<Uint8Array | null> =>
    store.readLog(hostId, kind, 0, size).catch((error: unknown) => {
      if (isDamaged(error)) return null;
      throw error;
    });
  return boots.verify(record, async () => ({
    boot: await read('boot', record.bootLog.size),
    userspace: await read('userspace', record.userspaceLog.size),
  }));
}

/** What a round proves of the boot: only one that was asked for every bank and every log does. */
export function proveBoot(
  boots: BootCache,
  round: {
    readonly challenge: Pick<Challenge, 'selection'>;
    readonly evidence: Pick<RoundEvidence, 'logs'>;
    readonly verified: VerifiedEvidence;
    readonly logs: readonly LogPart[];
  },
): Promise<KnownBoot | null> | null {
  const { challenge, evidence, verified, logs } = round;
  const record = challenge.selection === 'all' ? recordBoot(verified, evidence.logs, logs) : null;
  return record === null ? null : boots.verify(record, () => logsOf(logs));
}

/** Log and quote may be of two moments: no guilt, and no verdict yet. */
export function isTornBoot(boot: KnownBoot | null): boolean {
  return boot?.outcome.kind === 'unverified' && boot.outcome.torn;
}

/**
 * Whether the host showed a log in an earlier round since the last reset that is not its boot's. That stands until the next reset,
 * whatever it shows after it; a log that only did not fit to its quote does not. A resume is no reset: it keeps the PCRs.
 */
export function standsAgainst(boot: KnownBoot | null): boot is KnownBoot & { outcome: { kind: 'unverified' } } {
  return boot?.outcome.kind === 'unverified' && !boot.outcome.torn;
}

/**
 * What the round changes of what is kept of the boot. The logs of a round that was asked for all of them replace those that were
 * kept: where it proves no boot, or is a clone's, the one of before has lost its logs.
 */
export function bootChange(
  { selection }: Pick<Challenge, 'selection'>,
  round: {
    readonly proven: KnownBoot | null;
    readonly boot: BootEvidence;
    readonly regressed: boolean;
    readonly rebooted: boolean;
  },
): Pick<RoundInput, 'boot'> {
  if (round.proven !== null && !round.regressed) return { boot: round.proven.record };
  const ended = round.rebooted && !round.regressed;
  return selection === 'all' || ended || round.boot.kind === 'moved' ? { boot: null } : {};
}

/**
 * The boot that this round may be judged by: its own, or the one from before, as long as the PCRs that the rules rest on hold what
 * the log was replayed against.
 */
export function bootEvidence(
  context: BootContext,
  verified: Pick<VerifiedEvidence, 'pcrs'>,
  proven: KnownBoot | null,
): BootEvidence {
  if (proven !== null) return proven.outcome;
  // A quote of every bank without a boot beside it: what came before is not what this host says now.
  if (context.challenge.selection === 'all' || context.boot === null) return { kind: 'none' };
  const { record, outcome } = context.boot;
  // What speaks against the host stands, whatever moves after it.
  if (outcome.kind !== 'verified') return outcome;
  const selected = selectBootPcrs(
    context.applicable,
    context.host.banks.map(({ algorithm, pcrs }) => ({ hash: algorithm, pcrs })),
  );
  if (selected === null) return outcome;
  const before = new Map(record.pcrs.find(({ algorithm }) => algorithm === selected.hash)?.values);
  const now = verified.pcrs?.get(selected.hash);
  const moved = selected.pcrs.find(
    (pcr) => before.get(pcr) === undefined || now?.get(pcr)?.toString('hex') !== before.get(pcr),
  );
  if (moved === undefined) return outcome;
  return {
    kind: 'moved',
    finding: unevaluated('boot-log', {
      reason: 'BOOT_PCRS_MOVED',
      observed: now?.get(moved)?.toString('hex') ?? 'not quoted',
      expected: before.get(moved) ?? 'not proven',
      message: `PCR ${moved} of the ${algorithmName(selected.hash)} bank moved since the boot log was replayed. The log is being asked for anew.`,
    }),
  };
}
