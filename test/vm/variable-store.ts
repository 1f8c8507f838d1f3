/** The flash image in which OVMF keeps its variables (edk2, MdeModulePkg/Include/Guid/VariableFormat.h, the authenticated format). */

/** A GUID as it stands in memory: its first three fields are little-endian. */
function guid(text: string): Buffer {
  const [a = '', b = '', c = '', ...rest] = text.split('-');
  const swap = (hex: string): Buffer => Buffer.from(hex, 'hex').reverse();
  return Buffer.concat([swap(a), swap(b), swap(c), Buffer.from(rest.join(''), 'hex')]);
}

const AUTHENTICATED_STORE = guid('aaf32c78-947b-439a-a180-2e144ec37792');
const IMAGE_SECURITY_DATABASE = guid('d719b2cb-3d3a-4596-a3bc-dad00e67656f');
const CERT_SHA256 = guid('c1c41626-504c-4092-aca9-41f936934328');
const OWNER = guid('4f52704f-494d-41fe-9de6-63bf4b0b1c5e');
/** NON_VOLATILE, BOOTSERVICE_ACCESS, RUNTIME_ACCESS, TIME_BASED_AUTHENTICATED_WRITE_ACCESS. */
const ATTRIBUTES = 0x27;

const STORE_HEADER = 28;
const VARIABLE_HEADER = 60;
const START = 0x55aa;
const ADDED = 0x3f;
/** What a state is and-ed with when the variable goes: flash clears bits and sets none. */
const DELETED = 0xfd;

interface Variable {
  readonly offset: number;
  readonly end: number;
  readonly data: Buffer;
}

/**
 * The image with one more hash in dbx, the list of what the firmware must not start: as after an update of the list, which
 * somebody with a key of the KEK would sign.
 * @param sha256 Authenticode digest of the program
 */
export function revoke(image: Buffer, sha256: Buffer): Buffer {
  const updated = Buffer.from(image);
  const { variables, free, end } = readStore(updated);
  const former = variables.find((variable) => isDbx(updated, variable));
  const data = Buffer.concat([former?.data ?? Buffer.alloc(0), signatureList(sha256)]);
  if (former !== undefined) {
    const state = former.offset + 2;
    updated.writeUInt8(updated.readUInt8(state) & DELETED, state);
  }
  const variable = encodeVariable('dbx', data);
  if (free + variable.length > end) throw new Error('the variable store is full');
  variable.copy(updated, free);
  return updated;
}

function readStore(image: Buffer): { readonly variables: readonly Variable[]; free: number; end: number } {
  const start = image.readUInt16LE(48); // EFI_FIRMWARE_VOLUME_HEADER.HeaderLength
  if (!image.subarray(start, start + 16).equals(AUTHENTICATED_STORE))
    throw new Error('no store of authenticated variables');
  const end = start + image.readUInt32LE(start + 16);
  const variables: Variable[] = [];
  let offset = start + STORE_HEADER;
  while (offset + VARIABLE_HEADER <= end && image.readUInt16LE(offset) === START) {
    const nameEnd = offset + VARIABLE_HEADER + image.readUInt32LE(offset + 36);
    const dataEnd = nameEnd + image.readUInt32LE(offset + 40);
    variables.push({ offset, end: dataEnd, data: image.subarray(nameEnd, dataEnd) });
    offset = align(dataEnd);
  }
  return { variables, free: offset, end };
}

function isDbx(image: Buffer, { offset }: Variable): boolean {
  const name = image.subarray(offset + VARIABLE_HEADER, offset + VARIABLE_HEADER + 8).toString('utf16le');
  const vendor = image.subarray(offset + 44, offset + VARIABLE_HEADER);
  return image.readUInt8(offset + 2) === ADDED && name === 'dbx\0' && vendor.equals(IMAGE_SECURITY_DATABASE);
}

/** EFI_SIGNATURE_LIST (UEFI 2.10 §32.4.1) with one hash. */
function signatureList(sha256: Buffer): Buffer {
  if (sha256.length !== 32) throw new TypeError('not a SHA-256 digest');
  const signature = Buffer.concat([OWNER, sha256]);
  const sizes = Buffer.alloc(12);
  sizes.writeUInt32LE(16 + sizes.length + signature.length, 0);
  sizes.writeUInt32LE(signature.length, 8);
  return Buffer.concat([CERT_SHA256, sizes, signature]);
}

function encodeVariable(name: string, data: Buffer): Buffer {
  const encodedName = Buffer.from(`${name}\0`, 'utf16le');
  const header = Buffer.alloc(VARIABLE_HEADER);
  header.writeUInt16LE(START, 0);
  header.writeUInt8(ADDED, 2);
  header.writeUInt32LE(ATTRIBUTES, 4);
  header.writeUInt16LE(2026, 16); // TimeStamp: year, month, day
  header.writeUInt8(1, 18);
  header.writeUInt8(1, 19);
  header.writeUInt32LE(encodedName.length, 36);
  header.writeUInt32LE(data.length, 40);
  IMAGE_SECURITY_DATABASE.copy(header, 44);
  return Buffer.concat([header, encodedName, data]);
}

function align(offset: number): number {
  return (offset + 3) & ~3;
}
