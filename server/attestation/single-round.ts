import { deriveKey, openWithMasters, seal, SealError } from '../identity/seal.ts';
import type { SealingMaster } from '../identity/seal.ts';
import { Appraiser } from '../policy/appraiser.ts';
import type { ResultRecord } from '../store/records.ts';
import { checkAnnouncements, collectLogs, withinTime } from '../verifier/collect-logs.ts';
import type { LogChunk } from '../verifier/collect-logs.ts';
import { AttestationError } from './attestation-error.ts';
import { asksAtLeast, CHALLENGE_LIFETIME, drawChallenge } from './challenge.ts';
import { checkHost } from './check-host.ts';
import type { AgentCaller } from './check-host.ts';
import { readKnown } from './known.ts';
import type { Challenge, Hello, Renewal, RoundEvidence } from './messages.ts';
import { settleMoved } from './moved-list.ts';
import { isTornBoot, loadBoot, proveBoot } from './round-boot.ts';
import { judgeRound, proveRound, withLogs } from './round.ts';
import { loadRuntime } from './known-runtime.ts';
import { proveRuntime } from './round-runtime.ts';
import type { RoundContext } from './round.ts';
import { MAX_TORN } from './session.ts';
import type { AttestationServices } from './services.ts';

const USE = { purpose: 'attestation challenge', context: 'v1' } as const;

/** The challenge as the agent carries it between two calls. `round` makes it good for one: a committed round advances it. */
interface SealedChallenge {
  readonly hostId: string;
  readonly akName: string;
  readonly round: number;
  readonly nonce: string;
  readonly selection: Challenge['selection'];
  readonly logs: Challenge['logs'];
  readonly time: number;
}

export interface SingleRoundServices extends AttestationServices {
  /** The service's present keys: a rotation replaces `current`. */
  readonly keys: { readonly current: { readonly tokenMasters: readonly SealingMaster[] } };
}

/** Draws a challenge without a stream and seals it into a token: the service keeps nothing. Throws AttestationError. */
export async function createChallenge(
  services: SingleRoundServices,
  caller: AgentCaller,
  hello: Hello,
): Promise<{ readonly challenge: Challenge; readonly token: Buffer }> {
  const { store, policies, boots, random } = services;
  services.hostLimits.takeChallenge(caller.hostId);
  const host = checkHost(await store.getHost(caller.hostId), { ...caller, akName: hello.akName, now: store.now() });
  if (host.state === 'pending') throw new AttestationError('HOST_PENDING', 'the host waits for approval');
  await policies.catchUp();
  const { applicable } = await policies.resolve(host);
  const challenge = drawChallenge({
    host,
    applicable,
    logs: await store.logStates(host.id),
    boot: hello.boot,
    known: await loadBoot(store, boots, host.id),
    runtime: await loadRuntime(store, host.id),
    now: store.now(),
    random,
  });
  const { selection, logs, time } = challenge;
  const content: SealedChallenge = {
    hostId: host.id,
    akName: host.ak.name,
    round: host.round,
    nonce: challenge.nonce.toString('hex'),
    selection,
    logs,
    time,
  };
  const [master] = services.keys.current.tokenMasters;
  if (master === undefined) throw new TypeError('no token master');
  const plaintext = Buffer.from(JSON.stringify(content));
  return {
    challenge,
    token: seal(deriveKey(master, USE), { plaintext, associatedData: Buffer.from(host.id), random }),
  };
}

/** Judges the evidence for a sealed challenge. Throws AttestationError, EvidenceError, LogError. */
export async function submitEvidence(
  services: SingleRoundServices,
  caller: AgentCaller,
  request: {
    readonly token: Buffer;
    readonly evidence: RoundEvidence;
    readonly nextChunk: () => Promise<LogChunk | null>;
  },
): Promise<{ readonly result: ResultRecord; readonly renewal: Renewal | null }> {
  const { store, policies, boots, committer } = services;
  const { akName, round, ...sealed } = openChallenge(services.keys.current.tokenMasters, request.token, caller.hostId);
  const challenge: Challenge = { ...sealed, nonce: Buffer.from(sealed.nonce, 'hex') };
  const host = checkHost(await store.getHost(caller.hostId), { ...caller, akName, now: store.now() });
  const age = store.now() - challenge.time;
  // A challenge of the future was drawn by a clock that has been set back since.
  if (age < 0 || age >= CHALLENGE_LIFETIME)
    throw new AttestationError('CHALLENGE_EXPIRED', 'the challenge has expired');
  if (host.state === 'pending') throw new AttestationError('HOST_PENDING', 'the host waits for approval');
  if (host.round !== round)
    throw new AttestationError('HOST_CHANGED', 'the challenge has been answered, or another round came between');
  await policies.catchUp();
  const { evidence } = request;
  const context: RoundContext = {
    host,
    ...(await readKnown(services, host)),
    challenge,
    appraiser: new Appraiser(services.verdictParts),
    tlsKeySha256: caller.tlsKeySha256,
    streamEpoch: 0,
    boot: await loadBoot(store, boots, host.id),
    runtime: await loadRuntime(store, host.id),
    logs: await store.logStates(host.id),
  };
  if (!isStillAsked(context, services))
    throw new AttestationError(
      'HOST_CHANGED',
      'what is asked of the host has changed meanwhile: ask for a new challenge',
    );
  const first = proveRound(context, evidence);
  services.hostLimits.takeRound(host.id);
  checkAnnouncements(evidence.logs, challenge.logs);
  using held = services.logBudget.hold([host.id], evidence.logs);
  using chunks = withinTime(request.nextChunk);
  const logs = await collectLogs(evidence.logs, chunks.next, held);
  const proof = await settleMoved(services.runtimes, context, { proof: first, evidence, logs });
  if (proof.kind === 'torn') {
    await store.countTorn(host.id, host.round);
    throw new AttestationError('HOST_CHANGED', 'a pcr moved between quote and read: ask for a new challenge');
  }
  const proven = await proveBoot(boots, { challenge, evidence, verified: proof.evidence, logs });
  const runtime = await proveRuntime(services.runtimes, context, { evidence, verified: proof.evidence, proven, logs });
  if ((isTornBoot(proven) || runtime.torn) && (await store.countTorn(host.id, host.round)) < MAX_TORN) {
    throw new AttestationError('HOST_CHANGED', 'a log ends before the quote: ask for a new challenge');
  }
  const judged = judgeRound(context, evidence, { verified: proof.evidence, proven, runtime });
  const { newTlsPublicKey } = evidence;
  const renewed = newTlsPublicKey.length === 0 ? null : await services.issueClientCertificate(host.id, newTlsPublicKey);
  const outcome = await committer.commit(withLogs(judged, logs, { evidence, runtime }));
  if (outcome.outcome === 'fenced') {
    policies.refresh();
    throw new AttestationError('HOST_CHANGED', 'the host or its policy changed meanwhile: ask for a new challenge');
  }
  return { result: outcome.result, renewal: renewed === null ? null : { clientCertificate: renewed } };
}

/** Whether a challenge that is drawn now would ask for nothing that this one did not. */
function isStillAsked(
  { host, applicable, challenge, logs, boot, runtime }: RoundContext,
  { store, random }: Pick<SingleRoundServices, 'store' | 'random'>,
): boolean {
  const context = { host, applicable, logs, boot: null, known: boot, runtime, now: store.now(), random };
  return asksAtLeast(challenge, drawChallenge(context));
}

function openChallenge(masters: readonly SealingMaster[], token: Buffer, hostId: string): SealedChallenge {
  try {
    const plaintext = openWithMasters(masters, token, { ...USE, associatedData: Buffer.from(hostId) });
    return JSON.parse(plaintext.toString('utf8')) as SealedChallenge;
  } catch (cause) {
    if (!(cause instanceof SealError)) throw cause;
    throw new AttestationError('CHALLENGE_TOKEN_INVALID', 'the token is not one of this service for this host', {
      cause,
    });
  }
}
