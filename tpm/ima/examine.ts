/** One entry looked at by itself: what it says, what its signatures are worth, what is wrong with it. */
import { checkBootPlace } from './boot-aggregate.ts';
import { bufferKind, checkBuffer } from './critical-data.ts';
import type { MeasuredBuffer } from './critical-data.ts';
import type { ImaEntry } from './entry.ts';
import { IMA_XATTR, checkEvmSignature } from './evm-signature.ts';
import { isFinding, placeOf, readMeasurement } from './fields.ts';
import type { ImaMeasurement } from './fields.ts';
import { XATTR_TYPE, checkFileSignature } from './file-signature.ts';
import { imaFinding, quoteName } from './findings.ts';
import type { ImaFinding } from './findings.ts';
import { ImaKeyError, readImaKey } from './keyring.ts';
import type { ImaKey, ImaKeyring } from './keyring.ts';
import { checkModsig } from './modsig.ts';
import { SIGNATURE_FAULTS, combineResults } from './signature-result.ts';
import type { ImaSignatureResult } from './signature-result.ts';
import { isFixedMeaning } from './templates.ts';

/**
 * `measurement` is absent where the fields cannot be read. `learnedKey` is a key that the host added to a keyring (`keyring` names
 * it): data, and trusted only where a policy says so.
 */
export interface ExaminedEntry {
  readonly entry: ImaEntry;
  readonly measurement: ImaMeasurement | undefined;
  readonly isViolation: boolean;
  readonly signature: ImaSignatureResult;
  readonly buffer: MeasuredBuffer | undefined;
  readonly learnedKey: { readonly keyring: string; readonly key: ImaKey } | undefined;
  readonly findings: readonly ImaFinding[];
}

/**
 * Examines an entry. Apart from {@link checkBootPlace}, which goes by its place, what comes out depends on the entry's template and
 * data and on the keyring alone, so it can be kept for all hosts that have the entry.
 */
export function examineEntry(entry: ImaEntry, keyring: ImaKeyring): ExaminedEntry {
  const { isViolation } = entry;
  const read = readMeasurement(entry);
  if (isFinding(read)) {
    const findings = [read, checkBootPlace(entry, undefined)].filter((finding) => finding !== undefined);
    const nothing = { measurement: undefined, buffer: undefined, learnedKey: undefined };
    return { entry, ...nothing, isViolation, signature: { kind: 'none' }, findings };
  }
  const findings: (ImaFinding | undefined)[] = [checkBootPlace(entry, read)];
  if (isViolation) findings.push(violation(entry, read));
  if (!isFixedMeaning(entry.template)) findings.push(ambiguous(entry, read));
  // Nothing was hashed in a violation, so nothing can be signed.
  const signature: ImaSignatureResult = isViolation ? { kind: 'none' } : checkSignatures(entry, read, keyring);
  findings.push(signatureFinding(entry, read, signature));
  if (read.digest.hash === undefined) findings.push(unknownHash(entry, read));
  const checked = checkBuffer(entry, read);
  const buffer = checked === undefined || 'severity' in checked ? undefined : checked;
  if (checked !== undefined && 'severity' in checked) findings.push(checked);
  const learned = learnKey(entry, buffer);
  // By name alone: the template's name, which makes a buffer of the bytes, is covered by no hash.
  if (bufferKind(read.name) === 'kexec') findings.push(kexec(entry, read));
  findings.push(learned.finding);
  return {
    entry,
    measurement: read,
    isViolation,
    signature,
    buffer,
    learnedKey: learned.key,
    findings: findings.filter((finding) => finding !== undefined),
  };
}

/** All signatures of an entry as one result. */
export function checkSignatures(entry: ImaEntry, measurement: ImaMeasurement, keyring: ImaKeyring): ImaSignatureResult {
  const { signature, digest, modsig, modsigDigest } = measurement;
  const ofFile = (bytes: Buffer = Buffer.alloc(0)): ImaSignatureResult => checkFileSignature(bytes, digest, keyring);
  return combineResults([
    ofFile(signature),
    checkModsig(modsig, modsigDigest, keyring),
    checkEvmSignature(measurement, keyring, entry.layout.byteOrder),
    ofFile(storedSignature(measurement)),
  ]);
}

/** Lists of evm-sig have no `sig`: a file that only IMA's tools signed has its signature among the attributes. */
function storedSignature({ xattrs }: ImaMeasurement): Buffer | undefined {
  const value = xattrs?.find(({ name }) => name === IMA_XATTR)?.value;
  const type = value?.[0];
  return type === XATTR_TYPE.signature || type === XATTR_TYPE.veritySignature ? value : undefined;
}

function signatureFinding(
  entry: ImaEntry,
  { name }: ImaMeasurement,
  result: ImaSignatureResult,
): ImaFinding | undefined {
  const where = `entry ${entry.index} (${quoteName(name)})`;
  switch (result.kind) {
    case 'invalid':
      return imaFinding(
        'IMA_SIGNATURE_INVALID',
        placeOf(entry),
        `${where}: the ${result.source} signature is invalid: ${SIGNATURE_FAULTS[result.fault]}`,
      );
    case 'unknownKey':
      return imaFinding(
        'IMA_SIGNATURE_KEY_UNKNOWN',
        placeOf(entry),
        `${where}: no key ${result.keyId} is here for the ${result.source} signature`,
      );
    case 'unsupported':
      return imaFinding('IMA_SIGNATURE_UNSUPPORTED', placeOf(entry), `${where}: ${result.what} cannot be verified`);
    case 'valid':
    case 'none':
      return undefined;
  }
}

function ambiguous(entry: ImaEntry, { name }: ImaMeasurement): ImaFinding {
  const format = quoteName(entry.template.name);
  const message = `entry ${entry.index} (${quoteName(name)}) is shown by the format ${format}, of which one field may be another in truth`;
  return imaFinding('IMA_TEMPLATE_AMBIGUOUS', placeOf(entry), message);
}

function violation(entry: ImaEntry, { name }: ImaMeasurement): ImaFinding {
  const message = `entry ${entry.index} (${quoteName(name)}) is a violation: the file was written while it was measured or in use`;
  return imaFinding('IMA_VIOLATION', placeOf(entry), message);
}

function unknownHash(entry: ImaEntry, { name, digest }: ImaMeasurement): ImaFinding {
  const message = `entry ${entry.index} (${quoteName(name)}) has a digest of ${quoteName(digest.algorithm)}, which is no known hash`;
  return imaFinding('IMA_DIGEST_ALGORITHM_UNKNOWN', placeOf(entry), message);
}

function kexec(entry: ImaEntry, { name }: ImaMeasurement): ImaFinding {
  const message = `entry ${entry.index} (${name}): another kernel was loaded, which the boot log would not cover`;
  return imaFinding('IMA_KEXEC', placeOf(entry), message);
}

function learnKey(
  entry: ImaEntry,
  buffer: MeasuredBuffer | undefined,
): { readonly key: ExaminedEntry['learnedKey']; readonly finding: ImaFinding | undefined } {
  if (buffer?.kind !== 'keyring') return { key: undefined, finding: undefined };
  const where = `entry ${entry.index} adds to the keyring ${quoteName(buffer.name)}`;
  try {
    const key = readImaKey(buffer.bytes);
    const finding = imaFinding('IMA_KEY_ADDED', placeOf(entry), `${where} the key sha256:${key.fingerprint}`);
    return { key: { keyring: buffer.name, key }, finding };
  } catch (error) {
    if (!(error instanceof ImaKeyError)) throw error;
    const finding = imaFinding(
      'IMA_KEY_UNREADABLE',
      placeOf(entry),
      `${where} what is no usable key: ${error.message}`,
    );
    return { key: undefined, finding };
  }
}
