import { RpcError } from '../../proto/rpc-error.ts';
import { TpmError } from '../../tpm/device/tpm-error.ts';
import { plainMessage } from '../sdk/plain-message.ts';
import { SdkError } from '../sdk/sdk-error.ts';
import { AgentError } from './agent-error.ts';

/** What the running agent does about a failure. */
export interface Advice {
  readonly act: 'retry' | 'reopen_tpm' | 'enroll_anew' | 'give_up';
  /** Stable word for logs. */
  readonly event: string;
  readonly sentence: string;
  /** Asked for by the service; 0 where it asked for nothing. */
  readonly retryDelayMillis: number;
  /** Wait at least so long. */
  readonly leastWaitMillis: number;
}

/** A banned host, or a service that is not the pinned one: trying again is cheap for nobody. */
const LONG_WAIT_MS = 5 * 60_000;

/** The reason of PERMISSION_DENIED for a banned host. */
export const HOST_REVOKED = 'HOST_REVOKED';

/** The service holds another AK for this host, as after it was restored from a backup. */
const AK_UNKNOWN = 'AK_UNKNOWN';

/** What another try cannot change: the machine has to be set up otherwise. */
const HOPELESS_TPM: ReadonlySet<string> = new Set(['LIBRARY_MISSING', 'INVALID_TCTI']);

export function adviceFor(error: unknown): Advice {
  if (error instanceof RpcError) return adviceForRpc(error);
  if (error instanceof TpmError) {
    const act = HOPELESS_TPM.has(error.code) ? 'give_up' : 'reopen_tpm';
    return advice(act, 'tpm_failed', `the TPM failed: ${error.message}`);
  }
  if (error instanceof AgentError) return adviceForAgent(error);
  if (error instanceof SdkError) return advice('retry', 'bad_answer', error.message);
  return advice('give_up', 'defect', 'the agent failed');
}

function adviceForRpc(error: RpcError): Advice {
  const { code, reason, retryDelayMillis } = error;
  const told = `${plainMessage(error)}${reason === '' ? '' : ` (${reason})`}`;
  const base = { retryDelayMillis: retryDelayMillis ?? 0 };
  if (code === 'PERMISSION_DENIED' && reason === HOST_REVOKED) {
    const sentence = 'this host is banned by the service; an operator must delete it there before it can come back';
    return { ...advice('retry', 'host_revoked', sentence), ...base, leastWaitMillis: LONG_WAIT_MS };
  }
  if (code === 'UNAUTHENTICATED' || code === 'NOT_FOUND' || reason === AK_UNKNOWN) {
    return { ...advice('enroll_anew', 'not_known', `the service does not know this host any more: ${told}`), ...base };
  }
  if (code === 'UNAVAILABLE') {
    return { ...advice('retry', 'unreachable', `the service cannot be reached: ${told}`), ...base };
  }
  return { ...advice('retry', 'refused', `the service refused (${code}): ${told}`), ...base };
}

function adviceForAgent(error: AgentError): Advice {
  switch (error.code) {
    case 'untrusted_service':
      return {
        ...advice('retry', 'untrusted_service', `what answers is not the service that was pinned: ${error.message}`),
        leastWaitMillis: LONG_WAIT_MS,
      };
    case 'outside_validity':
      return advice('retry', error.code, `${error.message}; is the clock of this machine right?`);
    case 'state_unwritable':
    case 'bad_challenge':
    case 'bad_answer':
      return advice('retry', error.code, error.message);
    case 'no_endorsement_key':
      return advice('reopen_tpm', error.code, error.message);
    case 'state_absent':
    case 'state_locked':
    case 'state_unsafe':
    case 'state_format':
    case 'state_malformed':
    case 'already_joined':
      return advice('give_up', error.code, error.message);
  }
}

function advice(act: Advice['act'], event: string, sentence: string): Advice {
  return { act, event, sentence, retryDelayMillis: 0, leastWaitMillis: 0 };
}
