/** What the rules of a policy say of one entry of a list, whatever host it is from. */
import type { ImaEntry } from '../../tpm/ima/entry.ts';
import { examineEntry } from '../../tpm/ima/examine.ts';
import type { ExaminedEntry } from '../../tpm/ima/examine.ts';
import type { ImaMeasurement } from '../../tpm/ima/fields.ts';
import { XATTR_TYPE } from '../../tpm/ima/file-signature.ts';
import type { ImaFindingCode } from '../../tpm/ima/findings.ts';
import type { ImaKeyring } from '../../tpm/ima/keyring.ts';
import { SIGNATURE_FAULTS } from '../../tpm/ima/signature-result.ts';
import type { ImaSignatureResult } from '../../tpm/ima/signature-result.ts';
import { isBootAggregate } from '../../tpm/ima/boot-aggregate.ts';
import { isFixedMeaning } from '../../tpm/ima/templates.ts';
import { matchesPath, parsePathPattern } from './path-pattern.ts';
import type { PathPattern } from './path-pattern.ts';
import { REFERENCE_ALGORITHMS } from '../store/reference-store.ts';
import { asksForSignatures } from './runtime-rules.ts';
import type { RuntimeRules } from './runtime-rules.ts';

/** The digests of one version of a reference set. */
export interface FileDigests {
  /** Resource name. */
  readonly name: string;
  readonly has: (algorithm: string, digest: Uint8Array) => boolean;
}

/** The sets and keys that the rules name, in the versions that the appraisal input digest holds. */
export interface RuntimeReferences {
  readonly sets: readonly FileDigests[];
  readonly keyring: ImaKeyring;
}

/** Rules with all that they rest on, made once for each version of any of it. */
export interface RuntimeJudge {
  /** SHA-256 over rules and versions: two judges of one digest judge alike. */
  readonly digest: string;
  readonly rules: RuntimeRules;
  readonly references: RuntimeReferences;
  readonly excludes: readonly PathPattern[];
  /** Digests in lower-case hex, and the hashes that they are of: what was measured by another cannot be told from them. */
  readonly forbidden: { readonly digests: ReadonlySet<string>; readonly hashes: ReadonlySet<string> };
}

export function makeJudge(digest: string, rules: RuntimeRules, references: RuntimeReferences): RuntimeJudge {
  return {
    digest,
    rules,
    references,
    excludes: (rules.files?.excludes ?? []).map(parsePathPattern),
    forbidden: forbiddenOf(rules.forbiddenFiles?.digests ?? []),
  };
}

function forbiddenOf(digests: readonly string[]): RuntimeJudge['forbidden'] {
  const hashes = Object.entries(REFERENCE_ALGORITHMS).filter(([, size]) =>
    digests.some(({ length }) => length === size * 2),
  );
  return { digests: new Set(digests), hashes: new Set(hashes.map(([name]) => name)) };
}

/** Of what kind the fault of an entry is. */
export const RUNTIME_REASONS = [
  'FILE_UNKNOWN',
  'FILE_FORBIDDEN',
  'FILE_INCOMPARABLE',
  'FILE_SIGNATURE_INVALID',
  'IMA_VIOLATION',
  'KERNEL_REPLACED',
  'IMA_ENTRY_UNREADABLE',
  'IMA_LIST_INCONSISTENT',
] as const;
export type RuntimeReason = (typeof RUNTIME_REASONS)[number];

/** What speaks against an entry; `detail` is a phrase of this service's own. */
export interface EntryFault {
  readonly reason: RuntimeReason;
  readonly detail: string;
}

export interface JudgedEntry {
  readonly kind: 'file' | 'violation' | 'buffer' | 'aggregate' | 'unreadable';
  /** Of files: why it may be there, or that nothing says so. */
  readonly standing: 'allowed' | 'excluded' | 'unknown' | null;
  /** The first set that holds it. */
  readonly set: string | null;
  /** 'unasked' where no key is named. */
  readonly signature: ImaSignatureResult['kind'] | 'unasked';
  /** Fingerprint of the key of a valid signature. */
  readonly key: string | null;
  readonly faults: readonly EntryFault[];
  /** A key that the host added to one of its keyrings, DER. */
  readonly added: { readonly keyring: string; readonly fingerprint: string; readonly der: Buffer } | null;
}

const NOTHING = { standing: null, set: null, signature: 'unasked', key: null, faults: [], added: null } as const;

/** Findings about bytes that no kernel writes so: their hash is the TPM's, so a name or length around them was changed. */
const INCONSISTENT: ReadonlySet<ImaFindingCode> = new Set(['IMA_BUFFER_DIGEST_MISMATCH']);
/** Findings of an entry that say nothing of what was measured. */
const KEXEC: ImaFindingCode = 'IMA_KEXEC';

/** Judges an entry by what it holds. Its place in the list is not looked at, so that hosts can share the outcome. */
export function judgeEntry(entry: ImaEntry, judge: RuntimeJudge, keyring = judge.references.keyring): JudgedEntry {
  const isFixed = isFixedMeaning(entry.template);
  // What a signature is worth that may be none is not asked.
  const examined = examineEntry(entry, isFixed ? keyring : keyring.untried);
  const { measurement } = examined;
  if (measurement === undefined || !isFixed) {
    const [finding] = measurement === undefined ? examined.findings : [];
    const fault = { reason: 'IMA_ENTRY_UNREADABLE', detail: finding?.code ?? 'IMA_TEMPLATE_UNKNOWN' } as const;
    // A violation is one whatever its fields say.
    const faults = examined.isViolation ? [fault, violation(null, judge)].filter(isFault) : [fault];
    return { ...NOTHING, kind: examined.isViolation ? 'violation' : 'unreadable', faults };
  }
  const common = commonFaults(examined);
  if (examined.isViolation) {
    return { ...NOTHING, kind: 'violation', faults: [...common, violation(measurement, judge)].filter(isFault) };
  }
  if (examined.buffer !== undefined && !couldBeSignature(examined.buffer.bytes)) {
    const { learnedKey, buffer } = examined;
    const added =
      learnedKey === undefined
        ? null
        : { keyring: learnedKey.keyring, fingerprint: learnedKey.key.fingerprint, der: buffer.bytes };
    return { ...NOTHING, kind: 'buffer', faults: common, added };
  }
  if (isBootAggregate(measurement) && examined.signature.kind === 'none') {
    // A file may bear that name, too.
    return { ...NOTHING, kind: 'aggregate', faults: [...common, forbiddenDigest(measurement, judge)].filter(isFault) };
  }
  return judgeFile(examined, measurement, judge, common);
}

/**
 * A file with a signature and a measured buffer look alike, and the name of the template that tells them apart is covered by no
 * hash: what could be a signature is judged as the file that it may be.
 */
function couldBeSignature(bytes: Buffer): boolean {
  return SIGNATURE_TYPES.has(bytes[0] ?? 0);
}

const SIGNATURE_TYPES: ReadonlySet<number> = new Set([
  XATTR_TYPE.signature,
  XATTR_TYPE.evmPortable,
  XATTR_TYPE.veritySignature,
]);

function commonFaults({ findings }: ExaminedEntry): readonly EntryFault[] {
  return findings.flatMap(({ code }): readonly EntryFault[] =>
    code === KEXEC
      ? [{ reason: 'KERNEL_REPLACED', detail: 'a kernel was loaded' }]
      : INCONSISTENT.has(code)
        ? [{ reason: 'IMA_LIST_INCONSISTENT', detail: code }]
        : [],
  );
}

function isFault(fault: EntryFault | null): fault is EntryFault {
  return fault !== null;
}

function violation(measurement: ImaMeasurement | null, { rules, excludes }: RuntimeJudge): EntryFault | null {
  const excluded =
    rules.violations.applyExcludes && measurement !== null && isExcluded(excludes, measurement.nameBytes);
  return excluded ? null : { reason: 'IMA_VIOLATION', detail: 'written while it was measured or in use' };
}

function isExcluded(excludes: readonly PathPattern[], path: Buffer): boolean {
  return excludes.some((pattern) => matchesPath(pattern, path));
}

function forbiddenDigest({ digest }: ImaMeasurement, { forbidden }: RuntimeJudge): EntryFault | null {
  return forbidden.digests.has(digest.value.toString('hex'))
    ? { reason: 'FILE_FORBIDDEN', detail: 'its digest is forbidden' }
    : null;
}

function otherHash({ digest }: ImaMeasurement, { forbidden }: RuntimeJudge): EntryFault | null {
  return forbidden.digests.size === 0 || forbidden.hashes.has(digest.algorithm)
    ? null
    : { reason: 'FILE_INCOMPARABLE', detail: 'measured by a hash that no forbidden digest is of' };
}

function judgeFile(
  { signature: result }: ExaminedEntry,
  measurement: ImaMeasurement,
  judge: RuntimeJudge,
  common: readonly EntryFault[],
): JudgedEntry {
  const { digest, nameBytes } = measurement;
  const { rules, references, excludes } = judge;
  const rule = rules.files;
  const asked = asksForSignatures(rule);
  const signature = asked ? result.kind : 'unasked';
  const signed = asked && result.kind === 'valid';
  // A digest of an fs-verity tree is none of the file's bytes, and zeros are what a kernel lists of a file that it could not read.
  const set =
    digest.of === 'verity' || !digest.value.some(Boolean)
      ? undefined
      : references.sets.find(({ has }) => has(digest.algorithm, digest.value));
  const faults = [...common, forbiddenDigest(measurement, judge) ?? otherHash(measurement, judge)].filter(isFault);
  if (asked && result.kind === 'invalid')
    faults.push({ reason: 'FILE_SIGNATURE_INVALID', detail: SIGNATURE_FAULTS[result.fault] });
  const listed = references.sets.length === 0 || set !== undefined;
  const allowed = rule?.requireSignature === true ? signed && listed : signed || set !== undefined;
  const standing =
    rule === null ? null : allowed ? 'allowed' : isExcluded(excludes, nameBytes) ? 'excluded' : 'unknown';
  if (standing === 'unknown') faults.push({ reason: 'FILE_UNKNOWN', detail: whyUnknown(result, asked, listed) });
  return {
    kind: 'file',
    standing,
    set: set?.name ?? null,
    signature,
    key: signed ? result.key.fingerprint : null,
    faults,
    added: null,
  };
}

function whyUnknown(result: ImaSignatureResult, asked: boolean, listed: boolean): string {
  if (!asked) return 'in no reference set';
  switch (result.kind) {
    case 'valid':
      return 'signed, and in no reference set';
    case 'invalid':
      return result.fault === 'UNTRIED' ? 'its signature was not tried' : 'its signature is not valid';
    case 'unknownKey':
      return `signed by the unknown key ${result.keyId.slice(0, 40)}`;
    case 'unsupported':
      return 'its signature cannot be verified';
    case 'none':
      return listed ? 'not signed' : 'not signed, and in no reference set';
  }
}
