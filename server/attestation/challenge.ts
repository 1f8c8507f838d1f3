import { selectPcrs } from '../policy/select-pcrs.ts';
import type { ApplicablePolicy } from '../policy/appraise.ts';
import { bootRulesOf, runtimeRulesOf } from '../policy/policy.ts';
import { isOtherBoot } from '../store/enroll-rules.ts';
import { placeLogPart } from '../store/log-rules.ts';
import type { HostRecord, LogKind, LogState } from '../store/records.ts';
import type { RoundInput } from '../store/store.ts';
import type { KnownBoot } from '../verifier/boot-cache.ts';
import type { BootHint, Challenge } from './messages.ts';
import type { KnownRuntime } from './known-runtime.ts';

/** How long an agent may take for one answer, milliseconds. A quote takes some 20 ms, the largest log some seconds. */
export const CHALLENGE_LIFETIME = 60_000;
const NONCE_BYTES = 32;
const LOG_KINDS: readonly LogKind[] = ['boot', 'userspace', 'ima'];

export interface ChallengeContext {
  readonly host: Pick<HostRecord, 'clock' | 'banks' | 'banksProven'>;
  readonly applicable: ApplicablePolicy;
  readonly logs: readonly LogState[];
  /** What the agent says of its boot; null when it said nothing. */
  readonly boot: BootHint | null;
  /** What the host proved of its present boot; null when nothing. */
  readonly known: KnownBoot | null;
  readonly runtime: KnownRuntime;
  readonly now: number;
  readonly random: (size: number) => Buffer;
}

/**
 * Draws a challenge. After a reset, as long as the banks are not proven, and where a boot rule has no boot to judge, it asks for
 * all: every active bank, proven, and every log from its start. Else for the PCRs of the policy and for what the list of run-time measurements has grown by.
 */
export function drawChallenge(context: ChallengeContext): Challenge {
  const { host, applicable, boot, now, random } = context;
  const rebooted = boot !== null && isOtherBoot(host.clock, boot);
  const all = rebooted || !host.banksProven || lacksBoot(context);
  const banks = host.banks.map(({ algorithm, pcrs }) => ({ hash: algorithm, pcrs }));
  return {
    nonce: random(NONCE_BYTES),
    selection: all ? 'all' : selectPcrs(applicable, banks, context.runtime.state?.pcrs),
    logs: all ? LOG_KINDS.map((kind) => ({ kind, offset: 0 })) : growingLogs(context),
    time: now,
  };
}

/**
 * Whether the policy asks what booted, and nothing says. A log that was not there, or did not fit to its quote, is asked for again
 * when the agent comes anew; one that was proven to be another's is not: that stands until the next boot.
 */
function lacksBoot({ applicable, boot, known }: ChallengeContext): boolean {
  if (applicable.kind !== 'policy') return false;
  const asked = bootRulesOf(applicable.policy) !== null;
  // Where a list of run-time measurements began is told by the PCRs of the boot.
  if (known === null) return asksForList(applicable) || asked;
  if (!asked) return false;
  const { outcome } = known;
  return boot !== null && (outcome.kind === 'missing' || (outcome.kind === 'unverified' && outcome.torn));
}

/**
 * What has grown since, and what has not come yet. The boot log does not grow after the boot, and a log that cannot be read is asked
 * for again only after the next one; but the list of run-time measurements is where a policy judges it.
 */
function growingLogs({ logs, applicable }: ChallengeContext): Challenge['logs'] {
  const asked = asksForList(applicable);
  const kept = new Map(logs.map((state) => [state.kind, state]));
  return LOG_KINDS.filter((kind) => {
    const state = kept.get(kind);
    if (state === undefined || (kind === 'ima' && asked)) return true;
    return kind !== 'boot' && state.unreadable === '';
  }).map((kind) => ({ kind, offset: kept.get(kind)?.size ?? 0 }));
}

function asksForList(applicable: ApplicablePolicy): boolean {
  return applicable.kind === 'policy' && runtimeRulesOf(applicable.policy) !== null;
}

/** Whether one challenge asks for all that another one does. */
export function asksAtLeast(
  { selection, logs }: Pick<Challenge, 'selection' | 'logs'>,
  other: Pick<Challenge, 'selection' | 'logs'>,
): boolean {
  if (selection === 'all') return true;
  if (other.selection === 'all') return false;
  const asked = new Map(selection.map(({ hash, pcrs }) => [hash, pcrs]));
  return (
    other.selection.every(({ hash, pcrs }) => pcrs.every((pcr) => asked.get(hash)?.includes(pcr) === true)) &&
    other.logs.every(({ kind, offset }) => logs.some((log) => log.kind === kind && log.offset === offset))
  );
}

/** What is known of the logs after a round that brought these parts, and said of others why they cannot be read. */
export function grownLogs(
  logs: readonly LogState[],
  { logs: parts, unreadable, runtime }: Pick<RoundInput, 'logs' | 'unreadable' | 'runtime'>,
): readonly LogState[] {
  if (parts.length === 0 && unreadable.length === 0 && runtime?.keepBytes === undefined) return logs;
  const known = new Map(logs.map((state) => [state.kind, state]));
  for (const { kind, reason } of unreadable)
    known.set(kind, { kind, size: known.get(kind)?.size ?? 0, unreadable: reason });
  for (const { kind, offset, data } of parts) {
    const { length } = data;
    // As the store keeps them.
    if (placeLogPart(known.get(kind)?.size ?? 0, { kind, offset, length }) !== 'ignore')
      known.set(kind, { kind, size: offset + length, unreadable: '' });
  }
  const ima = known.get('ima');
  if (ima !== undefined && runtime?.keepBytes !== undefined)
    known.set('ima', { ...ima, size: Math.min(ima.size, runtime.keepBytes) });
  return [...known.values()];
}
