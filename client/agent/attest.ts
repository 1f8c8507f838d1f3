import { attestationBinding, bankProofBinding, factsDigest } from '../../proto/transcript.ts';
import type { ClaimedFacts } from '../../proto/transcript.ts';
import type { PcrBankSelection } from '../../tpm/structures/pcr-selection.ts';
import type { AttestationService, AttestIncoming, AttestOutgoing, Challenge, Evidence } from '../sdk/evidence.ts';
import type { AttestationResult } from '../sdk/resources.ts';
import { AgentError } from './agent-error.ts';
import type { CollectedLog } from './collect.ts';
import type { GrowingLog } from './gauge.ts';
import type { HostAk, HostTpm } from './host-tpm.ts';
import { Outbox } from './outbox.ts';
import { quotePcrs } from './quote-pcrs.ts';
import type { MeasurementWatch } from './watch.ts';

/** Logs and banks that one challenge may ask for; the contract has three logs, TPMs have up to 16 banks. */
const MAX_LOGS = 8;
const MAX_BANKS = 16;

/** How the client certificate gets renewed. */
export interface Renewer {
  /** SubjectPublicKeyInfo (DER) of the next TLS key, on disk by then; empty while no renewal is due. */
  newPublicKey(): Promise<Buffer>;
  /** Verifies and keeps the certificates for that key. When this resolves they are on disk. */
  accept(renewal: { readonly clientCertificate: Buffer; readonly authorityCertificate: Buffer }): Promise<void>;
}

/** What the agent tells of a stream while it is open. */
export interface StreamEvents {
  /** The service took the agent's TLS identity: its first message is here. */
  accepted(): Promise<void>;
  result(result: AttestationResult): void;
  pending(message: string): void;
  torn(reason: string, attempt: number): void;
  /** A challenge was asked for because these logs have grown. */
  wished(logs: readonly GrowingLog[]): void;
}

/** An enrolled host, its AK loaded. */
export interface Attester {
  readonly tpm: Pick<HostTpm, 'activeBanks' | 'readPcrs' | 'bootState'>;
  readonly ak: HostAk;
  /** `h-…` */
  readonly hostId: string;
  /** Of the key under which this stream speaks TLS. */
  readonly tlsKeySha256: Buffer;
  readonly agentVersion: string;
  readonly collectFacts: () => Promise<ClaimedFacts>;
  readonly collectLogs: (requests: Challenge['logs']) => Promise<readonly CollectedLog[]>;
  readonly renewer: Renewer;
  /** Undefined where nothing is watched. */
  readonly watch: MeasurementWatch | undefined;
}

/** `renewed`: come back under the new TLS key. `ended`: the service closed the stream in good order. */
export type StreamEnd = 'renewed' | 'ended';

/**
 * One stream of continuous attestation (docs/protocol.md): answers challenges until the stream ends.
 * @throws RpcError where it ends otherwise; TpmError; AgentError `bad_challenge`, `untrusted_service`
 */
export async function attest(
  attester: Attester,
  service: AttestationService,
  options: { readonly events: StreamEvents; readonly signal: AbortSignal },
): Promise<StreamEnd> {
  const outbox = new Outbox<AttestOutgoing>();
  const { ak, agentVersion, watch } = attester;
  outbox.push({ kind: 'hello', akName: ak.name, bootState: await attester.tpm.bootState(), agentVersion });
  const stream = new Stream(attester, outbox, options.events);
  const over = new AbortController();
  try {
    void watch?.run((logs) => stream.wish(logs), over.signal);
    let first = true;
    for await (const message of service.attest(outbox, options.signal)) {
      if (first) await options.events.accepted();
      first = false;
      await stream.take(message);
      if (stream.renewed) return 'renewed';
    }
    return 'ended';
  } finally {
    over.abort();
    outbox.close();
  }
}

/** Where one stream stands. */
class Stream {
  readonly #attester: Attester;
  readonly #outbox: Outbox<AttestOutgoing>;
  readonly #events: StreamEvents;
  #evidenceOpen = false;
  #certificateStored = false;

  constructor(attester: Attester, outbox: Outbox<AttestOutgoing>, events: StreamEvents) {
    this.#attester = attester;
    this.#outbox = outbox;
    this.#events = events;
  }

  /** A new certificate is on disk and the round that brought it is over. */
  get renewed(): boolean {
    return this.#certificateStored && !this.#evidenceOpen;
  }

  wish(logs: readonly GrowingLog[]): void {
    this.#outbox.push({ kind: 'wish', reason: `new measurements: ${logs.join(', ')}` });
    this.#events.wished(logs);
  }

  async take(message: AttestIncoming): Promise<void> {
    switch (message.kind) {
      case 'challenge': {
        const { evidence, logs } = await makeEvidence(this.#attester, message.challenge);
        this.#outbox.push({ kind: 'evidence', evidence });
        for (const { chunks } of logs) for (const chunk of chunks) this.#outbox.push({ kind: 'chunk', chunk });
        this.#attester.watch?.evidenceSent();
        this.#evidenceOpen = true;
        return;
      }
      case 'result':
        this.#evidenceOpen = false;
        return this.#events.result(message.result);
      case 'torn':
        this.#evidenceOpen = false;
        return this.#events.torn(message.reason, message.attempt);
      case 'pending':
        return this.#events.pending(message.message);
      case 'renewal':
        await this.#attester.renewer.accept(message);
        this.#certificateStored = true;
    }
  }
}

/** Facts first, for the quote binds them; then the quote, the PCR values, the banks where they are due, the logs last. */
async function makeEvidence(
  attester: Attester,
  challenge: Challenge,
): Promise<{ readonly evidence: Evidence; readonly logs: readonly CollectedLog[] }> {
  checkChallenge(challenge);
  const { tpm, ak, hostId, tlsKeySha256 } = attester;
  const newTlsPublicKey = await attester.renewer.newPublicKey();
  const facts = await attester.collectFacts();
  const qualifyingData = attestationBinding({
    nonce: challenge.nonce,
    hostId,
    tlsKeySha256,
    facts: factsDigest(facts, newTlsPublicKey),
  });
  const selection = challenge.allBanks ? await tpm.activeBanks() : challenge.selection;
  await attester.watch?.quoteBegins();
  const { quote, pcrValues } = await quotePcrs(tpm, ak, { qualifyingData, selection });
  const bankProof = challenge.allBanks ? await ak.proveBanks(bankProofBinding(qualifyingData)) : undefined;
  const logs = await attester.collectLogs(challenge.logs);
  const announcements = logs.map(({ announcement }) => announcement);
  return { evidence: { quote, pcrValues, facts, logs: announcements, bankProof, newTlsPublicKey }, logs };
}

/** The host signs nothing but what the contract has. */
function checkChallenge({ nonce, selection, allBanks, logs }: Challenge): void {
  const bad = (what: string): never => {
    throw new AgentError('bad_challenge', `the service's challenge ${what}`);
  };
  if (nonce.length !== 32) bad(`has a nonce of ${nonce.length} bytes`);
  if (allBanks !== (selection.length === 0)) bad('selects neither all banks nor given ones');
  if (selection.length > MAX_BANKS || !selection.every(isBank)) bad('selects what is no PCR');
  if (logs.length > MAX_LOGS) bad(`asks for ${logs.length} logs`);
  if (!logs.every(({ offset }) => Number.isSafeInteger(offset) && offset >= 0)) bad('asks for a log from no position');
}

function isBank({ pcrs }: PcrBankSelection): boolean {
  return pcrs.length > 0 && pcrs.length <= 24 && pcrs.every((index) => Number.isInteger(index) && index < 24);
}
