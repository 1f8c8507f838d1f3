import { StoreError } from './store.ts';

/** Whether what is kept could not be read because it is not what was written. It is nobody's evidence, and can be asked for anew. */
export function isDamaged(error: unknown): boolean {
  return error instanceof StoreError && error.code === 'corrupt';
}
