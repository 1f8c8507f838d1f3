/**
 * Evidence as bytes that are made once for each host: in a round only what the TPM signs anew is written into them. Nothing is left
 * out of what the service verifies.
 */
import { createHash, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { create, toBinary } from '@bufbuild/protobuf';

import { AttestRequestSchema } from '../../proto/gen/assay/v1/attestation_pb.ts';
import type { Challenge } from '../../proto/gen/assay/v1/evidence_pb.ts';
import { attestationBinding, factsDigest } from '../../proto/transcript.ts';
import { encode } from '../../tpm/codec/structure.ts';
import { TPMS_ATTEST } from '../../tpm/structures/attest.ts';
import {
  TPM_ALG_ECDSA,
  TPM_ALG_SHA256,
  TPM_GENERATED_VALUE,
  TPM_ST_ATTEST_QUOTE,
} from '../../tpm/structures/constants.ts';
import { makePcrSelection } from '../../tpm/structures/pcr-selection.ts';
import { TPMT_SIGNATURE } from '../../tpm/structures/signature.ts';
import { FACTS } from '../../test/support/evidence-builder.ts';
import { frame, PREFIX_BYTES } from './grpc-stream.ts';

export interface Signer {
  readonly hostId: string;
  readonly tlsKeySha256: Buffer;
  readonly qualifiedName: Buffer;
  readonly akKey: KeyObject;
}

const DIGEST_BYTES = 32;
const FACTS_DIGEST = factsDigest(FACTS);

export class EvidenceTemplate {
  readonly #signer: Signer;
  readonly #message: Buffer;
  readonly #attestAt: number;
  readonly #attestLength: number;
  readonly #extraDataAt: number;
  readonly #clockAt: number;
  readonly #signatureR: number;
  readonly #signatureS: number;
  #clock = BigInt(Date.now());

  /** For challenges that select what this one does; every PCR holds `value` in each of its bytes. */
  constructor(signer: Signer, challenge: Challenge, value: number) {
    if (challenge.allBanks) throw new Error('the banks of the fleet are proven: all of them should not be asked for');
    this.#signer = signer;
    const marks = [0x11, 0x22, 0x33].map((mark) => Buffer.alloc(DIGEST_BYTES, mark));
    const [extraData = Buffer.alloc(0), signatureR = Buffer.alloc(0), signatureS = Buffer.alloc(0)] = marks;
    const digests = challenge.selection.flatMap(({ pcrs }) => pcrs.map(() => Buffer.alloc(DIGEST_BYTES, value)));
    const attest = encode(TPMS_ATTEST, {
      magic: TPM_GENERATED_VALUE,
      type: TPM_ST_ATTEST_QUOTE,
      qualifiedSigner: signer.qualifiedName,
      extraData,
      clockInfo: { clock: 0n, resetCount: 1, restartCount: 0, safe: true },
      firmwareVersion: 0x2020_0101_0000_0000n,
      attested: {
        pcrSelect: challenge.selection.map(({ algorithm, pcrs }) => makePcrSelection(algorithm, pcrs)),
        pcrDigest: createHash('sha256').update(Buffer.concat(digests)).digest(),
      },
    });
    const signature = encode(TPMT_SIGNATURE, { sigAlg: TPM_ALG_ECDSA, hash: TPM_ALG_SHA256, signatureR, signatureS });
    const evidence = {
      quote: { attest, signature },
      pcrValues: challenge.selection.map(({ algorithm, pcrs }) => ({
        algorithm,
        values: pcrs.map((index) => ({ index, digest: Buffer.alloc(DIGEST_BYTES, value) })),
      })),
      facts: { ...FACTS },
      // Nothing was measured since the last round.
      logs: challenge.logs.map(({ kind, offset }) => ({ kind, offset, size: 0n })),
    };
    const request = create(AttestRequestSchema, { part: { case: 'evidence', value: evidence } });
    this.#message = frame(toBinary(AttestRequestSchema, request));
    this.#attestAt = this.#message.indexOf(attest);
    this.#attestLength = attest.length;
    this.#extraDataAt = this.#message.indexOf(extraData);
    this.#clockAt = this.#extraDataAt + DIGEST_BYTES;
    this.#signatureR = this.#message.indexOf(signatureR);
    this.#signatureS = this.#message.indexOf(signatureS);
  }

  /** The evidence for a nonce, framed: valid until the next call. */
  answer(nonce: Uint8Array): Buffer {
    const { hostId, tlsKeySha256, akKey } = this.#signer;
    const message = this.#message;
    attestationBinding({ nonce, hostId, tlsKeySha256, facts: FACTS_DIGEST }).copy(message, this.#extraDataAt);
    const now = BigInt(Date.now());
    this.#clock = now > this.#clock ? now : this.#clock + 1n;
    message.writeBigUInt64BE(this.#clock, this.#clockAt);
    const attest = message.subarray(this.#attestAt, this.#attestAt + this.#attestLength);
    const signature = sign('sha256', attest, { key: akKey, dsaEncoding: 'ieee-p1363' });
    signature.copy(message, this.#signatureR, 0, DIGEST_BYTES);
    signature.copy(message, this.#signatureS, DIGEST_BYTES);
    return message;
  }

  /** Bytes of the message without its prefix. */
  get size(): number {
    return this.#message.length - PREFIX_BYTES;
  }
}
