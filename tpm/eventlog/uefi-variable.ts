/** UEFI_VARIABLE_DATA (PFP §10.4.5.5): how variables stand in events. */
import { tryRead } from './little-endian.ts';

/** Characters of a variable's name that are read. */
const MAX_NAME_LENGTH = 1024;

export const EFI_GLOBAL_VARIABLE = '8be4df61-93ca-11d2-aa0d-00e098032b8c';
export const EFI_IMAGE_SECURITY_DATABASE = 'd719b2cb-3d3a-4596-a3bc-dad00e67656f';
/** SPDM: `devdb`, the database of device certificates. */
export const EFI_DEVICE_SECURITY_DATABASE = 'b9c2b4f4-bf5f-462d-8adf-c5c70ac35dad';
export const SHIM_LOCK = '605dab50-e046-4300-abb6-3dd810dd8b23';

export interface UefiVariable {
  /** VariableName: the vendor GUID, text form. */
  readonly guid: string;
  readonly name: string;
  readonly data: Buffer;
  /** Bytes after the structure: old releases of shim log some. */
  readonly trailing: Buffer;
}

export function readVariable(bytes: Buffer): UefiVariable | undefined {
  return tryRead(bytes, (reader) => {
    const guid = reader.guid();
    const nameLength = reader.length64();
    const dataLength = reader.length64();
    if (nameLength > MAX_NAME_LENGTH) return undefined;
    const name = reader.bytes(2 * nameLength).toString('utf16le');
    return { guid, name, data: reader.bytes(dataLength), trailing: reader.rest() };
  });
}
