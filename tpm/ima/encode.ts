import type { ImaEntry } from './entry.ts';

/** Entries in the binary form that `parse.ts` reads, in the layout of each. */
export function encodeImaList(entries: readonly ImaEntry[]): Buffer {
  return Buffer.concat(entries.flatMap(encodeEntry));
}

function encodeEntry({ pcr, template, templateHash, data, layout }: ImaEntry): readonly Buffer[] {
  const u32 = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    if (layout.byteOrder === 'little') bytes.writeUInt32LE(value);
    else bytes.writeUInt32BE(value);
    return bytes;
  };
  const name = Buffer.from(template.name, 'latin1');
  const length = template.fixedForm ? [] : [u32(data.length)];
  return [u32(pcr), templateHash, u32(name.length), name, ...length, data];
}
