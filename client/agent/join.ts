import { AgentError } from './agent-error.ts';
import { enrollHost } from './enroll-host.ts';
import type { AkAlgorithm } from './host-tpm.ts';
import type { LogPaths } from './collect.ts';
import { TpmSession } from './tpm-session.ts';
import { makeTlsKey } from './tls-key.ts';
import type { VerifiedAnswer } from './verify-service.ts';
import type { World } from './world.ts';

export interface JoinRequest {
  /** HOST:PORT */
  readonly server: string;
  /** The pin of the service's CA, `sha256:` and 64 hexadecimal digits. */
  readonly pin: string;
  readonly tcti: string;
  readonly akAlgorithm: AkAlgorithm;
  readonly logs: LogPaths;
  /** Asks the service for its CA and checks it against the pin. Throws RpcError, CertificateError. */
  readonly fetchAuthority: () => Promise<Buffer>;
}

/**
 * Makes the host known to a service: writes the state, then enrols. A host that has joined the same service before keeps its
 * keys and enrols again, so a lost answer is harmless.
 * @throws AgentError `already_joined` where the state belongs to another service; RpcError, CertificateError, TpmError
 */
export async function join(world: World, request: JoinRequest, signal: AbortSignal): Promise<VerifiedAnswer> {
  await prepareState(world, request);
  const tpm = new TpmSession(world);
  try {
    return await enrollHost(world, await tpm.ready(), signal);
  } finally {
    await tpm.close();
  }
}

async function prepareState({ state }: World, request: JoinRequest): Promise<void> {
  const { server, tcti, akAlgorithm, logs } = request;
  const pin = request.pin.toLowerCase();
  const known = state.state;
  if (known !== undefined && known.pin !== pin) {
    throw new AgentError(
      'already_joined',
      `${state.path} belongs to the service ${known.pin} at ${known.server}: use another --state, or move it away`,
    );
  }
  const authority = await request.fetchAuthority();
  // The service may have moved; a key of another algorithm takes the place of the old one when the host is asked to have it.
  const sameAk = known?.ak !== undefined && known.akAlgorithm === akAlgorithm ? { ak: known.ak } : {};
  await state.save({
    server,
    pin,
    authority,
    tcti,
    akAlgorithm,
    logs,
    tlsKey: known?.tlsKey ?? makeTlsKey(),
    ...sameAk,
    ...(known?.enrolled === undefined ? {} : { enrolled: known.enrolled }),
    ...(known?.renewal === undefined ? {} : { renewal: known.renewal }),
  });
}
