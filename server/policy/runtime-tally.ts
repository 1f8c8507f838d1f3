/**
 * What the proven entries of a host's list came to under one set of rules: numbers, and the first findings of each kind. It grows
 * with the list and forgets nothing; the order of rounds in which entries came makes no difference.
 */
import { hash as oneShotHash } from 'node:crypto';

import type { ImaEntry } from '../../tpm/ima/entry.ts';
import { isFinding, readMeasurement } from '../../tpm/ima/fields.ts';
import type { EntryFault, JudgedEntry, RuntimeReason } from './judge-entry.ts';

/** A fault with the entry that it is of. */
export interface RuntimeExample {
  readonly entry: number;
  /** Of the host: to be escaped where it is shown. */
  readonly path: string;
  /** Such as `sha256:…`; empty where it has none. */
  readonly digest: string;
  readonly detail: string;
}

export interface RuntimeFaults {
  readonly count: number;
  /** The first ones. */
  readonly examples: readonly RuntimeExample[];
}

export interface HostKeyRecord {
  readonly keyring: string;
  readonly fingerprint: string;
  /** Whether the kernel that the boot log tells of took it, not one that was started later. */
  readonly ofFirstKernel: boolean;
  /** Base64. */
  readonly der: string;
}

/** What is counted besides faults. */
export interface RuntimeCounts {
  readonly files: number;
  readonly allowed: number;
  readonly excluded: number;
  readonly violations: number;
  readonly buffers: number;
  readonly validSignatures: number;
  readonly unknownKeySignatures: number;
}

/** Plain data: it is kept as JSON. */
export interface RuntimeTally {
  readonly counts: RuntimeCounts;
  readonly faults: Readonly<Partial<Record<RuntimeReason, RuntimeFaults>>>;
  readonly bySet: Readonly<Record<string, number>>;
  readonly byKey: Readonly<Record<string, number>>;
  /** Digest of the first entry, such as `sha256:…`; '' where that is no boot_aggregate, null before it. */
  readonly bootAggregate: string | null;
  /** Kernels that were started after the first one. */
  readonly laterKernels: number;
  readonly hostKeys: readonly HostKeyRecord[];
  /** Of every byte that was counted, in whatever rounds it came: another trace is another list, also where the TPM holds the same. */
  readonly trace: string;
}

export const EMPTY_TALLY: RuntimeTally = {
  counts: {
    files: 0,
    allowed: 0,
    excluded: 0,
    violations: 0,
    buffers: 0,
    validSignatures: 0,
    unknownKeySignatures: 0,
  },
  faults: {},
  bySet: {},
  byKey: {},
  bootAggregate: null,
  laterKernels: 0,
  hostKeys: [],
  trace: '',
};

/** Findings of one kind that are kept one by one. */
const MAX_EXAMPLES = 8;
const MAX_PATH = 256;
/**
 * Signatures of a list that are found not to be valid; the others are not tried, and not valid either. Real lists have a few of them,
 * if any, and each may cost as much as a thousand other entries.
 */
export const MAX_INVALID_SIGNATURES = 1000;
/** Keys that a host may add and that are kept; signatures of others stay signatures of unknown keys. */
const MAX_HOST_KEYS = 32;
const MAX_HOST_KEY_BYTES = 2048;
/** Keys whose files are counted one by one: as many as a policy's keyrings may well hold. */
const MAX_KEYS = 64;

/** Adds entries to what was counted before. */
export class RuntimeTallier {
  readonly #counts: { -readonly [Name in keyof RuntimeCounts]: number };
  readonly #faults: Map<RuntimeReason, { count: number; examples: RuntimeExample[] }>;
  readonly #bySet: Map<string, number>;
  readonly #byKey: Map<string, number>;
  readonly #hostKeys: HostKeyRecord[];
  #bootAggregate: string | null;
  #laterKernels: number;
  #trace: string;

  constructor(before: RuntimeTally) {
    this.#counts = { ...before.counts };
    this.#faults = new Map(
      Object.entries(before.faults).map(([reason, { count, examples }]) => [
        reason as RuntimeReason,
        { count, examples: [...examples] },
      ]),
    );
    this.#bySet = new Map(Object.entries(before.bySet));
    this.#byKey = new Map(Object.entries(before.byKey));
    this.#hostKeys = [...before.hostKeys];
    this.#bootAggregate = before.bootAggregate;
    this.#laterKernels = before.laterKernels;
    this.#trace = before.trace;
  }

  get hostKeys(): readonly HostKeyRecord[] {
    return this.#hostKeys;
  }

  /** Whether the signatures of the next entry are tried. It goes by the entries before it, in whatever rounds they came. */
  get triesSignatures(): boolean {
    return (this.#faults.get('FILE_SIGNATURE_INVALID')?.count ?? 0) < MAX_INVALID_SIGNATURES;
  }

  /** Takes the next entry of the list. */
  add(entry: ImaEntry, judged: JudgedEntry): void {
    const counts = this.#counts;
    this.#trace = traceOf(this.#trace, entry);
    switch (judged.kind) {
      case 'file':
        counts.files += 1;
        this.#addFile(judged);
        break;
      case 'violation':
        counts.violations += 1;
        break;
      case 'buffer':
        counts.buffers += 1;
        this.#addHostKey(judged);
        break;
      case 'aggregate':
      case 'unreadable':
        break;
    }
    this.#addAggregate(entry, judged);
    for (const fault of judged.faults) this.#addFault(entry, fault);
    if (!claimsOwnHash(entry)) {
      this.#addFault(entry, { reason: 'IMA_LIST_INCONSISTENT', detail: 'IMA_TEMPLATE_HASH_MISMATCH' });
    }
  }

  finish(): RuntimeTally {
    return {
      counts: { ...this.#counts },
      faults: Object.fromEntries(this.#faults),
      bySet: Object.fromEntries(this.#bySet),
      byKey: Object.fromEntries(this.#byKey),
      bootAggregate: this.#bootAggregate,
      laterKernels: this.#laterKernels,
      hostKeys: this.#hostKeys,
      trace: this.#trace,
    };
  }

  #addFile({ standing, set, signature, key }: JudgedEntry): void {
    if (standing === 'allowed') this.#counts.allowed += 1;
    if (standing === 'excluded') this.#counts.excluded += 1;
    if (signature === 'unknownKey') this.#counts.unknownKeySignatures += 1;
    if (set !== null) this.#bySet.set(set, (this.#bySet.get(set) ?? 0) + 1);
    if (key === null) return;
    this.#counts.validSignatures += 1;
    const count = this.#byKey.get(key);
    if (count !== undefined || this.#byKey.size < MAX_KEYS) this.#byKey.set(key, (count ?? 0) + 1);
  }

  #addHostKey({ added }: JudgedEntry): void {
    if (added === null || this.#hostKeys.length >= MAX_HOST_KEYS || added.der.length > MAX_HOST_KEY_BYTES) return;
    const { keyring, fingerprint } = added;
    if (this.#hostKeys.some((known) => known.keyring === keyring && known.fingerprint === fingerprint)) return;
    const ofFirstKernel = this.#laterKernels === 0;
    this.#hostKeys.push({ keyring: cut(keyring), fingerprint, ofFirstKernel, der: added.der.toString('base64') });
  }

  /**
   * The first entry must be the aggregate. Another one tells of a second kernel; one that is not of the same PCRs may as well be a
   * file of that name, which nothing allows.
   */
  #addAggregate(entry: ImaEntry, { kind }: JudgedEntry): void {
    if (entry.index === 0) {
      this.#bootAggregate = kind === 'aggregate' ? digestOf(entry) : '';
    } else if (kind === 'aggregate') {
      this.#laterKernels += 1;
      this.#addFault(entry, {
        reason: 'KERNEL_REPLACED',
        detail: 'another boot_aggregate: a second kernel was started',
      });
      if (digestOf(entry) !== this.#bootAggregate)
        this.#addFault(entry, { reason: 'FILE_UNKNOWN', detail: 'a boot_aggregate of other PCR values' });
    }
  }

  #addFault(entry: ImaEntry, { reason, detail }: EntryFault): void {
    const faults = this.#faults.get(reason) ?? { count: 0, examples: [] };
    this.#faults.set(reason, faults);
    faults.count += 1;
    if (faults.examples.length >= MAX_EXAMPLES) return;
    faults.examples.push({ entry: entry.index, path: pathOf(entry), digest: digestOf(entry), detail });
  }
}

/** The faults of a list that is gone, beside those of the present one: neither is forgotten. */
export function withFormerFaults(present: RuntimeTally, former: RuntimeTally['faults']): RuntimeTally {
  const faults = new Map(Object.entries(present.faults));
  for (const [reason, { count, examples }] of Object.entries(former)) {
    const own = faults.get(reason) ?? { count: 0, examples: [] };
    faults.set(reason, {
      count: own.count + count,
      examples: [...examples, ...own.examples].slice(0, MAX_EXAMPLES),
    });
  }
  return { ...present, faults: Object.fromEntries(faults) };
}

/**
 * What is among these faults and is not found again: whole entries are compared. Of those that are not kept one by one nobody knows
 * whether they are: as many others may be found in their place.
 */
export function lostFaults(before: RuntimeTally['faults'], again: RuntimeTally['faults']): RuntimeTally['faults'] {
  return without(before, again, ({ count, examples }, _found, gone) => count - (examples.length - gone.length));
}

/** What of lost faults is not among those that were lost before: those that are not kept one by one are not counted twice. */
export function newlyLost(lost: RuntimeTally['faults'], former: RuntimeTally['faults']): RuntimeTally['faults'] {
  return without(lost, former, ({ count }, found, gone) => Math.max(count - found.count, gone.length));
}

function without(
  faults: RuntimeTally['faults'],
  others: RuntimeTally['faults'],
  missing: (faults: RuntimeFaults, found: RuntimeFaults, gone: RuntimeFaults['examples']) => number,
): RuntimeTally['faults'] {
  const left = Object.entries(faults).flatMap(([reason, each]) => {
    const found = others[reason as RuntimeReason] ?? { count: 0, examples: [] };
    const gone = each.examples.filter((example) => !found.examples.some((other) => isOfSameEntry(example, other)));
    const count = missing(each, found, gone);
    return count > 0 ? [[reason, { count, examples: gone }] as const] : [];
  });
  return Object.fromEntries(left);
}

function isOfSameEntry(left: RuntimeExample, right: RuntimeExample): boolean {
  return left.entry === right.entry && left.path === right.path && left.digest === right.digest;
}

/** With what no template hash covers: the template's name and the hash that the list claims. */
function traceOf(before: string, { pcr, template, templateHash, data }: ImaEntry): string {
  const head = Buffer.from(`${before} ${pcr} ${data.length} `);
  return oneShotHash('sha256', Buffer.concat([head, templateHash, data, Buffer.from(template.name)]), 'hex');
}

/** Is the template hash that the list claims the one that its data yields? What the TPM holds was followed by the data. */
function claimsOwnHash(entry: ImaEntry): boolean {
  return entry.isViolation || entry.claims(oneShotHash(entry.layout.hash.node, entry.hashInput, 'binary'));
}

function pathOf(entry: ImaEntry): string {
  const read = readMeasurement(entry);
  return isFinding(read) ? '' : cut(read.name);
}

function digestOf(entry: ImaEntry): string {
  const read = readMeasurement(entry);
  if (isFinding(read) || entry.isViolation) return '';
  const { algorithm, value } = read.digest;
  return cut(`${algorithm}:${value.toString('hex')}`);
}

function cut(text: string): string {
  const whole = text.toWellFormed();
  return whole.length > MAX_PATH ? `${whole.slice(0, MAX_PATH).toWellFormed()}…` : whole;
}
