import type { PlatformRecord } from './records.ts';

/** What a store tells of all hosts together. */
export interface PlatformStore {
  /**
   * All hosts that have the labels of every selector, from one state of the store; verdicts whose validity has ended count as
   * none.
   */
  platform(
    selectors: readonly Readonly<Record<string, string>>[],
    limits: { readonly exceptions: number; readonly policies: number },
  ): Promise<PlatformRecord>;
}
