import type { ReplayedPcrs } from '../../tpm/eventlog/replay.ts';
import { hashAlgorithmByName } from '../../tpm/structures/constants.ts';
import { UsageError } from '../failure.ts';

/** Bytes of a log, or the bytes that its base64 text stands for: a binary log always holds a zero byte, text never does. */
export function decodeLogFile(content: Buffer): Buffer {
  const text = content.length > 0 && !content.includes(0) ? content.toString('latin1') : '';
  return /^[A-Za-z0-9+/\s]+={0,2}\s*$/.test(text) ? Buffer.from(text, 'base64') : content;
}

/** `sha256 7 HEX` as sysfs and this project's captures have it. */
const PLAIN_LINE = /^(?<bank>\w+)\s+(?<pcr>\d{1,2})\s+(?<value>[0-9A-Fa-f]+)$/;
/** `sha256:` and below it `7 : 0xHEX`, as `tpm2_pcrread` prints them. */
const BANK_LINE = /^(?<bank>\w+):$/;
const VALUE_LINE = /^(?<pcr>\d{1,2})\s*:\s*0x(?<value>[0-9A-Fa-f]+)$/;
const HIGHEST_PCR = 23;

/**
 * Reads PCR values from text.
 * @throws UsageError with the first line that is wrong
 */
export function parsePcrFile(file: string, text: string): ReplayedPcrs {
  const banks = new Map<number, Map<number, Buffer>>();
  let heading = '';
  for (const [index, line] of text.split('\n').entries()) {
    const content = line.trim();
    if (content === '' || content.startsWith('#')) continue;
    const bankLine = BANK_LINE.exec(content);
    if (bankLine !== null) {
      heading = bankLine.groups?.['bank'] ?? '';
      continue;
    }
    const {
      bank = heading,
      pcr = '',
      value = '',
    } = (PLAIN_LINE.exec(content) ?? VALUE_LINE.exec(content))?.groups ?? {};
    const row = hashAlgorithmByName(bank);
    if (row === undefined || pcr === '' || Number(pcr) > HIGHEST_PCR || value.length !== 2 * row.size) {
      throw new UsageError(`${file}:${index + 1}: not a PCR value: ${content.slice(0, 200)}`);
    }
    const values = banks.get(row.alg) ?? new Map<number, Buffer>();
    banks.set(row.alg, values.set(Number(pcr), Buffer.from(value, 'hex')));
  }
  if (banks.size === 0) throw new UsageError(`${file} holds no PCR value`);
  return banks;
}
