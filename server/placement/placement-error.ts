export type PlacementErrorCode = 'PLACEMENT_INDEX_STALE' | 'PLACEMENT_BUSY' | 'CLOCK_BEHIND';

/** The service cannot tell at present which hosts are selectable. */
export class PlacementError extends Error {
  override readonly name = 'PlacementError';
  readonly code: PlacementErrorCode;

  constructor(code: PlacementErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
