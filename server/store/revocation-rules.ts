import type { RevocationListSummary } from './records.ts';

/**
 * Whether a list is newer than another of the same issuer: by CRL number, which only grows (RFC 5280 §5.2.3), where both have
 * one and they differ, else by the time of issue.
 */
export function isNewerList(
  list: Pick<RevocationListSummary, 'number' | 'thisUpdate'>,
  other: Pick<RevocationListSummary, 'number' | 'thisUpdate'>,
): boolean {
  if (list.number === '' || other.number === '' || list.number === other.number) {
    return list.thisUpdate > other.thisUpdate;
  }
  // Hexadecimal without leading zeros, two digits a byte: the longer one is larger.
  return list.number.length === other.number.length
    ? list.number > other.number
    : list.number.length > other.number.length;
}
