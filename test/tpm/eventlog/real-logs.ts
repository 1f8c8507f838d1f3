import { readFileSync } from 'node:fs';
import { conformancePath, measuredBootPath } from '../../support/data.ts';

/** What an independent program replayed from a log: PCRs by name of the bank, the boot aggregates, the SecureBoot variable. */
export interface ExpectedReplay {
  readonly events: number;
  readonly format: 'crypto-agile' | 'sha1';
  readonly pcrs: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly bootAggregate: Readonly<Record<string, string>>;
  /** Hexadecimal; null for a log without the variable. */
  readonly secureBootVariableHex: string | null;
  readonly authorityEvents: number;
  readonly eventTypes: Readonly<Record<string, number>>;
}

export interface RealLog {
  readonly name: string;
  readonly bytes: Buffer;
  readonly expected: ExpectedReplay;
}

/** Every log of the conformance data that has an expectation. */
export function conformanceLogs(): readonly RealLog[] {
  const { logs } = JSON.parse(readFileSync(conformancePath('expected', 'eventlog-replay.json'), 'utf8')) as {
    readonly logs: Readonly<Record<string, ExpectedReplay>>;
  };
  return Object.entries(logs).map(([name, expected]) => ({ name, bytes: readLog(conformancePath(name)), expected }));
}

export const MEASURED_BOOTS = ['nosb-kernel-tis', 'sb-ms-shim-grub', 'debian-systemd-ima'] as const;
export type MeasuredBoot = (typeof MEASURED_BOOTS)[number];

export function measuredLog(boot: MeasuredBoot): Buffer {
  return readFileSync(measuredBootPath(boot, 'binary_bios_measurements'));
}

/** `sha256 7 HEX` lines of a capture, as bank name → PCR → lower-case hexadecimal. */
export function measuredPcrs(boot: MeasuredBoot): ReadonlyMap<string, ReadonlyMap<number, string>> {
  const banks = new Map<string, Map<number, string>>();
  for (const line of readFileSync(measuredBootPath(boot, 'pcrs.txt'), 'utf8').trim().split('\n')) {
    const [bank = '', pcr = '', value = ''] = line.split(' ');
    const values = banks.get(bank) ?? new Map<number, string>();
    banks.set(bank, values.set(Number(pcr), value.toLowerCase()));
  }
  return banks;
}

function readLog(path: string): Buffer {
  return path.endsWith('.b64') ? Buffer.from(readFileSync(path, 'utf8'), 'base64') : readFileSync(path);
}
