import { HostService, HostStateSchema } from '../../proto/gen/assay/v1/host_pb.ts';
import type { ServiceClient } from '../../proto/client.ts';
import type { CallSettings, Connection } from './connection.ts';
import { enumNumber, fromProtoHost, required } from './convert.ts';
import { allPages, PAGE_SIZE, resourceName } from './page.ts';
import type { Host, HostState, Page } from './resources.ts';

export interface HostFilter {
  readonly states?: readonly HostState[];
  readonly matchLabels?: Readonly<Record<string, string>>;
}

/** What an operator sets of a host; what is left out stays as it is. An empty text removes. */
export interface HostUpdate {
  readonly labels?: Readonly<Record<string, string>>;
  readonly nodeName?: string;
  readonly trustPolicy?: string;
  /** The etag of the host as it was read: the update then holds only if nothing changed since. */
  readonly etag?: string;
}

/** Enrolled hosts. A host is given by its id or by its resource name. */
export class Hosts {
  readonly #connection: Connection;
  readonly #client: ServiceClient<typeof HostService>;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#client = connection.channel.client(HostService);
  }

  async get(host: string, settings?: CallSettings): Promise<Host> {
    const answer = await this.#client.getHost({ name: hostName(host) }, this.#connection.call(settings));
    return fromProtoHost(required(answer.host, 'host'));
  }

  async page(filter: HostFilter, pageToken: string, settings?: CallSettings): Promise<Page<Host>> {
    const request = {
      pageSize: PAGE_SIZE,
      pageToken,
      states: (filter.states ?? []).map((state) => enumNumber(HostStateSchema, state)),
      matchLabels: { ...filter.matchLabels },
    };
    const { hosts, nextPageToken } = await this.#client.listHosts(request, this.#connection.call(settings));
    return { items: hosts.map(fromProtoHost), nextPageToken };
  }

  /** Every host that the filter lets through, in the order of their names. */
  list(filter: HostFilter = {}, settings?: CallSettings): AsyncGenerator<Host> {
    return allPages((token) => this.page(filter, token, settings));
  }

  async update(host: string, update: HostUpdate, settings?: CallSettings): Promise<Host> {
    const { labels, nodeName, trustPolicy, etag } = update;
    const paths = [
      ...(labels === undefined ? [] : ['labels']),
      ...(nodeName === undefined ? [] : ['node_name']),
      ...(trustPolicy === undefined ? [] : ['trust_policy']),
    ];
    const message = {
      name: hostName(host),
      labels: { ...labels },
      nodeName: nodeName ?? '',
      trustPolicy: trustPolicy ?? '',
      etag: etag ?? '',
    };
    const answer = await this.#client.updateHost(
      { host: message, updateMask: { paths } },
      this.#connection.call(settings),
    );
    return fromProtoHost(required(answer.host, 'host'));
  }

  /** @param options.etag of the host that was looked at: what waits may have become another key since */
  async approve(
    host: string,
    options: { readonly etag: string; readonly acknowledgeFindings?: boolean },
    settings?: CallSettings,
  ): Promise<Host> {
    const { etag, acknowledgeFindings = false } = options;
    const request = { name: hostName(host), acknowledgeFindings, etag };
    const answer = await this.#client.approveHost(request, this.#connection.call(settings));
    return fromProtoHost(required(answer.host, 'host'));
  }

  /** @param reason why, for the audit log */
  async revoke(host: string, reason: string, settings?: CallSettings): Promise<Host> {
    const answer = await this.#client.revokeHost({ name: hostName(host), reason }, this.#connection.call(settings));
    return fromProtoHost(required(answer.host, 'host'));
  }

  /** Labels, node name and trust policy move to `replacement`, and `host` is banned. @param options.reason for the audit log */
  async replace(
    host: string,
    options: { readonly replacement: string; readonly reason: string },
    settings?: CallSettings,
  ): Promise<Host> {
    const request = { name: hostName(host), replacement: hostName(options.replacement), reason: options.reason };
    const answer = await this.#client.replaceHost(request, this.#connection.call(settings));
    return fromProtoHost(required(answer.host, 'host'));
  }

  async delete(host: string, settings?: CallSettings): Promise<void> {
    await this.#client.deleteHost({ name: hostName(host) }, this.#connection.call(settings));
  }
}

function hostName(host: string): string {
  return resourceName('hosts', host);
}
