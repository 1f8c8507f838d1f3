import { createHmac, hash, hkdfSync } from 'node:crypto';

const LENGTH_BYTES = 4;
const NUMBER_BYTES = 8;

/**
 * The digests that agent and service both compute. Each is SHA-256 over length-prefixed fields: the length of a field in four
 * bytes, big-endian, then its bytes. The first field is an ASCII label that no other digest has. Numbers are fields of eight
 * bytes, big-endian; a list is preceded by its count. docs/protocol.md defines them byte for byte, test/vectors/transcripts.json
 * holds vectors.
 */
class Fields {
  /** Bytes, texts and numbers until the size of all is known: one buffer is made, not one for each length. */
  readonly #parts: (Uint8Array | string | bigint)[] = [];
  #size = 0;

  constructor(label: string) {
    this.text(label);
  }

  bytes(value: Uint8Array): this {
    return this.#field(value, value.length);
  }

  text(value: string): this {
    return this.#field(value, Buffer.byteLength(value, 'utf8'));
  }

  number(value: number | bigint): this {
    return this.#field(BigInt(value), NUMBER_BYTES);
  }

  encode(): Buffer {
    const encoded = Buffer.allocUnsafe(this.#size);
    let at = 0;
    for (const part of this.#parts) {
      const from = at + LENGTH_BYTES;
      at = from + write(encoded, part, from);
      encoded.writeUInt32BE(at - from, from - LENGTH_BYTES);
    }
    return encoded;
  }

  #field(part: Uint8Array | string | bigint, length: number): this {
    this.#parts.push(part);
    this.#size += LENGTH_BYTES + length;
    return this;
  }

  digest(): Buffer {
    return sha256(this.encode());
  }
}

/** Bytes written. */
function write(target: Buffer, part: Uint8Array | string | bigint, at: number): number {
  if (typeof part === 'string') return target.write(part, at, 'utf8');
  if (typeof part === 'bigint') return target.writeBigUInt64BE(part, at) - at;
  target.set(part, at);
  return part.length;
}

/** What the service signs at the start of an enrolment and the agent checks value by value. */
export interface EnrollmentTranscript {
  /** 16 bytes. */
  readonly enrollmentId: Uint8Array;
  /** Names (nameAlg and digest) of every EK, in the order of the request. */
  readonly ekNames: readonly Uint8Array[];
  readonly parentIndex: number;
  readonly akName: Uint8Array;
  /** SHA-256 of the SubjectPublicKeyInfo of the agent's TLS key, as the service saw it. */
  readonly tlsKeySha256: Uint8Array;
  readonly credentials: readonly { readonly credentialBlob: Uint8Array; readonly encryptedSecret: Uint8Array }[];
  /** 32 bytes. */
  readonly nonce: Uint8Array;
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  readonly expireMillis: number;
}

/** What a host says of itself: bound, not proven. */
export interface ClaimedFacts {
  readonly hostname: string;
  readonly os: string;
  readonly kernel: string;
  readonly agentVersion: string;
  readonly bootId: string;
}

/** A log, or the part of it, that follows its announcement. */
export interface LogAnnouncement {
  /** Number of the LogKind: 1 boot, 2 userspace, 3 IMA. */
  readonly kind: number;
  readonly offset: number | bigint;
  readonly size: number | bigint;
  readonly sha256: Uint8Array;
  readonly unreadable: string;
}

/** A PCR value as it travels. */
export interface PcrReading {
  /** TPM_ALG_ID of the bank. */
  readonly algorithm: number;
  readonly index: number;
  readonly digest: Uint8Array;
}

/** Digest that the service identity key signs at BeginEnrollment. */
export function enrollmentTranscript(transcript: EnrollmentTranscript): Buffer {
  const fields = new Fields('assay.v1 enroll begin').bytes(transcript.enrollmentId).number(transcript.ekNames.length);
  for (const name of transcript.ekNames) fields.bytes(name);
  fields.number(transcript.parentIndex).bytes(transcript.akName).bytes(transcript.tlsKeySha256);
  fields.number(transcript.credentials.length);
  for (const { credentialBlob, encryptedSecret } of transcript.credentials)
    fields.bytes(credentialBlob).bytes(encryptedSecret);
  return fields.bytes(transcript.nonce).number(transcript.expireMillis).digest();
}

/**
 * Digest of the claimed facts and, where the client certificate is to be renewed, of the new TLS key.
 * @param newTlsPublicKey SubjectPublicKeyInfo (DER), empty when none.
 */
export function factsDigest(facts: ClaimedFacts, newTlsPublicKey: Uint8Array = new Uint8Array()): Buffer {
  return new Fields('assay.v1 facts')
    .text(facts.hostname)
    .text(facts.os)
    .text(facts.kernel)
    .text(facts.agentVersion)
    .text(facts.bootId)
    .bytes(newTlsPublicKey)
    .digest();
}

/** extraData of the quote at enrolment. */
export function enrollmentQuoteBinding(input: {
  readonly nonce: Uint8Array;
  readonly transcript: Uint8Array;
  readonly facts: Uint8Array;
}): Buffer {
  return new Fields('assay.v1 enroll quote').bytes(input.nonce).bytes(input.transcript).bytes(input.facts).digest();
}

/** extraData of the quote of an attestation round. */
export function attestationBinding(input: {
  readonly nonce: Uint8Array;
  readonly hostId: string;
  readonly tlsKeySha256: Uint8Array;
  readonly facts: Uint8Array;
}): Buffer {
  return new Fields('assay.v1 attest')
    .bytes(input.nonce)
    .text(input.hostId)
    .bytes(input.tlsKeySha256)
    .bytes(input.facts)
    .digest();
}

/** extraData of the signed audit session that proves the PCR banks; `quoteBinding` is the extraData of the quote beside it. */
export function bankProofBinding(quoteBinding: Uint8Array): Buffer {
  return new Fields('assay.v1 banks').bytes(quoteBinding).digest();
}

/** Digest of PCR values in the order in which they travel. */
export function pcrValuesDigest(values: readonly PcrReading[]): Buffer {
  const fields = new Fields('assay.v1 pcr values').number(values.length);
  for (const { algorithm, index, digest } of values) fields.number(algorithm).number(index).bytes(digest);
  return fields.digest();
}

/** Digest of the announced logs. */
export function logsDigest(logs: readonly LogAnnouncement[]): Buffer {
  const fields = new Fields('assay.v1 logs').number(logs.length);
  for (const log of logs) {
    fields.number(log.kind).number(log.offset).number(log.size).bytes(log.sha256).text(log.unreadable);
  }
  return fields.digest();
}

/** What the agent's HMAC at CompleteEnrollment covers. */
export interface EnrollmentProofFields {
  readonly transcript: Uint8Array;
  readonly attest: Uint8Array;
  readonly signature: Uint8Array;
  readonly pcrValues: readonly PcrReading[];
  /** The bank proof's parts; all empty where there is none. */
  readonly bankProof: {
    readonly capabilityData: Uint8Array;
    readonly attest: Uint8Array;
    readonly signature: Uint8Array;
  };
  readonly facts: Uint8Array;
  readonly logs: readonly LogAnnouncement[];
}

/**
 * Key of both HMACs of an enrolment: HKDF-SHA-256 with all secrets, length-prefixed and in the order of the EKs, as input key
 * material and the transcript as salt. 32 bytes.
 */
export function enrollmentKey(secrets: readonly Uint8Array[], transcript: Uint8Array): Buffer {
  const material = new Fields('assay.v1 enroll secrets').number(secrets.length);
  for (const secret of secrets) material.bytes(secret);
  return Buffer.from(hkdfSync('sha256', material.encode(), transcript, 'assay.v1 enroll key', 32));
}

/** The agent's HMAC: whoever made it opened every credential, and this evidence is what it sent. */
export function enrollmentProofMac(key: Uint8Array, proof: EnrollmentProofFields): Buffer {
  const message = new Fields('assay.v1 enroll proof')
    .bytes(proof.transcript)
    .bytes(sha256(proof.attest))
    .bytes(sha256(proof.signature))
    .bytes(pcrValuesDigest(proof.pcrValues))
    .bytes(sha256(proof.bankProof.capabilityData))
    .bytes(sha256(proof.bankProof.attest))
    .bytes(sha256(proof.bankProof.signature))
    .bytes(proof.facts)
    .bytes(logsDigest(proof.logs))
    .encode();
  return createHmac('sha256', key).update(message).digest();
}

/** What the service states when it has enrolled a host. */
export interface EnrollmentOutcome {
  readonly transcript: Uint8Array;
  /** The agent's HMAC that was accepted. */
  readonly proofMac: Uint8Array;
  readonly hostId: string;
  /** Host state as its number in HostState. */
  readonly state: number;
  readonly replacementPending: boolean;
  /** X.509 DER, empty where none was issued. */
  readonly akCertificate: Uint8Array;
  readonly clientCertificate: Uint8Array;
}

/** Final transcript: the service identity key signs it, and the service's HMAC covers it. */
export function enrollmentOutcomeDigest(outcome: EnrollmentOutcome): Buffer {
  return new Fields('assay.v1 enroll outcome')
    .bytes(outcome.transcript)
    .bytes(outcome.proofMac)
    .text(outcome.hostId)
    .number(outcome.state)
    .number(outcome.replacementPending ? 1 : 0)
    .bytes(sha256(outcome.akCertificate))
    .bytes(sha256(outcome.clientCertificate))
    .digest();
}

/** The service's HMAC: it holds the secrets that only the host's TPM could open. */
export function enrollmentOutcomeMac(key: Uint8Array, outcomeDigest: Uint8Array): Buffer {
  return createHmac('sha256', key).update(new Fields('assay.v1 enroll accept').bytes(outcomeDigest).encode()).digest();
}

function sha256(bytes: Uint8Array): Buffer {
  // One call into the native hash: for short inputs the call costs more than the hashing.
  return hash('sha256', bytes, 'buffer');
}
