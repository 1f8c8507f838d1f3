import { RpcError } from '../../proto/rpc-error.ts';
import { ALL_LOGS, collectFacts, collectLogs } from './collect.ts';
import { enroll } from './enroll.ts';
import { isValidAt } from './renew.ts';
import type { AgentState, TlsIdentity } from './state-document.ts';
import { makeBareCertificate, tlsKeySha256 } from './tls-key.ts';
import type { ReadyTpm } from './tpm-session.ts';
import type { VerifiedAnswer } from './verify-service.ts';
import type { World } from './world.ts';

/** Is this AK enrolled already? */
export function isEnrolled({ enrolled }: AgentState, ready: ReadyTpm): boolean {
  return enrolled !== undefined && enrolled.akName.equals(ready.ak.name);
}

/**
 * Enrols the host and keeps what the service answered. An AK that replaces another is admitted by itself only over the host's
 * present TLS identity, so that is tried first; a service that does not take it any more sees the bare key.
 * @throws RpcError, TpmError, AgentError `untrusted_service`
 */
export async function enrollHost(world: World, ready: ReadyTpm, signal: AbortSignal): Promise<VerifiedAnswer> {
  const present = issuedIdentities(world);
  for (const identity of present) {
    try {
      return await enrollUnder(world, ready, identity, signal);
    } catch (error) {
      if (!(error instanceof RpcError) || error.code !== 'UNAUTHENTICATED') throw error;
      world.log.debug({ reason: error.reason }, 'the service does not take this host’s present certificate');
    }
  }
  return enrollUnder(world, ready, await bareIdentity(world), signal);
}

/** The TLS identities that the service has issued and that have not expired; the newest first. */
export function issuedIdentities({ state, now }: World): readonly TlsIdentity[] {
  const { tlsKey, enrolled, renewal } = state.joined;
  const next =
    renewal?.certificate === undefined ? [] : [{ privateKey: renewal.privateKey, certificate: renewal.certificate }];
  const present = enrolled === undefined ? [] : [{ privateKey: tlsKey, certificate: enrolled.clientCertificate }];
  return [...next, ...present].filter(({ certificate }) => isValidAt(certificate, now()));
}

async function bareIdentity({ state, now, randomBytes }: World): Promise<TlsIdentity> {
  const privateKey = state.joined.tlsKey;
  const certificate = await makeBareCertificate(privateKey, { now: now(), serial: randomBytes(16) });
  return { privateKey, certificate };
}

async function enrollUnder(
  world: World,
  ready: ReadyTpm,
  identity: TlsIdentity,
  signal: AbortSignal,
): Promise<VerifiedAnswer> {
  const { server, authority, pin, logs } = world.state.joined;
  const { tpm, ak, endorsementKeys, parentIndex } = ready;
  const connection = world.connect({ server, authority, identity });
  try {
    const enrollee = {
      tpm,
      ak,
      endorsementKeys,
      parentIndex,
      tlsKeySha256: tlsKeySha256(identity.privateKey),
      pin,
      collectFacts: () => collectFacts(world.read, world.agentVersion),
      collectLogs: () => collectLogs(world.read, logs, ALL_LOGS),
    };
    const answer = await enroll(enrollee, connection.enrollment, { now: world.now, signal });
    await keep(world, ready, identity, answer);
    return answer;
  } finally {
    connection.close();
  }
}

/** Where the new AK waits for an operator nothing has changed, here neither. */
async function keep(world: World, ready: ReadyTpm, identity: TlsIdentity, answer: VerifiedAnswer): Promise<void> {
  if (answer.replacementPending) return;
  const { hostId, clientCertificate, akCertificate, authority } = answer;
  await world.state.update({
    authority,
    tlsKey: identity.privateKey,
    enrolled: { hostId, clientCertificate, akCertificate, akName: ready.ak.name },
    renewal: undefined,
  });
}
