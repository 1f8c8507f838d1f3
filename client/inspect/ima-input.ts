import { parseImaAscii } from '../../tpm/ima/ascii.ts';
import { encodeImaList } from '../../tpm/ima/encode.ts';
import type { ImaEntry } from '../../tpm/ima/entry.ts';
import { imaFinding } from '../../tpm/ima/findings.ts';
import type { ImaFinding } from '../../tpm/ima/findings.ts';
import { ImaListReader } from '../../tpm/ima/parse.ts';

/** A saved list, whatever form it was saved in. `binary` is the list as the kernel would give it. */
export interface ImaInput {
  readonly form: 'binary' | 'base64' | 'ascii';
  readonly entries: readonly ImaEntry[];
  readonly binary: Buffer;
  readonly findings: readonly ImaFinding[];
}

/** Reads a list: binary, the same in Base64, or ASCII; the bytes themselves tell which. */
export function readImaInput(file: Buffer): ImaInput {
  if (!isText(file)) return readBinary(file, 'binary');
  const text = file.toString('latin1');
  if (/^[A-Za-z0-9+/\s]+=*\s*$/.test(text) && !text.trim().includes(' ')) {
    return readBinary(Buffer.from(text, 'base64'), 'base64');
  }
  const { entries, findings } = parseImaAscii(text);
  return { form: 'ascii', entries, binary: encodeImaList(entries), findings };
}

/** A binary list begins with a small integer, so zeros are among its first bytes. */
function isText(file: Buffer): boolean {
  return file.length > 0 && !file.subarray(0, 64).some((byte) => byte < 0x09 || byte === 0x7f);
}

function readBinary(binary: Buffer, form: 'binary' | 'base64'): ImaInput {
  const reader = new ImaListReader();
  reader.push(binary);
  const entries: ImaEntry[] = [];
  for (let entry = reader.next(); entry !== undefined; entry = reader.next()) entries.push(entry);
  if (reader.fault !== undefined) return { form, entries, binary, findings: [reader.fault] };
  if (reader.pendingBytes === 0) return { form, entries, binary, findings: [] };
  const place = { index: reader.index, offset: reader.offset };
  const bytes = reader.pendingBytes;
  // Where only the zero behind the last name was cut off, nothing is lost that the list could tell.
  reader.push(Buffer.alloc(1));
  const last = reader.next();
  const loss = last === undefined ? 'they are left out' : 'only its last byte is missing, which is taken for a zero';
  const message = `the list ends inside an entry, after ${bytes} bytes of it: ${loss}`;
  const findings = [imaFinding('IMA_LIST_ENDS_INSIDE_ENTRY', place, message)];
  return { form, entries: last === undefined ? entries : [...entries, last], binary, findings };
}
