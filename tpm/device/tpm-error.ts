import { type ResponseCode, describeResponseCode } from './response-code.ts';

/**
 * What can go wrong between a caller and its TPM.
 *
 * - `LIBRARY_MISSING`: a shared library of tpm2-tss is not installed; `debianPackage` names the package.
 * - `INVALID_TCTI`: the TCTI name is not of a known kind.
 * - `UNREACHABLE`: there is no TPM at the TCTI, or the connection to it broke; open a new `Tpm` to try again.
 * - `CLOSED`: the `Tpm` was closed.
 * - `BUSY`: the TPM kept asking for a retry, or has no room for another object or session.
 * - `LOCKOUT`: the TPM is in dictionary attack lockout.
 * - `HIERARCHY_AUTH`: a hierarchy has an authorisation value and the empty one was refused.
 * - `MALFORMED`: the caller's bytes do not decode as the structure they should be; no command was sent.
 * - `UNSUPPORTED`: the TPM does not have what was asked for.
 * - `KEY_CHANGED`: a primary key made again from its template is not the key that was found before.
 * - `UNSTABLE`: PCRs were extended so often that no consistent reading was had.
 * - `REFUSED`: the TPM answered with any other error; `response` has it.
 * - `LIBRARY_FAILURE`: tpm2-tss itself failed, or the TPM's answer did not verify or decode; open a new `Tpm` to go on.
 */
export type TpmErrorCode =
  | 'LIBRARY_MISSING'
  | 'INVALID_TCTI'
  | 'UNREACHABLE'
  | 'CLOSED'
  | 'BUSY'
  | 'LOCKOUT'
  | 'HIERARCHY_AUTH'
  | 'MALFORMED'
  | 'UNSUPPORTED'
  | 'KEY_CHANGED'
  | 'UNSTABLE'
  | 'REFUSED'
  | 'LIBRARY_FAILURE';

export interface TpmErrorOptions extends ErrorOptions {
  /** The function that failed, such as `Esys_Quote`. */
  readonly operation?: string;
  readonly response?: ResponseCode;
  readonly debianPackage?: string;
}

/** The one error class of this room. */
export class TpmError extends Error {
  override readonly name = 'TpmError';
  readonly code: TpmErrorCode;
  readonly operation?: string;
  readonly response?: ResponseCode;
  readonly debianPackage?: string;

  constructor(code: TpmErrorCode, message: string, options: TpmErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    if (options.operation !== undefined) this.operation = options.operation;
    if (options.response !== undefined) this.response = options.response;
    if (options.debianPackage !== undefined) this.debianPackage = options.debianPackage;
  }
}

const NO_ROOM: ReadonlySet<string> = new Set([
  'OBJECT_MEMORY',
  'SESSION_MEMORY',
  'MEMORY',
  'SESSION_HANDLES',
  'OBJECT_HANDLES',
]);

/** True for the warnings after which the same command may be sent again (Part 2 §6.6.3). */
export function isRetryable(response: ResponseCode): boolean {
  return isFromTpm(response) && ['RETRY', 'YIELDED', 'TESTING'].includes(response.name);
}

/** What a failed call was, for its error. */
export interface FailedCall {
  readonly operation: string;
  /** The hierarchy that the command's first session authorises, if it does. */
  readonly hierarchy?: 'owner' | 'endorsement';
  /** What `Tss2_RC_Decode` says of the code. */
  readonly text: string;
}

/** Makes the typed error of a failed call. */
export function errorOfResponse(response: ResponseCode, { operation, hierarchy, text }: FailedCall): TpmError {
  const what = `${operation} gave ${describeResponseCode(response)}: ${text}`;
  if (hierarchy !== undefined && isFirstAuthRefused(response)) {
    const message = `the ${hierarchy} hierarchy has an authorisation value, and the empty one was refused: ${what}`;
    return new TpmError('HIERARCHY_AUTH', message, { operation, response });
  }
  const code = codeOfResponse(response);
  return new TpmError(code, `${EXPLANATIONS[code]}: ${what}`, { operation, response });
}

const EXPLANATIONS = {
  UNREACHABLE: 'no TPM answers',
  BUSY: 'the TPM is busy',
  LOCKOUT: 'the TPM is in dictionary attack lockout',
  REFUSED: 'the TPM refused a command',
  LIBRARY_FAILURE: 'tpm2-tss failed',
} as const satisfies Partial<Record<TpmErrorCode, string>>;

function codeOfResponse(response: ResponseCode): keyof typeof EXPLANATIONS {
  if (response.layer === 'tcti' || response.name === 'NO_CONNECTION' || response.name === 'IO_ERROR') {
    return 'UNREACHABLE';
  }
  if (!isFromTpm(response)) return 'LIBRARY_FAILURE';
  if (response.name === 'LOCKOUT') return 'LOCKOUT';
  return isRetryable(response) || NO_ROOM.has(response.name) ? 'BUSY' : 'REFUSED';
}

/** BAD_AUTH where no lockout counts, AUTH_FAIL where it does (Part 3 §5.6). */
function isFirstAuthRefused({ name, subject }: ResponseCode): boolean {
  return (name === 'BAD_AUTH' || name === 'AUTH_FAIL') && subject?.kind === 'session' && subject.index === 1;
}

function isFromTpm(response: ResponseCode): boolean {
  return response.layer === 'tpm' || response.layer === 'resmgr' || response.layer === 'resmgr-tpm';
}
