import { AttestationResultService, TrustStatusSchema } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import type { ServiceClient } from '../../proto/client.ts';
import { fromProtoBootReport } from './boot-report.ts';
import type { BootReport } from './boot-report.ts';
import { fromProtoRuntimeReport } from './runtime-report.ts';
import type { RuntimeReport } from './runtime-report.ts';
import type { CallSettings, Connection } from './connection.ts';
import { enumNumber, fromProtoResult, fromProtoToken, fromProtoWatchEvent, required } from './convert.ts';
import { allPages, PAGE_SIZE, resourceName } from './page.ts';
import type { AttestationResult, Page, ResultFilter, Token, TokenRequest } from './resources.ts';
import { watch } from './watch.ts';
import type { WatchMessage, WatchNotice, WatchOptions } from './watch.ts';

/** Events of one page of a boot report. */
const BOOT_PAGE_SIZE = 1000;

/** What is known of hosts. */
export class Results {
  readonly #connection: Connection;
  readonly #client: ServiceClient<typeof AttestationResultService>;
  readonly #random: () => number;

  constructor(connection: Connection, random: () => number) {
    this.#connection = connection;
    this.#client = connection.channel.client(AttestationResultService);
    this.#random = random;
  }

  /** Of a host by its id or its resource name, or by the operator's name for it. */
  async get(host: string | { readonly nodeName: string }, settings?: CallSettings): Promise<AttestationResult> {
    const request = typeof host === 'string' ? { host: resourceName('hosts', host) } : { nodeName: host.nodeName };
    const answer = await this.#client.getAttestationResult(request, this.#connection.call(settings));
    return fromProtoResult(required(answer.result, 'result'));
  }

  /** The result of a host as a signed token; a verdict whose validity has ended has none. */
  async token(host: string, token: TokenRequest = {}, settings?: CallSettings): Promise<Token> {
    const request = { host: resourceName('hosts', host), token: { ...token } };
    const answer = await this.#client.getAttestationResult(request, this.#connection.call(settings));
    return fromProtoToken(required(answer.token, 'token'));
  }

  /** What the host booted, with every event of its log. */
  async boot(host: string, settings?: CallSettings): Promise<BootReport> {
    const name = resourceName('hosts', host);
    const first = await this.#bootPage(name, '', settings);
    const report = required(first.report, 'report');
    for (let token = first.nextPageToken; token !== '';) {
      // oxlint-disable-next-line no-await-in-loop -- a page says where the next one begins
      const page = await this.#bootPage(name, token, settings);
      report.events.push(...required(page.report, 'report').events);
      token = page.nextPageToken;
    }
    return fromProtoBootReport(report);
  }

  /** What ran on the host since its boot. */
  async runtime(host: string, settings?: CallSettings): Promise<RuntimeReport> {
    const request = { host: resourceName('hosts', host) };
    const answer = await this.#client.getRuntimeReport(request, this.#connection.call(settings));
    return fromProtoRuntimeReport(required(answer.report, 'report'));
  }

  #bootPage(host: string, pageToken: string, settings?: CallSettings) {
    return this.#client.getBootReport({ host, pageSize: BOOT_PAGE_SIZE, pageToken }, this.#connection.call(settings));
  }

  async page(
    filter: ResultFilter,
    options: { readonly history?: boolean; readonly pageToken?: string } = {},
    settings?: CallSettings,
  ): Promise<Page<AttestationResult>> {
    const request = {
      filter: toProtoFilter(filter),
      history: options.history ?? false,
      pageSize: PAGE_SIZE,
      pageToken: options.pageToken ?? '',
    };
    const answer = await this.#client.listAttestationResults(request, this.#connection.call(settings));
    return { items: answer.results.map(fromProtoResult), nextPageToken: answer.nextPageToken };
  }

  /** Present results, or the history of the one host that the filter names, newest first. */
  list(
    filter: ResultFilter = {},
    options: { readonly history?: boolean } = {},
    settings?: CallSettings,
  ): AsyncGenerator<AttestationResult> {
    return allPages((pageToken) => this.page(filter, { ...options, pageToken }, settings));
  }

  /** Present results, then every change, over reconnects: see {@link watch}. */
  watch(filter: ResultFilter, options: Omit<WatchOptions, 'random'>): AsyncGenerator<WatchNotice> {
    return watch((token, signal) => this.#open(filter, token, signal), { ...options, random: this.#random });
  }

  async *#open(filter: ResultFilter, resumeToken: string, signal: AbortSignal): AsyncGenerator<WatchMessage> {
    const request = { filter: toProtoFilter(filter), resumeToken };
    for await (const message of this.#client.watchAttestationResults(request, { signal })) {
      yield { event: fromProtoWatchEvent(message), resumeToken: message.resumeToken };
    }
  }
}

function toProtoFilter(filter: ResultFilter) {
  return {
    hosts: (filter.hosts ?? []).map((host) => resourceName('hosts', host)),
    statuses: (filter.statuses ?? []).map((status) => enumNumber(TrustStatusSchema, status)),
    matchLabels: { ...filter.matchLabels },
    trustPolicies: (filter.trustPolicies ?? []).map((policy) => resourceName('trustPolicies', policy)),
  };
}
