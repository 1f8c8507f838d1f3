import { TimestampSchema } from '@bufbuild/protobuf/wkt';

import { EncodedMessage } from '../../proto/encoded-message.ts';
import { AttestResponseSchema, VerdictConfirmationSchema } from '../../proto/gen/assay/v1/attestation_pb.ts';
import { ChallengeSchema, LogRequestSchema, PcrBankSelectionSchema } from '../../proto/gen/assay/v1/evidence_pb.ts';
import { CHALLENGE_LIFETIME } from '../attestation/challenge.ts';
import type { Challenge } from '../attestation/messages.ts';
import type { ResultRecord } from '../store/records.ts';
import { PROTO_LOG_KINDS } from './convert-evidence.ts';
import { MessageBytes } from './message-bytes.ts';

type Response = typeof AttestResponseSchema;

/** Of a challenge that names every PCR of 16 banks. */
const MAX_BYTES = 1024;

const RESPONSE = numbersOf(AttestResponseSchema);
const CHALLENGE = numbersOf(ChallengeSchema);
const SELECTION = numbersOf(PcrBankSelectionSchema);
const LOG = numbersOf(LogRequestSchema);
const CONFIRMATION = numbersOf(VerdictConfirmationSchema);
const TIMESTAMP = numbersOf(TimestampSchema);

const message = new MessageBytes(MAX_BYTES);

/** The two messages of each round that confirms, as bytes at once: the same that generated code makes of them. */
export function encodeChallenge({ nonce, selection, logs }: Challenge): EncodedMessage<Response> {
  const challenge = message.begin().open(RESPONSE.challenge);
  message.bytes(CHALLENGE.nonce, nonce);
  for (const { hash, pcrs } of selection === 'all' ? [] : selection) {
    const bank = message.open(CHALLENGE.selection);
    message.number(SELECTION.algorithm, hash).packed(SELECTION.pcrs, pcrs).close(bank);
  }
  message.flag(CHALLENGE.allBanks, selection === 'all');
  for (const { kind, offset } of logs) {
    const log = message.open(CHALLENGE.logs);
    message.number(LOG.kind, PROTO_LOG_KINDS[kind]).number(LOG.offset, offset).close(log);
  }
  message.number(CHALLENGE.deadlineSeconds, CHALLENGE_LIFETIME / 1000).close(challenge);
  return new EncodedMessage(AttestResponseSchema, message.take());
}

/** What a confirmation has moved of a result. */
export function encodeConfirmation(result: ResultRecord): EncodedMessage<Response> {
  const confirmation = message.begin().open(RESPONSE.confirmation);
  message.number(CONFIRMATION.revision, result.revision);
  message.ascii(CONFIRMATION.evidenceDigest, result.evidenceDigest);
  time(CONFIRMATION.challengeTime, result.challengeTime);
  if (result.validUntil !== null) time(CONFIRMATION.validUntil, result.validUntil);
  message.number(CONFIRMATION.confirmations, result.confirmations).close(confirmation);
  return new EncodedMessage(AttestResponseSchema, message.take());
}

/** @param millis since 1970-01-01T00:00:00Z */
function time(field: number, millis: number): void {
  const timestamp = message.open(field);
  message.number(TIMESTAMP.seconds, Math.floor(millis / 1000));
  message.number(TIMESTAMP.nanos, (millis % 1000) * 1_000_000).close(timestamp);
}

/** Numbers of fields by their names. */
function numbersOf<Name extends string>(schema: {
  readonly field: Readonly<Record<Name, { readonly number: number }>>;
}): Readonly<Record<Name, number>> {
  const entries = Object.entries<{ readonly number: number }>(schema.field).map(([name, { number }]) => [name, number]);
  return Object.fromEntries(entries) as Record<Name, number>;
}
