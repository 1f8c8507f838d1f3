/** IMA's boot_aggregate: the hash over the PCRs that firmware and boot loader extend, in both of the kernel's variants. */
import { digest, digestSize } from '../crypto/digest.ts';
import { startValue } from './replay.ts';
import type { Replay } from './replay.ts';

export interface BootAggregates {
  /** H(PCR 0 ‖ … ‖ PCR 7): the only one for SHA-1, and that of kernels before 5.8 for all hashes. */
  readonly pcr0To7: Buffer;
  /** H(PCR 0 ‖ … ‖ PCR 9): since Linux 5.8, for all hashes but SHA-1. */
  readonly pcr0To9: Buffer;
}

/** By bank. A PCR that the log does not extend counts with the value that it starts with. */
export function bootAggregates(replay: Replay): ReadonlyMap<number, BootAggregates> {
  return new Map(
    [...replay.pcrs].map(([alg, values]) => {
      const size = digestSize(alg);
      const pcrs = Array.from(
        { length: 10 },
        (_, pcr) => values.get(pcr) ?? startValue(pcr, size, replay.startup.locality),
      );
      return [alg, { pcr0To7: digest(alg, ...pcrs.slice(0, 8)), pcr0To9: digest(alg, ...pcrs) }];
    }),
  );
}
