/**
 * - `state_absent`: the directory holds no state; the host has not joined.
 * - `state_locked`: another agent uses the directory.
 * - `state_unsafe`: other users of the machine can get at the directory.
 * - `state_format`: the state is of a format that this release does not know.
 * - `state_malformed`: the state does not parse.
 * - `state_unwritable`: the state could not be read or flushed to disk.
 * - `already_joined`: the directory belongs to another service.
 * - `untrusted_service`: what the service sent is not proven to come from the pinned service, or is not meant for this host.
 *   Nothing was opened or stored.
 * - `outside_validity`: by the clock of this machine, what the service sent is not yet or no longer valid. Nothing was opened or
 *   stored.
 * - `no_endorsement_key`: the TPM has no EK that can be used.
 * - `bad_challenge`: the service asked for what the contract does not have.
 * - `bad_answer`: the service broke the order of a stream.
 */
export type AgentErrorCode =
  | 'state_absent'
  | 'state_locked'
  | 'state_unsafe'
  | 'state_format'
  | 'state_malformed'
  | 'state_unwritable'
  | 'already_joined'
  | 'untrusted_service'
  | 'outside_validity'
  | 'no_endorsement_key'
  | 'bad_challenge'
  | 'bad_answer';

/** The one error class of the agent. */
export class AgentError extends Error {
  override readonly name = 'AgentError';
  readonly code: AgentErrorCode;

  constructor(code: AgentErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
