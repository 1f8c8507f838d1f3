/** UEFI_GPT_DATA (PFP §10.4.5.7): the partition table that the firmware booted from. */
import { tryRead } from './little-endian.ts';

/** UEFI §5.3.2: entries that a table has by default, and ten times as many. */
const MAX_PARTITIONS = 1280;
const EMPTY_GUID = '00000000-0000-0000-0000-000000000000';

export interface GptPartition {
  readonly typeGuid: string;
  readonly uniqueGuid: string;
  /** Logical blocks, both inclusive. */
  readonly firstBlock: bigint;
  readonly lastBlock: bigint;
  readonly name: string;
}

export interface GptTable {
  readonly diskGuid: string;
  readonly partitions: readonly GptPartition[];
}

export function readGptEvent(bytes: Buffer): GptTable | undefined {
  return tryRead(bytes, (reader) => {
    const header = reader.bytes(92);
    if (header.subarray(0, 8).toString('latin1') !== 'EFI PART') return undefined;
    const size = header.readUInt32LE(84);
    const count = reader.u64();
    if (size < 128 || size > 4096 || count > BigInt(MAX_PARTITIONS)) return undefined;
    const partitions: GptPartition[] = [];
    for (let index = 0; index < Number(count); index++) {
      const entry = reader.bytes(size);
      const partition = readPartition(entry);
      if (partition !== undefined && partition.typeGuid !== EMPTY_GUID) partitions.push(partition);
    }
    return { diskGuid: tryRead(header.subarray(56, 72), (inner) => inner.guid()) ?? EMPTY_GUID, partitions };
  });
}

function readPartition(entry: Buffer): GptPartition | undefined {
  return tryRead(entry, (reader) => {
    const typeGuid = reader.guid();
    const uniqueGuid = reader.guid();
    const firstBlock = reader.u64();
    const lastBlock = reader.u64();
    reader.u64();
    const [name = ''] = reader.bytes(72).toString('utf16le').split('\0', 1);
    return { typeGuid, uniqueGuid, firstBlock, lastBlock, name };
  });
}
