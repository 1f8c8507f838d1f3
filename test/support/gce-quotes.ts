import { readFileSync } from 'node:fs';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import type { PcrValues } from '../../tpm/crypto/pcr.ts';
import { algorithmName } from '../../tpm/structures/constants.ts';
import { decodePublicArea } from '../../tpm/structures/public-area.ts';
import type { PublicArea } from '../../tpm/structures/public-area.ts';
import { conformancePath } from './data.ts';

type Message = ReadonlyMap<number, readonly (Buffer | number)[]>;

export interface GceQuote {
  readonly akPublic: PublicArea;
  readonly attest: Buffer;
  readonly signature: Buffer;
  readonly pcrs: PcrValues;
}

/**
 * The quote over one bank of google/go-tpm-tools' (Apache-2.0) attestation: Attestation{ak_pub 1, quotes 2 {quote 1, raw_sig 2,
 * pcrs 3 {hash 1, pcrs 2}}}.
 */
export function gceQuotes(bank: string): GceQuote {
  const path = ['google+go-tpm-tools', 'internal', 'test', 'attestations', 'gce-cos-85-nonce9009.pb'];
  const attestation = messageOf(readFileSync(conformancePath(...path)));
  for (const quote of buffers(attestation, 2).map(messageOf)) {
    const pcrs = messageOf(buffer(quote, 3));
    const hash = number(pcrs, 1);
    if (algorithmName(hash) !== bank) continue;
    const values = buffers(pcrs, 2)
      .map(messageOf)
      .map((pcr) => [number(pcr, 1), buffer(pcr, 2)] as const);
    return {
      akPublic: decodePublicArea(buffer(attestation, 1)),
      attest: buffer(quote, 1),
      signature: buffer(quote, 2),
      pcrs: new Map([[hash, new Map(values)]]),
    };
  }
  throw new TypeError(`no quote over ${bank}`);
}

function messageOf(bytes: Buffer): Message {
  const reader = new BinaryReader(bytes);
  const fields = new Map<number, (Buffer | number)[]>();
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    const value = wireType === 0 ? reader.uint32() : Buffer.from(reader.bytes());
    fields.set(field, [...(fields.get(field) ?? []), value]);
  }
  return fields;
}

function buffers(message: Message, field: number): readonly Buffer[] {
  return (message.get(field) ?? []).filter((value): value is Buffer => Buffer.isBuffer(value));
}

function buffer(message: Message, field: number): Buffer {
  return buffers(message, field)[0] ?? Buffer.alloc(0);
}

function number(message: Message, field: number): number {
  return Number(message.get(field)?.[0] ?? 0);
}
