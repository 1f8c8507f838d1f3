import type { MessageInitShape } from '@bufbuild/protobuf';
import type {
  ImportReferenceSetRequestSchema,
  ImportReferenceSetResponse,
  LearnReferenceSetResponse,
} from '../../proto/gen/assay/v1/reference_value_pb.ts';
import { ImportMode, ReferenceFormat, ReferenceValueService } from '../../proto/gen/assay/v1/reference_value_pb.ts';
import type { ServiceClient } from '../../proto/client.ts';
import type { CallSettings, Connection } from './connection.ts';
import { fromProtoReferenceEntry, fromProtoReferenceSet } from './convert-references.ts';
import type { ReferenceEntry, ReferenceSet } from './convert-references.ts';
import { required } from './convert.ts';
import { allPages, PAGE_SIZE, resourceName } from './page.ts';
import type { Page } from './resources.ts';

/** How an imported file is written: `digest_list` as `sha256sum` and its kin do. */
export type ReferenceFileFormat = 'digest_list' | 'rpm_dump' | 'keylime_policy';

const FORMATS: Readonly<Record<ReferenceFileFormat, ReferenceFormat>> = {
  digest_list: ReferenceFormat.DIGEST_LIST,
  rpm_dump: ReferenceFormat.RPM_DUMP,
  keylime_policy: ReferenceFormat.KEYLIME_POLICY,
};

export interface ImportOptions {
  readonly format: ReferenceFileFormat;
  /** The new version holds also what the former one held. */
  readonly add?: boolean;
  /** Holds only where nothing changed since. */
  readonly etag?: string;
}

export interface LearnOptions extends Omit<ImportOptions, 'format'> {
  /** `*` stands for any characters. */
  readonly excludes?: readonly string[];
  /** What was found on the host was looked at; otherwise a host that has findings is refused (HOST_HAS_FINDINGS). */
  readonly despiteFindings?: boolean;
}

export interface ImportedSet {
  readonly set: ReferenceSet;
  /** False where the set held exactly this already. */
  readonly changed: boolean;
  /** Entries of the file or list, those that it repeats included. */
  readonly readCount: bigint;
  /** Parts of it that have no effect. */
  readonly notImported: readonly string[];
}

/** The service takes chunks up to so large. */
const CHUNK_BYTES = 256 * 1024;
const IMPORT_TIMEOUT_MS = 600_000;

/** Reference sets: the digests of files that may run. */
export class ReferenceSets {
  readonly #connection: Connection;
  readonly #client: ServiceClient<typeof ReferenceValueService>;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#client = connection.channel.client(ReferenceValueService);
  }

  /**
   * Makes a set, or a new version of it, of a file that may come in parts of any size. All of it is taken or nothing.
   * @param set id or resource name
   */
  async import(
    set: string,
    file: Iterable<Buffer> | AsyncIterable<Buffer>,
    { format, add = false, etag = '', ...settings }: ImportOptions & CallSettings,
  ): Promise<ImportedSet> {
    const header = {
      name: setName(set),
      format: FORMATS[format],
      mode: add ? ImportMode.ADD : ImportMode.REPLACE,
      etag,
    };
    const call = this.#connection.call({ timeoutMillis: IMPORT_TIMEOUT_MS, ...settings });
    return importedSet(await this.#client.importReferenceSet(importParts(header, file), call));
  }

  /**
   * Makes a set, or a new version of it, of the files that ran on a host since its boot, by its proven list.
   * @param options `excludes`: patterns of paths that are left out; `despiteFindings`: also from a host that has findings
   */
  async learn(
    set: string,
    host: string,
    { add = false, excludes = [], etag = '', despiteFindings = false, ...settings }: LearnOptions & CallSettings = {},
  ): Promise<ImportedSet> {
    const request = {
      name: setName(set),
      host: resourceName('hosts', host),
      mode: add ? ImportMode.ADD : ImportMode.REPLACE,
      excludes: [...excludes],
      etag,
      despiteFindings,
    };
    const call = this.#connection.call({ timeoutMillis: IMPORT_TIMEOUT_MS, ...settings });
    return importedSet(await this.#client.learnReferenceSet(request, call));
  }

  /** @param options version 0 means the newest */
  async get(set: string, options: { readonly version?: bigint } = {}, settings?: CallSettings): Promise<ReferenceSet> {
    const request = { name: setName(set), version: options.version ?? 0n };
    const answer = await this.#client.getReferenceSet(request, this.#connection.call(settings));
    return fromProtoReferenceSet(required(answer.referenceSet, 'reference set'));
  }

  async page(pageToken: string, settings?: CallSettings): Promise<Page<ReferenceSet>> {
    const request = { pageSize: PAGE_SIZE, pageToken };
    const answer = await this.#client.listReferenceSets(request, this.#connection.call(settings));
    return { items: answer.referenceSets.map(fromProtoReferenceSet), nextPageToken: answer.nextPageToken };
  }

  /** The newest version of every set. */
  list(settings?: CallSettings): AsyncGenerator<ReferenceSet> {
    return allPages((token) => this.page(token, settings));
  }

  async entryPage(
    set: string,
    filter: {
      readonly version?: bigint;
      /** Hexadecimal; excludes `pathPrefix`. */
      readonly digest?: string;
      readonly pathPrefix?: string;
    },
    pageToken: string,
    settings?: CallSettings,
  ): Promise<Page<ReferenceEntry>> {
    const { version = 0n, digest = '', pathPrefix = '' } = filter;
    const request = { name: setName(set), version, digest, pathPrefix, pageSize: PAGE_SIZE, pageToken };
    const answer = await this.#client.listReferenceEntries(request, this.#connection.call(settings));
    return { items: answer.entries.map(fromProtoReferenceEntry), nextPageToken: answer.nextPageToken };
  }

  entries(
    set: string,
    filter: Parameters<ReferenceSets['entryPage']>[1] = {},
    settings?: CallSettings,
  ): AsyncGenerator<ReferenceEntry> {
    return allPages((token) => this.entryPage(set, filter, token, settings));
  }

  /** Withdraws digests (hexadecimal, at most 1000) with all their paths. */
  async removeEntries(
    set: string,
    digests: readonly string[],
    { etag = '', ...settings }: CallSettings & { readonly etag?: string } = {},
  ): Promise<{ readonly set: ReferenceSet; readonly removedCount: bigint }> {
    const request = { name: setName(set), digests: [...digests], etag };
    const call = this.#connection.call({ timeoutMillis: IMPORT_TIMEOUT_MS, ...settings });
    const { referenceSet, removedCount } = await this.#client.removeReferenceEntries(request, call);
    return { set: fromProtoReferenceSet(required(referenceSet, 'reference set')), removedCount };
  }

  async delete(set: string, options: { readonly etag?: string } = {}, settings?: CallSettings): Promise<void> {
    const request = { name: setName(set), etag: options.etag ?? '' };
    await this.#client.deleteReferenceSet(request, this.#connection.call(settings));
  }
}

async function* importParts(
  value: { readonly name: string; readonly format: ReferenceFormat; readonly mode: ImportMode; readonly etag: string },
  file: Iterable<Buffer> | AsyncIterable<Buffer>,
): AsyncGenerator<MessageInitShape<typeof ImportReferenceSetRequestSchema>> {
  yield { part: { case: 'header', value } };
  for await (const part of file) {
    for (let start = 0; start < part.length; start += CHUNK_BYTES) {
      yield { part: { case: 'chunk', value: part.subarray(start, start + CHUNK_BYTES) } };
    }
  }
}

function importedSet({
  referenceSet,
  changed,
  readCount,
  notImported,
}: ImportReferenceSetResponse | LearnReferenceSetResponse): ImportedSet {
  return { set: fromProtoReferenceSet(required(referenceSet, 'reference set')), changed, readCount, notImported };
}

function setName(set: string): string {
  return resourceName('referenceSets', set);
}
