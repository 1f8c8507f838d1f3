import { CommanderError } from 'commander';
import { CertificateError } from '../proto/certificate-profile.ts';
import { RpcError } from '../proto/rpc-error.ts';
import type { StatusCode } from '../proto/status.ts';
import { TpmError } from '../tpm/device/tpm-error.ts';
import { HOST_REVOKED } from './agent/advice.ts';
import { AgentError } from './agent/agent-error.ts';
import { escapeText } from './output.ts';
import { LearnError } from './policies/learn-error.ts';
import { plainMessage } from './sdk/plain-message.ts';
import { SdkError } from './sdk/sdk-error.ts';
import { TokenRefusal } from './sdk/token-refusal.ts';

/** Exit codes of `assay`, for scripts. They are part of the documented interface. */
export const EXIT = {
  ok: 0,
  /** The operation was refused or failed. */
  failed: 1,
  /** Wrong usage: an argument, an option, or a file that it names. */
  usage: 2,
  /** The service does not answer. */
  unreachable: 3,
  /** The service answers, and not to this caller. */
  unauthorised: 4,
  /** `result get` and `token verify`: the host is not AFFIRMING. */
  notAffirming: 5,
  /** The service has banned this host. */
  banned: 6,
  /** Ended by a signal: 128 + SIGINT, as a shell shows it. */
  interrupted: 130,
} as const;

/** Wrong usage that only a command itself can see: says what and where. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  /** Each problem by itself, where there are several. */
  readonly problems: readonly string[];

  constructor(message: string, options: ErrorOptions & { readonly problems?: readonly string[] } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.problems = options.problems ?? [];
  }
}

/** What a person reads, and what a script sees. */
export interface Failure {
  readonly exitCode: number;
  /** One line each: what went wrong first, then particulars and a hint. Safe for a terminal. Empty where all was said. */
  readonly lines: readonly string[];
}

const RPC_EXIT: Partial<Record<StatusCode, number>> = {
  UNAVAILABLE: EXIT.unreachable,
  DEADLINE_EXCEEDED: EXIT.unreachable,
  UNAUTHENTICATED: EXIT.unauthorised,
  PERMISSION_DENIED: EXIT.unauthorised,
};

const RPC_HINTS: Partial<Record<StatusCode, string>> = {
  UNAVAILABLE: 'is the service running, and is its address right (in the profile, or --server)?',
  UNAUTHENTICATED: 'the certificate of the profile has expired, was revoked or is of another service',
  PERMISSION_DENIED:
    'the roles or the scope of this identity do not allow it: an operator gives others by `assay identity issue`',
  ABORTED: 'somebody else changed it in between: read it anew and try again',
};

/** Never a stack: what an operator cannot act upon is a line with the class of the defect. */
export function describeFailure(error: unknown): Failure {
  if (error instanceof CommanderError) return { exitCode: error.exitCode === 0 ? EXIT.ok : EXIT.usage, lines: [] };
  if (error instanceof UsageError) return failure(EXIT.usage, error.message, error.problems);
  if (error instanceof RpcError) return describeRpcError(error);
  if (error instanceof SdkError) {
    return failure(error.code === 'bad_answer' ? EXIT.failed : EXIT.usage, error.message, error.problems);
  }
  if (error instanceof LearnError) return failure(EXIT.failed, `${error.code}: ${error.message}`);
  if (error instanceof TokenRefusal) {
    const exitCode = error.code === 'KEYS_UNREACHABLE' ? EXIT.unreachable : EXIT.failed;
    return failure(exitCode, `${error.code}: ${error.message}`);
  }
  if (error instanceof AgentError) return describeAgentError(error);
  if (error instanceof TpmError) return describeTpmError(error);
  if (error instanceof CertificateError) {
    const exitCode = error.code === 'bad_fingerprint' ? EXIT.usage : EXIT.failed;
    return failure(exitCode, error.message, pinHint(error));
  }
  return failure(
    EXIT.failed,
    `internal error: ${error instanceof Error ? `${error.name}: ${error.message}` : 'unknown'}`,
  );
}

function describeRpcError(error: RpcError): Failure {
  const { code, reason, fieldViolations, requestId } = error;
  const message = plainMessage(error);
  if (code === 'PERMISSION_DENIED' && reason === HOST_REVOKED) return failure(EXIT.banned, `${reason}: ${message}`);
  // Only a missing role is about the caller; the other reasons, such as an EK of an unknown maker, are about what was asked.
  const denied = code === 'PERMISSION_DENIED' && reason !== 'ROLE_MISSING';
  const hint = denied ? undefined : RPC_HINTS[code];
  return failure((denied ? undefined : RPC_EXIT[code]) ?? EXIT.failed, `${reason === '' ? code : reason}: ${message}`, [
    // Where there is one, the message often says it already.
    ...fieldViolations.map(({ field, description }) => `${field}: ${description}`).filter((line) => line !== message),
    ...(hint === undefined ? [] : [`hint: ${hint}`]),
    ...(requestId === '' ? [] : [`request: ${requestId}`]),
  ]);
}

const AGENT_USAGE: ReadonlySet<AgentError['code']> = new Set(['state_absent', 'already_joined']);

function describeAgentError(error: AgentError): Failure {
  const hints: Partial<Record<AgentError['code'], string>> = {
    untrusted_service: 'compare the fingerprint with what `assayd init` printed; do not go on if they differ',
    outside_validity: 'is the clock of this machine right?',
    state_format: 'this state was written by another release of assay',
    state_unwritable: 'name a directory by --state that this user may write to, on a disk with room',
    state_malformed: 'move the state directory away and join again',
  };
  const hint = hints[error.code];
  const exitCode = AGENT_USAGE.has(error.code) ? EXIT.usage : EXIT.failed;
  return failure(exitCode, error.message, hint === undefined ? [] : [`hint: ${hint}`]);
}

function describeTpmError(error: TpmError): Failure {
  const hints = [
    ...(error.debianPackage === undefined ? [] : [`hint: apt-get install ${error.debianPackage}`]),
    ...(error.code === 'UNREACHABLE' ? ['hint: name the TPM by --tcti, such as device:/dev/tpmrm0'] : []),
  ];
  return failure(error.code === 'INVALID_TCTI' ? EXIT.usage : EXIT.failed, `TPM: ${error.message}`, hints);
}

function pinHint(error: CertificateError): readonly string[] {
  if (error.code !== 'unknown_authority') return [];
  return ['hint: what answers there is not the service that the fingerprint names; nothing was sent to it'];
}

function failure(exitCode: number, message: string, particulars: readonly string[] = []): Failure {
  const [first = '', ...rest] = [message, ...particulars].map(escapeText);
  return { exitCode, lines: [`assay: ${first}`, ...rest.map((line) => `  ${line}`)] };
}
