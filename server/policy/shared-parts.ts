import { hash } from 'node:crypto';

import { ownPcrValues } from '../../tpm/crypto/pcr.ts';
import type { ProvenPcrValues } from '../../tpm/crypto/pcr.ts';
import type { CheckRecord } from '../store/records.ts';

/** Of each kind; what was not asked for longest goes first. */
const MAX_PARTS = 4_096;
/** Characters of what is shared: what is longer is of one host. */
const MAX_LENGTH = 1_024;

/**
 * What is equal in the verdicts of many hosts, in the PCR values behind them and in what their TPMs are, held once: hosts of one make
 * boot alike and are judged alike, and each open stream keeps its last verdict. What is given back is equal to what was given, so that
 * no verdict depends on what is held here.
 */
export class SharedParts {
  readonly #checks = new Map<string, CheckRecord>();
  readonly #data = new Map<string, object>();
  readonly #algorithms = new Map<string, ReadonlySet<number>>();
  readonly #pcrs = new Map<string, ProvenPcrValues>();

  /** The checks of a verdict, each as it is held. */
  checks(checks: readonly CheckRecord[]): readonly CheckRecord[] {
    return checks.map((check) => {
      // Each round brings another clock: they would take the place of what is shared.
      if (check.id === 'clock') return check;
      const { id, outcome, reason, observed, expected, message } = check;
      const key = JSON.stringify([id, outcome, reason, observed, expected, message]);
      return key.length > MAX_LENGTH ? check : held(this.#checks, key, () => check);
    });
  }

  /** Plain data of a host's record as it is held, such as the banks of its TPM. */
  data<T extends object>(value: T): T {
    const key = JSON.stringify(value);
    // What has the same text is of the same shape.
    return key.length > MAX_LENGTH ? value : (held(this.#data, key, () => value) as T);
  }

  /** Which banks are active, TPM_ALG_ID, as it is held. */
  algorithms(banks: ReadonlySet<number>): ReadonlySet<number> {
    return held(this.#algorithms, [...banks].join(' '), () => banks);
  }

  /** Proven PCR values as they are held: in buffers of their own, not in those of the message that brought them. */
  pcrs(values: ProvenPcrValues): ProvenPcrValues {
    return held(this.#pcrs, keyOf(values), () => ownPcrValues(values));
  }
}

function held<T>(parts: Map<string, T>, key: string, make: () => T): T {
  const part = parts.get(key) ?? make();
  parts.delete(key);
  parts.set(key, part);
  const [oldest] = parts.keys();
  if (parts.size > MAX_PARTS && oldest !== undefined) parts.delete(oldest);
  return part;
}

/** SHA-256 over each value with its bank and index; a bank has values of one length. */
function keyOf(values: ProvenPcrValues): string {
  const parts = [...values].flatMap(([bank, indexed]) =>
    [...indexed].flatMap(([index, value]) => [Buffer.from([bank >> 8, bank & 0xff, index, value.length]), value]),
  );
  return hash('sha256', Buffer.concat(parts), 'hex');
}
