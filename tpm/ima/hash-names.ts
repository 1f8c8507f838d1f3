/**
 * The kernel's hash algorithms (include/uapi/linux/hash_info.h, `enum hash_algo`), as IMA writes them: by name in `d-ng`, by
 * number in the header of a signature.
 */

/**
 * `size` in bytes. `node` is the name for node:crypto; without it the digest is carried but never recomputed. `oid` is the content
 * of its object identifier in hexadecimal, as a PKCS #1 DigestInfo (RFC 8017 §9.2) and PKCS #7 name it.
 */
export interface ImaHash {
  readonly id: number;
  readonly name: string;
  readonly size: number;
  readonly node?: string;
  readonly oid?: string;
}

const rows: readonly ImaHash[] = [
  { id: 0, name: 'md4', size: 16 },
  { id: 1, name: 'md5', size: 16, node: 'md5', oid: '2a864886f70d0205' },
  { id: 2, name: 'sha1', size: 20, node: 'sha1', oid: '2b0e03021a' },
  { id: 3, name: 'rmd160', size: 20 },
  { id: 4, name: 'sha256', size: 32, node: 'sha256', oid: '608648016503040201' },
  { id: 5, name: 'sha384', size: 48, node: 'sha384', oid: '608648016503040202' },
  { id: 6, name: 'sha512', size: 64, node: 'sha512', oid: '608648016503040203' },
  { id: 7, name: 'sha224', size: 28, node: 'sha224', oid: '608648016503040204' },
  { id: 8, name: 'rmd128', size: 16 },
  { id: 9, name: 'rmd256', size: 32 },
  { id: 10, name: 'rmd320', size: 40 },
  { id: 11, name: 'wp256', size: 32 },
  { id: 12, name: 'wp384', size: 48 },
  { id: 13, name: 'wp512', size: 64 },
  { id: 14, name: 'tgr128', size: 16 },
  { id: 15, name: 'tgr160', size: 20 },
  { id: 16, name: 'tgr192', size: 24 },
  { id: 17, name: 'sm3', size: 32, node: 'sm3', oid: '2a811ccf55018311' },
  { id: 18, name: 'streebog256', size: 32 },
  { id: 19, name: 'streebog512', size: 64 },
  { id: 20, name: 'sha3-256', size: 32, node: 'sha3-256', oid: '608648016503040208' },
  { id: 21, name: 'sha3-384', size: 48, node: 'sha3-384', oid: '608648016503040209' },
  { id: 22, name: 'sha3-512', size: 64, node: 'sha3-512', oid: '60864801650304020a' },
];

/** Other spellings that kernels and tools have used for the same hash. */
const aliases: readonly (readonly [string, string])[] = [
  ['sm3-256', 'sm3'],
  ['sm3_256', 'sm3'],
  ['sha3_256', 'sha3-256'],
  ['sha3_384', 'sha3-384'],
  ['sha3_512', 'sha3-512'],
];

const byName = new Map(rows.map((row) => [row.name, row]));
const byAlias = new Map(aliases);
const byOid = new Map(rows.flatMap((row) => (row.oid === undefined ? [] : [[row.oid, row] as const])));
const byId = new Map(rows.map((row) => [row.id, row]));

/** The hash that a digest field names; undefined for a name that no kernel writes. */
export function imaHashByName(name: string): ImaHash | undefined {
  return byName.get(byAlias.get(name) ?? name);
}

/** The hash that a signature header numbers. */
export function imaHashById(id: number): ImaHash | undefined {
  return byId.get(id);
}

/** The hash of an object identifier, its content in hexadecimal. */
export function imaHashByOid(oid: string): ImaHash | undefined {
  return byOid.get(oid);
}
