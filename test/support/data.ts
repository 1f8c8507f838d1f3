import { readdirSync } from 'node:fs';
import { join } from 'node:path';

const checkout = join(import.meta.dirname, '..', '..');

/** Sets of real test data, which stand beside the checkout and are read in place. */
const folders = {
  conformance: process.env['ASSAY_CONFORMANCE'] ?? join(checkout, '..', 'shared', 'conformance'),
  'measured-boot': process.env['ASSAY_MEASURED_BOOT'] ?? join(checkout, '..', 'shared', 'measured-boot'),
} as const;

/** Path of a file of the conformance data, which tests read in place. */
export function conformancePath(...parts: string[]): string {
  return join(folders.conformance, ...parts);
}

/** Path of a file of the measured-boot captures, which tests read in place. */
export function measuredBootPath(...parts: string[]): string {
  return join(folders['measured-boot'], ...parts);
}

/**
 * Is the data set here? For `describe.skipIf(!dataIsHere('conformance'))` in a clone that stands alone; in CI a missing
 * set fails the test file instead.
 */
export function dataIsHere(set: keyof typeof folders): boolean {
  const here = hasEntries(folders[set]);
  if (!here && process.env['CI'] === 'true') throw new Error(`test data is missing: ${folders[set]}`);
  return here;
}

function hasEntries(folder: string): boolean {
  try {
    return readdirSync(folder).length > 0;
  } catch {
    return false;
  }
}
