/** Boots that a real one might have been: other events, and PCRs that they led to. */
import { digest } from '../../tpm/crypto/digest.ts';
import { parseEventLog } from '../../tpm/eventlog/parse.ts';
import type { LogEvent } from '../../tpm/eventlog/parse.ts';
import { replayLog } from '../../tpm/eventlog/replay.ts';
import type { BootOutcome } from '../../server/verifier/verify-boot.ts';
import { makeEvent } from '../tpm/eventlog/make-log.ts';
import type { MadeEvent } from '../tpm/eventlog/make-log.ts';
import type { MeasuredBoot } from '../tpm/eventlog/real-logs.ts';
import { bootedTpm, bootLog, eventSpans, proveBootOf } from './booted-machine.ts';

/** What happened otherwise: the events in the place of one, or null where it stays. */
export type Change = (event: LogEvent, text: string) => readonly MadeEvent[] | null;

/**
 * What the logs of a changed boot prove. `later` is extended after it and written at the end of the log, as whoever has root can do. A
 * type and data that are not what was measured are those of a log that was rewritten.
 */
export function changedBoot(
  boot: MeasuredBoot,
  change: Change = () => null,
  later: readonly MadeEvent[] = [],
): BootOutcome {
  const { data: log } = bootLog(boot);
  const { banks, events } = parseEventLog(log);
  const algs = banks.map(({ alg }) => alg);
  const spans = eventSpans(log);
  const parts = events.map((event, index) => {
    const others = change(event, event.data.toString('latin1'));
    if (others !== null) return Buffer.concat(others.map((other) => makeEvent(other, algs)));
    return log.subarray(spans[index]?.start, spans[index]?.end);
  });
  const tpm = bootedTpm(boot);
  const changed = Buffer.concat(parts);
  for (const [alg, values] of replayLog(parseEventLog(changed)).pcrs) {
    for (const [pcr, value] of values) tpm.pcrs.get(alg)?.set(pcr, value);
  }
  for (const { pcr, data, measured = data } of later) {
    for (const alg of algs) tpm.extend(pcr, Buffer.from(digest(alg, measured)), alg);
  }
  const data = Buffer.concat([changed, ...later.map((event) => makeEvent(event, algs))]);
  return proveBootOf(tpm, [{ kind: 'boot', data }]).outcome;
}
