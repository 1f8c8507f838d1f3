import { createHash } from 'node:crypto';

/**
 * SHA-256 of a PE image as firmware takes it (Windows Authenticode Portable Executable Signature Format, "Calculating the PE
 * image hash"): without the checksum, the entry of the certificate table, and that table itself. For images whose sections
 * stand in order and without gaps, as linkers write them.
 */
export function authenticodeSha256(image: Buffer): Buffer {
  const optionalHeader = image.readUInt32LE(0x3c) + 24;
  const PE32_PLUS = 0x20b;
  if (image.readUInt16LE(optionalHeader) !== PE32_PLUS) throw new Error('not a PE32+ image');
  const checksum = optionalHeader + 64;
  const certificateEntry = optionalHeader + 112 + 4 * 8;
  const certificates = image.readUInt32LE(certificateEntry);
  const end = certificates === 0 ? image.length : certificates;
  return createHash('sha256')
    .update(image.subarray(0, checksum))
    .update(image.subarray(checksum + 4, certificateEntry))
    .update(image.subarray(certificateEntry + 8, end))
    .digest();
}
