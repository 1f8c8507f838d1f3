import type { Change, ChangeCause } from '../store/records.ts';

const OUTSIDE: ReadonlySet<ChangeCause> = new Set([
  'updated',
  'approved',
  'revoked',
  'ak_replaced',
  'input_changed',
  'deleted',
  'enrolled',
]);

/** Whether somebody else made a change: what a stream knows of its host is out of date then. */
export function isFromOutside({ cause }: Pick<Change, 'cause'>): boolean {
  return OUTSIDE.has(cause);
}
