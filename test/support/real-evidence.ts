/** Evidence of a real TPM, made by the agent's own rooms: for an enrolment and for a round. */
import { openHostTpm } from '../../client/agent/host-tpm.ts';
import type { HostAk, HostTpm } from '../../client/agent/host-tpm.ts';
import {
  attestationBinding,
  bankProofBinding,
  enrollmentKey,
  enrollmentQuoteBinding,
  enrollmentTranscript,
  factsDigest,
} from '../../proto/transcript.ts';
import { objectName } from '../../tpm/crypto/name.ts';
import type { PcrValues } from '../../tpm/crypto/pcr.ts';
import type { EndorsementKey } from '../../tpm/device/endorsement-key.ts';
import { decodePublicArea } from '../../tpm/structures/public-area.ts';
import type { Challenge, RoundEvidence } from '../../server/attestation/messages.ts';
import type { BeginRequest } from '../../server/enrollment/begin.ts';
import type { EnrollmentCaller, EnrollmentProof } from '../../server/enrollment/prove.ts';
import { announce, announcementOf, FACTS, macOf, makeTlsKey } from './evidence-builder.ts';
import type { Log, TlsKey } from './evidence-builder.ts';
import type { House } from './test-service.ts';

export class RealHost implements AsyncDisposable {
  readonly tls: TlsKey = makeTlsKey();
  readonly #tpm: HostTpm;
  readonly #ak: HostAk;
  readonly #eks: readonly EndorsementKey[];

  private constructor(tpm: HostTpm, ak: HostAk, eks: readonly EndorsementKey[]) {
    this.#tpm = tpm;
    this.#ak = ak;
    this.#eks = eks;
  }

  static async open(tcti: string): Promise<RealHost> {
    const tpm = await openHostTpm(tcti);
    const eks = await tpm.endorsementKeys();
    const [parent] = eks;
    if (parent === undefined) throw new TypeError('the tpm has no ek');
    const ak = await tpm.loadAk(parent, await tpm.createAk(parent, 'ecdsa-p256-sha256'));
    return new RealHost(tpm, ak, eks);
  }

  get caller(): EnrollmentCaller {
    return { tlsKeySha256: this.tls.sha256, tlsPublicKey: this.tls.spki, hostId: '' };
  }

  get akName(): Buffer {
    return this.#ak.name;
  }

  /** Begins an enrolment and answers its challenge. */
  async proof(house: House, logs: readonly Log[]): Promise<EnrollmentProof> {
    const request: BeginRequest = {
      eks: this.#eks.map(({ publicArea, certificate = Buffer.alloc(0), chain }) => ({
        publicArea,
        certificate,
        chain,
      })),
      akPublicArea: this.#ak.publicArea,
      parentIndex: 0,
      tlsKeySha256: this.tls.sha256,
    };
    const challenge = await house.beginner.begin(request);
    const ekNames = this.#eks.map(({ publicArea }) => objectName(decodePublicArea(publicArea)));
    const transcript = enrollmentTranscript({ ...challenge, ekNames, parentIndex: 0, akName: this.#ak.name });
    const secrets: Buffer[] = [];
    for (const [index, ek] of this.#eks.entries()) {
      const credential = challenge.credentials[index];
      if (credential !== undefined) secrets.push(await this.#ak.activate(ek, credential));
    }
    const facts = factsDigest(FACTS);
    const quoted = await this.#quote(enrollmentQuoteBinding({ nonce: challenge.nonce, transcript, facts }));
    const proof = {
      ...quoted,
      token: challenge.token,
      readings: [...quoted.pcrValues].flatMap(([algorithm, bank]) =>
        [...bank].map(([index, digest]) => ({ algorithm, index, digest })),
      ),
      facts: FACTS,
      logs: logs.map(announce),
      announcements: logs.map((log) => announcementOf(announce(log))),
    };
    return { ...proof, hmac: macOf(proof, enrollmentKey(secrets, transcript), transcript) };
  }

  /** Evidence of a round over every active bank. */
  async evidence(hostId: string, challenge: Challenge, logs: readonly Log[]): Promise<RoundEvidence> {
    const extraData = attestationBinding({
      nonce: challenge.nonce,
      hostId,
      tlsKeySha256: this.tls.sha256,
      facts: factsDigest(FACTS),
    });
    return {
      ...(await this.#quote(extraData)),
      facts: FACTS,
      logs: logs.map(announce),
      newTlsPublicKey: Buffer.alloc(0),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ak.flush();
    await this.#tpm.close();
  }

  async #quote(qualifyingData: Buffer) {
    const selection = await this.#tpm.activeBanks();
    const quote = await this.#ak.quote({ qualifyingData, selection });
    const banks = new Map<number, Map<number, Buffer>>();
    for (const { hash, index, value } of await this.#tpm.readPcrs(selection)) {
      const bank = banks.get(hash) ?? new Map<number, Buffer>();
      banks.set(hash, bank.set(index, value));
    }
    const pcrValues: PcrValues = banks;
    return { ...quote, pcrValues, bankProof: await this.#ak.proveBanks(bankProofBinding(qualifyingData)) };
  }
}
