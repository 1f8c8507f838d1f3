/** Command lines of which the log has but a digest: Linux's EFI stub measures the options that its loader gave it. */
import { hash } from 'node:crypto';
import { HASH_ALGORITHMS } from '../structures/constants.ts';
import type { CheckedEvent, CheckedLog } from './check-events.ts';

/** A command line that a loader measured. */
export interface CommandLine {
  readonly event: number;
  readonly pcr: number;
  readonly source: 'grub' | 'systemd' | 'efi-stub';
  /** Undefined where the log has but the digest, as Linux's EFI stub leaves it, and it is that of no other line. */
  readonly text: string | undefined;
  /**
   * Is the text what was measured? That a text was *the command line* is the loader's word: the log's prefix is not covered.
   */
  readonly verified: boolean;
}

/** Events of the stub that are looked at: each kernel that is started makes one. */
const MAX_OPTIONS = 4;
/** Longer than any kernel takes. */
const MAX_TEXT = 8192;

interface Options {
  readonly text: string;
  readonly bytes: Buffer;
}

/**
 * Gives lines of the stub the text of the verified line that has their digest, in every bank: it is the same line, measured by its
 * loader before. GRUB puts the name of the image before it; whether the terminator is measured, loaders do not agree on.
 */
export function findLoadOptions(
  lines: readonly CommandLine[],
  { events, banks }: Pick<CheckedLog, 'events' | 'banks'>,
): readonly CommandLine[] {
  const stubs = new Set(lines.filter(({ source }) => source === 'efi-stub').slice(0, MAX_OPTIONS));
  if (stubs.size === 0) return lines;
  const texts = new Set(lines.flatMap(({ verified, text }) => (verified && text !== undefined ? [text] : [])));
  const options = [...texts].filter(({ length }) => length <= MAX_TEXT).flatMap(optionsOf);
  return lines.map((line) => {
    const event = stubs.has(line) ? events[line.event] : undefined;
    const same = event === undefined ? undefined : options.find(({ bytes }) => hasDigests(event, banks, bytes));
    return same === undefined ? line : { ...line, text: same.text, verified: true };
  });
}

function optionsOf(text: string): readonly Options[] {
  return [`BOOT_IMAGE=${text}`, text].flatMap((line) =>
    ['\0', ''].map((end) => ({ text, bytes: Buffer.from(line + end, 'utf16le') })),
  );
}

function hasDigests({ digests }: CheckedEvent, banks: CheckedLog['banks'], bytes: Buffer): boolean {
  const found = banks.flatMap(({ alg }, position) => {
    const node = HASH_ALGORITHMS.get(alg)?.node;
    const digest = digests[position];
    return node === undefined || digest === undefined ? [] : [{ node, digest }];
  });
  return found.length > 0 && found.every(({ node, digest }) => hash(node, bytes, 'buffer').equals(digest));
}
