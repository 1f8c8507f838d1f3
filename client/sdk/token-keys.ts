import { TokenKeyService } from '../../proto/gen/assay/v1/token_pb.ts';
import type { ServiceClient } from '../../proto/client.ts';
import type { CallSettings, Connection } from './connection.ts';
import { fromProtoTokenKey, required } from './convert.ts';
import type { TokenKey } from './resources.ts';

export interface PublishedKeys {
  /** Newest first; the first one signs. */
  readonly keys: readonly TokenKey[];
  /** JSON Web Key Set (RFC 7517). */
  readonly jwks: string;
}

/** The keys that sign tokens. */
export class TokenKeys {
  readonly #connection: Connection;
  readonly #client: ServiceClient<typeof TokenKeyService>;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#client = connection.channel.client(TokenKeyService);
  }

  async list(settings?: CallSettings): Promise<PublishedKeys> {
    const { tokenKeys, jwks } = await this.#client.listTokenKeys({}, this.#connection.call(settings));
    return { keys: tokenKeys.map(fromProtoTokenKey), jwks };
  }

  /** Makes the next key in place of the one that signs now, whose id must be named; answers it. */
  async rotate(keyId: string, settings?: CallSettings): Promise<TokenKey> {
    const answer = await this.#client.rotateTokenKey({ keyId }, this.#connection.call(settings));
    return fromProtoTokenKey(required(answer.tokenKey, 'token key'));
  }

  /** A former key is published no more: its tokens are refused by whoever asks for the keys again. */
  async withdraw(keyId: string, settings?: CallSettings): Promise<void> {
    await this.#client.withdrawTokenKey({ keyId }, this.#connection.call(settings));
  }
}
