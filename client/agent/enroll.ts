import {
  bankProofBinding,
  enrollmentKey,
  enrollmentProofMac,
  enrollmentQuoteBinding,
  factsDigest,
} from '../../proto/transcript.ts';
import type { ClaimedFacts } from '../../proto/transcript.ts';
import type { EndorsementKey } from '../../tpm/device/endorsement-key.ts';
import type { EnrollmentPart, EnrollmentProof, EnrollmentService } from '../sdk/evidence.ts';
import type { CollectedLog } from './collect.ts';
import { ekName } from './host-tpm.ts';
import type { HostAk, HostTpm } from './host-tpm.ts';
import { quotePcrs } from './quote-pcrs.ts';
import { verifyAnswer, verifyChallenge } from './verify-service.ts';
import type { OwnValues, VerifiedAnswer, VerifiedChallenge } from './verify-service.ts';

/** The AK under one of the TPM's EKs, loaded; its blobs and the TLS key are on disk already. */
export interface Enrollee {
  readonly tpm: Pick<HostTpm, 'activeBanks' | 'readPcrs'>;
  readonly ak: HostAk;
  /** Every EK of the TPM. */
  readonly endorsementKeys: readonly EndorsementKey[];
  /** Which of them is the AK's parent. */
  readonly parentIndex: number;
  readonly tlsKeySha256: Buffer;
  /** `sha256:…` */
  readonly pin: string;
  readonly collectFacts: () => Promise<ClaimedFacts>;
  readonly collectLogs: () => Promise<readonly CollectedLog[]>;
}

/**
 * The credential exchange (docs/protocol.md). `service` speaks over one connection under the TLS key of the enrollee.
 * @throws AgentError `untrusted_service` before anything is opened or believed; RpcError; TpmError
 */
export async function enroll(
  enrollee: Enrollee,
  service: EnrollmentService,
  options: { readonly now: () => Date; readonly signal: AbortSignal },
): Promise<VerifiedAnswer> {
  const own: OwnValues = {
    ekNames: enrollee.endorsementKeys.map(ekName),
    parentIndex: enrollee.parentIndex,
    akName: enrollee.ak.name,
    tlsKeySha256: enrollee.tlsKeySha256,
    pin: enrollee.pin,
  };
  const received = await service.begin(beginRequest(enrollee), options.signal);
  const challenge = verifyChallenge(received, own, options.now());
  const secrets = await openCredentials(enrollee, challenge);
  const key = enrollmentKey(secrets, challenge.transcript);
  const { proof, logs } = await makeProof(enrollee, challenge, key);
  const answer = await service.complete(partsOf(proof, logs), options.signal);
  const { transcript } = challenge;
  return verifyAnswer(answer, { ...own, key, transcript, proofMac: proof.hmac }, options.now());
}

function beginRequest({ endorsementKeys, ak, parentIndex }: Enrollee): Parameters<EnrollmentService['begin']>[0] {
  return {
    endorsementKeys: endorsementKeys.map(({ publicArea, certificate, chain }) => ({
      publicArea,
      certificate: certificate ?? Buffer.alloc(0),
      chain,
    })),
    akPublicArea: ak.publicArea,
    parentIndex,
  };
}

/** Opens the credential of every EK, in their order. */
async function openCredentials(enrollee: Enrollee, challenge: VerifiedChallenge): Promise<readonly Buffer[]> {
  const secrets: Buffer[] = [];
  for (const [index, ek] of enrollee.endorsementKeys.entries()) {
    const credential = challenge.credentials[index];
    if (credential === undefined) throw new TypeError('a verified challenge has a credential for each EK');
    secrets.push(await enrollee.ak.activate(ek, credential));
  }
  return secrets;
}

/** Facts first, for the quote binds them; then the quote, the banks, and the logs last, which may only have grown. */
async function makeProof(
  enrollee: Enrollee,
  challenge: VerifiedChallenge,
  key: Buffer,
): Promise<{ readonly proof: EnrollmentProof; readonly logs: readonly CollectedLog[] }> {
  const { tpm, ak } = enrollee;
  const { transcript, nonce, token } = challenge;
  const facts = await enrollee.collectFacts();
  const factsHash = factsDigest(facts);
  const qualifyingData = enrollmentQuoteBinding({ nonce, transcript, facts: factsHash });
  const { quote, pcrValues } = await quotePcrs(tpm, ak, { qualifyingData, selection: await tpm.activeBanks() });
  const bankProof = await ak.proveBanks(bankProofBinding(qualifyingData));
  const logs = await enrollee.collectLogs();
  const announcements = logs.map(({ announcement }) => announcement);
  const hmac = enrollmentProofMac(key, {
    transcript,
    attest: quote.attest,
    signature: quote.signature,
    pcrValues,
    bankProof,
    facts: factsHash,
    logs: announcements,
  });
  return { proof: { token, hmac, quote, pcrValues, bankProof, facts, logs: announcements }, logs };
}

async function* partsOf(proof: EnrollmentProof, logs: readonly CollectedLog[]): AsyncGenerator<EnrollmentPart> {
  yield { kind: 'proof', proof };
  for (const { chunks } of logs) {
    for (const chunk of chunks) yield { kind: 'chunk', chunk };
  }
}
