/** Why nothing is learned from a host. */
export type LearnCode =
  /** Its boot is not proven, or its log cannot be believed. */
  | 'BOOT_NOT_VERIFIED'
  /** It was asked for by name, and is not proven or not good to name. */
  | 'NOT_LEARNABLE'
  /** The policy asks for what the host does not satisfy, and a further value would not help. */
  | 'HOST_DIFFERS';

export class LearnError extends Error {
  override readonly name = 'LearnError';
  readonly code: LearnCode;

  constructor(code: LearnCode, message: string) {
    super(message);
    this.code = code;
  }
}
