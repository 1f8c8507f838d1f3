/** The operating system measures on while it is quoted: which of its records the quoted values hold already. */
import { ReplayedBank } from './replay.ts';
import type { Replay, ReplayedPcrs } from './replay.ts';
import type { UserspaceLog } from './userspace-log.ts';

/**
 * The log up to the last record after which it explains the given PCRs: later records were made after the quote and wait for the
 * next one. A log that explains them nowhere is left whole, so that its difference is found.
 */
export function cutToPcrs(log: UserspaceLog, firmware: Replay, given: ReplayedPcrs): UserspaceLog {
  const banks = new Map<number, ReplayedBank>();
  for (const [alg, values] of firmware.pcrs) {
    if (!given.has(alg)) continue;
    const bank = new ReplayedBank(alg, firmware.startup.locality);
    bank.load(values);
    banks.set(alg, bank);
  }
  const differs = new Set<string>();
  const compare = (alg: number, bank: ReplayedBank, pcr: number): void => {
    const value = given.get(alg)?.get(pcr);
    if (value === undefined || bank.value(pcr).equals(value)) differs.delete(`${alg}/${pcr}`);
    else differs.add(`${alg}/${pcr}`);
  };
  const touched = new Set(log.records.flatMap(({ pcr }) => pcr ?? []));
  for (const [alg, bank] of banks) for (const pcr of touched) compare(alg, bank, pcr);
  let fits = differs.size === 0 ? 0 : -1;
  for (const [index, { pcr, digests }] of log.records.entries()) {
    for (const [alg, bank] of banks) {
      const digest = digests.get(alg);
      if (pcr === undefined || digest === undefined) continue;
      bank.extend(pcr, digest);
      compare(alg, bank, pcr);
    }
    if (differs.size === 0) fits = index + 1;
  }
  return fits < 0 || fits === log.records.length ? log : { ...log, records: log.records.slice(0, fits) };
}
