import { EndorsementService } from '../../proto/gen/assay/v1/endorsement_pb.ts';
import type { ServiceClient } from '../../proto/client.ts';
import type { CallSettings, Connection } from './connection.ts';
import {
  fromProtoAnchor,
  fromProtoEndorsementChange,
  fromProtoInventoryEntry,
  fromProtoRevocationList,
  required,
} from './convert.ts';
import { allPages, PAGE_SIZE, resourceName } from './page.ts';
import type { EndorsementChange, InventoryEntry, Page, RevocationList, TrustAnchor } from './resources.ts';

/** One EK to register. */
export interface InventoryItem {
  /** SHA-256 of the EK's SubjectPublicKeyInfo, hexadecimal. */
  readonly fingerprint: string;
  readonly group?: string;
  readonly comment?: string;
}

interface VersionOption {
  readonly version?: bigint;
}

/** With an etag only what was read is removed. */
type RemoveSettings = CallSettings & { readonly etag?: string };

/** CA certificates of TPM manufacturers, their revocation lists, and the inventory of known EKs. */
export class Endorsements {
  readonly #connection: Connection;
  readonly #client: ServiceClient<typeof EndorsementService>;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#client = connection.channel.client(EndorsementService);
  }

  /**
   * @param certificates PEM (one or many) or DER
   * `asAnchors` makes anchors also of those that another CA issued.
   */
  async importAnchors(
    certificates: Buffer,
    { asAnchors = false, ...settings }: CallSettings & { readonly asAnchors?: boolean } = {},
  ): Promise<{ readonly added: readonly TrustAnchor[]; readonly known: number }> {
    const request = { certificates, asAnchors };
    const { added, known } = await this.#client.importTrustAnchors(request, this.#connection.call(settings));
    return { added: added.map(fromProtoAnchor), known };
  }

  async anchorPage(pageToken: string, settings?: CallSettings): Promise<Page<TrustAnchor>> {
    const request = { pageSize: PAGE_SIZE, pageToken };
    const answer = await this.#client.listTrustAnchors(request, this.#connection.call(settings));
    return { items: answer.trustAnchors.map(fromProtoAnchor), nextPageToken: answer.nextPageToken };
  }

  anchors(settings?: CallSettings): AsyncGenerator<TrustAnchor> {
    return allPages((token) => this.anchorPage(token, settings));
  }

  /** @param anchor SHA-256 of the certificate (hexadecimal) or resource name; version 0 means the newest */
  async anchor(anchor: string, options: VersionOption = {}, settings?: CallSettings): Promise<TrustAnchor> {
    const request = { name: resourceName('trustAnchors', anchor), version: options.version ?? 0n };
    const answer = await this.#client.getTrustAnchor(request, this.#connection.call(settings));
    return fromProtoAnchor(required(answer.trustAnchor, 'trust_anchor'));
  }

  /** @param anchor SHA-256 of the certificate (hexadecimal) or resource name */
  async removeAnchor(anchor: string, { etag = '', ...settings }: RemoveSettings = {}): Promise<void> {
    const name = resourceName('trustAnchors', anchor);
    await this.#client.removeTrustAnchor({ name, etag }, this.#connection.call(settings));
  }

  /** @param revocationLists PEM (one or many) or DER; all are taken or none */
  async importRevocationLists(
    revocationLists: Buffer,
    settings?: CallSettings,
  ): Promise<{ readonly added: readonly RevocationList[]; readonly known: number }> {
    const request = { revocationLists };
    const { added, known } = await this.#client.importRevocationLists(request, this.#connection.call(settings));
    return { added: added.map(fromProtoRevocationList), known };
  }

  async revocationListPage(pageToken: string, settings?: CallSettings): Promise<Page<RevocationList>> {
    const request = { pageSize: PAGE_SIZE, pageToken };
    const answer = await this.#client.listRevocationLists(request, this.#connection.call(settings));
    return { items: answer.revocationLists.map(fromProtoRevocationList), nextPageToken: answer.nextPageToken };
  }

  revocationLists(settings?: CallSettings): AsyncGenerator<RevocationList> {
    return allPages((token) => this.revocationListPage(token, settings));
  }

  /**
   * A list with its bytes (DER).
   * @param list id or resource name; version 0 means the newest
   */
  async revocationList(
    list: string,
    options: VersionOption = {},
    settings?: CallSettings,
  ): Promise<{ readonly revocationList: RevocationList; readonly der: Buffer }> {
    const name = resourceName('revocationLists', list);
    const parts: Buffer[] = [];
    let version = options.version ?? 0n;
    for (let offset = 0; ;) {
      const answer = await this.#client.getRevocationList({ name, version, offset }, this.#connection.call(settings));
      const revocationList = fromProtoRevocationList(required(answer.revocationList, 'revocation_list'));
      // The other parts are to be of the same list, whatever is imported meanwhile.
      version = revocationList.version;
      parts.push(Buffer.from(answer.data));
      offset += answer.data.length;
      if (offset >= answer.size) return { revocationList, der: Buffer.concat(parts) };
      if (answer.data.length === 0) throw new TypeError('a part of a list is empty');
    }
  }

  /** @param list id or resource name */
  async removeRevocationList(list: string, { etag = '', ...settings }: RemoveSettings = {}): Promise<void> {
    const name = resourceName('revocationLists', list);
    await this.#client.removeRevocationList({ name, etag }, this.#connection.call(settings));
  }

  async changePage(resource: string, pageToken: string, settings?: CallSettings): Promise<Page<EndorsementChange>> {
    const request = { resource, pageSize: PAGE_SIZE, pageToken };
    const answer = await this.#client.listEndorsementChanges(request, this.#connection.call(settings));
    return { items: answer.changes.map(fromProtoEndorsementChange), nextPageToken: answer.nextPageToken };
  }

  /** Newest first. @param resource name of what changed, such as `trustAnchors/{sha256}`; '' for all */
  changes(resource = '', settings?: CallSettings): AsyncGenerator<EndorsementChange> {
    return allPages((token) => this.changePage(resource, token, settings));
  }

  /** At most 1000 at once. */
  async importInventory(
    items: readonly InventoryItem[],
    settings?: CallSettings,
  ): Promise<{ readonly added: number; readonly updated: number }> {
    const entries = items.map(({ fingerprint, group, comment }) => ({
      name: resourceName('inventory', fingerprint),
      group: group ?? '',
      comment: comment ?? '',
    }));
    const { added, updated } = await this.#client.importInventory({ entries }, this.#connection.call(settings));
    return { added, updated };
  }

  async inventoryPage(pageToken: string, settings?: CallSettings): Promise<Page<InventoryEntry>> {
    const request = { pageSize: PAGE_SIZE, pageToken };
    const answer = await this.#client.listInventory(request, this.#connection.call(settings));
    return { items: answer.entries.map(fromProtoInventoryEntry), nextPageToken: answer.nextPageToken };
  }

  inventory(settings?: CallSettings): AsyncGenerator<InventoryEntry> {
    return allPages((token) => this.inventoryPage(token, settings));
  }

  async removeInventoryEntry(fingerprint: string, settings?: CallSettings): Promise<void> {
    const name = resourceName('inventory', fingerprint);
    await this.#client.removeInventoryEntry({ name }, this.#connection.call(settings));
  }
}
