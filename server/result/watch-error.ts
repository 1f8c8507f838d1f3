export type WatchErrorCode =
  | 'RESUME_TOKEN_INVALID'
  | 'REVISION_GONE'
  | 'INCARNATION_CHANGED'
  | 'SCOPE_CHANGED'
  | 'WATCH_LIMIT';

/** A watch that cannot begin, or not where the caller left it. */
export class WatchError extends Error {
  override readonly name = 'WatchError';
  readonly code: WatchErrorCode;

  constructor(code: WatchErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
