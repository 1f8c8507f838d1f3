import type { Change, ChangeCause } from '../store/records.ts';

/** Changes that somebody else made: what the stream knows of the host is out of date. */
const OUTSIDE: ReadonlySet<ChangeCause> = new Set([
  'updated',
  'approved',
  'revoked',
  'ak_replaced',
  'input_changed',
  'deleted',
  'enrolled',
]);

export function isOutside({ cause }: Change): boolean {
  return OUTSIDE.has(cause);
}
