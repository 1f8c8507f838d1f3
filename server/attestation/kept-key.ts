import { signingKeyOf } from '../../tpm/crypto/verify-signature.ts';
import { decodePublicArea } from '../../tpm/structures/public-area.ts';
import type { AkRecord } from '../store/records.ts';
import type { AttestationKey } from '../verifier/verify-quote.ts';

/** Between two rounds, milliseconds: who waits as long makes his key anew. */
const REST = 30_000;

/**
 * The AK of an enrolled host, ready to verify with. To import it costs half as much as a signature and takes 5 kB for as long as it is
 * kept: rounds that follow soon share one, and a stream that rests lets it go.
 */
export class KeptKey {
  readonly #publicArea: string;
  readonly #qualifiedName: string;
  #key: AttestationKey | null = null;

  constructor({ publicArea, qualifiedName }: Pick<AkRecord, 'publicArea' | 'qualifiedName'>) {
    this.#publicArea = publicArea;
    this.#qualifiedName = qualifiedName;
  }

  get key(): AttestationKey {
    this.#key ??= {
      signingKey: signingKeyOf(decodePublicArea(Buffer.from(this.#publicArea, 'hex'))),
      qualifiedName: ownBytes(this.#qualifiedName),
    };
    return this.#key;
  }

  /** The next round is so many milliseconds away. */
  rest(millis: number): void {
    if (millis >= REST) this.#key = null;
  }
}

/** In a buffer of their own: a slice of the pool would hold all of it for as long as the key is kept. */
function ownBytes(hex: string): Buffer {
  const bytes = Buffer.alloc(hex.length / 2);
  bytes.write(hex, 'hex');
  return bytes;
}
