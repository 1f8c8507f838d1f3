/** TPMA_OBJECT (Part 2 §8.3.2): the bits of an object's attributes by name. */
export const TPMA_OBJECT = {
  fixedTPM: 1 << 1,
  stClear: 1 << 2,
  fixedParent: 1 << 4,
  sensitiveDataOrigin: 1 << 5,
  userWithAuth: 1 << 6,
  adminWithPolicy: 1 << 7,
  firmwareLimited: 1 << 8,
  svnLimited: 1 << 9,
  noDA: 1 << 10,
  encryptedDuplication: 1 << 11,
  restricted: 1 << 16,
  decrypt: 1 << 17,
  sign: 1 << 18,
  x509sign: 1 << 19,
} as const;

export type ObjectAttribute = keyof typeof TPMA_OBJECT;

const NAMES = Object.keys(TPMA_OBJECT) as ObjectAttribute[];
const KNOWN = NAMES.reduce((bits, name) => bits | TPMA_OBJECT[name], 0);

/** The bits of these attributes. */
export function objectAttributes(...names: readonly ObjectAttribute[]): number {
  return names.reduce((bits, name) => bits | TPMA_OBJECT[name], 0) >>> 0;
}

export function hasAttribute(attributes: number, name: ObjectAttribute): boolean {
  return (attributes & TPMA_OBJECT[name]) !== 0;
}

/** The attributes that are set, in bit order; reserved bits that are set show as `reserved`. */
export function attributeNames(attributes: number): readonly (ObjectAttribute | 'reserved')[] {
  const known = NAMES.filter((name) => hasAttribute(attributes, name));
  return (attributes & ~KNOWN) === 0 ? known : [...known, 'reserved'];
}
