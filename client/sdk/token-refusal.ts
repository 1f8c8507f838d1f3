/**
 * Why a token, or a set of keys, is not believed. docs/tokens.md has each with its meaning; scripts may branch on them.
 */
export type TokenRefusalCode =
  | 'TOKEN_TOO_LARGE'
  | 'TOKEN_MALFORMED'
  | 'TOKEN_ALGORITHM'
  | 'TOKEN_TYPE'
  | 'TOKEN_KEY_UNKNOWN'
  | 'TOKEN_SIGNATURE'
  | 'TOKEN_PROFILE'
  | 'TOKEN_CLAIM'
  | 'TOKEN_EXPIRED'
  | 'TOKEN_FROM_FUTURE'
  | 'TOKEN_AUDIENCE'
  | 'TOKEN_NONCE'
  | 'TOKEN_HOST'
  | 'TOKEN_STATUS'
  | 'KEYS_MALFORMED'
  | 'KEYS_UNREACHABLE';

/** A token is refused: nothing that it says may be used. Messages may quote it: they are escaped where they are shown. */
export class TokenRefusal extends Error {
  override readonly name = 'TokenRefusal';
  readonly code: TokenRefusalCode;

  constructor(code: TokenRefusalCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
