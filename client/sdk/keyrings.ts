import { ReferenceValueService } from '../../proto/gen/assay/v1/reference_value_pb.ts';
import type { ServiceClient } from '../../proto/client.ts';
import type { CallSettings, Connection } from './connection.ts';
import { fromProtoKeyring } from './convert-references.ts';
import type { Keyring } from './convert-references.ts';
import { required } from './convert.ts';
import { allPages, PAGE_SIZE, resourceName } from './page.ts';
import type { Page } from './resources.ts';

/** Keyrings: the keys whose signatures on files count. */
export class Keyrings {
  readonly #connection: Connection;
  readonly #client: ServiceClient<typeof ReferenceValueService>;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#client = connection.channel.client(ReferenceValueService);
  }

  /**
   * Makes a keyring, or a new version of it. All keys are taken or none.
   * @param keys certificates and public keys, PEM (one or many) or DER
   */
  async import(
    keyring: string,
    keys: Buffer,
    { add = false, etag = '', ...settings }: CallSettings & { readonly add?: boolean; readonly etag?: string } = {},
  ): Promise<{ readonly keyring: Keyring; readonly changed: boolean }> {
    const request = { name: keyringName(keyring), keys, add, etag };
    const answer = await this.#client.importKeyring(request, this.#connection.call(settings));
    return { keyring: fromProtoKeyring(required(answer.keyring, 'keyring')), changed: answer.changed };
  }

  /** @param options version 0 means the newest */
  async get(keyring: string, options: { readonly version?: bigint } = {}, settings?: CallSettings): Promise<Keyring> {
    const request = { name: keyringName(keyring), version: options.version ?? 0n };
    const answer = await this.#client.getKeyring(request, this.#connection.call(settings));
    return fromProtoKeyring(required(answer.keyring, 'keyring'));
  }

  async page(pageToken: string, settings?: CallSettings): Promise<Page<Keyring>> {
    const request = { pageSize: PAGE_SIZE, pageToken };
    const answer = await this.#client.listKeyrings(request, this.#connection.call(settings));
    return { items: answer.keyrings.map(fromProtoKeyring), nextPageToken: answer.nextPageToken };
  }

  /** The newest version of every keyring, without keys. */
  list(settings?: CallSettings): AsyncGenerator<Keyring> {
    return allPages((token) => this.page(token, settings));
  }

  /** @param fingerprint SHA-256 of the SubjectPublicKeyInfo, hexadecimal */
  async removeKey(
    keyring: string,
    fingerprint: string,
    { etag = '', ...settings }: CallSettings & { readonly etag?: string } = {},
  ): Promise<Keyring> {
    const request = { name: keyringName(keyring), fingerprint, etag };
    const answer = await this.#client.removeKeyringKey(request, this.#connection.call(settings));
    return fromProtoKeyring(required(answer.keyring, 'keyring'));
  }

  async delete(keyring: string, options: { readonly etag?: string } = {}, settings?: CallSettings): Promise<void> {
    const request = { name: keyringName(keyring), etag: options.etag ?? '' };
    await this.#client.deleteKeyring(request, this.#connection.call(settings));
  }
}

function keyringName(keyring: string): string {
  return resourceName('keyrings', keyring);
}
