/**
 * - `bad_profile`: a profile file is not what it must be.
 * - `bad_address`: a server's address is not HOST:PORT.
 * - `bad_policy`: a policy's text does not parse as one.
 * - `bad_answer`: the service answered outside its contract.
 */
export type SdkErrorCode = 'bad_profile' | 'bad_address' | 'bad_policy' | 'bad_answer';

/** The SDK's own error; what the service answers is an RpcError. */
export class SdkError extends Error {
  override readonly name = 'SdkError';
  readonly code: SdkErrorCode;
  /** Each problem by itself, where there are several. */
  readonly problems: readonly string[];

  constructor(
    code: SdkErrorCode,
    message: string,
    options: ErrorOptions & { readonly problems?: readonly string[] } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.problems = options.problems ?? [];
  }
}
