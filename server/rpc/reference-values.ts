import { timestampFromMs } from '@bufbuild/protobuf/wkt';

import {
  ImportMode,
  ReferenceEntrySchema,
  ReferenceFormat as ProtoFormat,
  ReferenceSetKind,
} from '../../proto/gen/assay/v1/reference_value_pb.ts';
import type { ReferenceSetHeader, ReferenceValueService } from '../../proto/gen/assay/v1/reference_value_pb.ts';
import type { Handlers } from '../../proto/service.ts';
import { isHostId } from '../../proto/certificate-profile.ts';
import { learnFiles } from '../attestation/learn-files.ts';
import type { KeptRuntimeServices } from '../attestation/kept-runtime.ts';
import { pathPatternProblems } from '../policy/path-pattern.ts';
import { isPolicyId } from '../policy/policy.ts';
import { algorithmOfDigest, MAX_PATH_BYTES } from '../reference/entry.ts';
import { MAX_IMPORT_CHUNK, ReferenceImports } from '../reference/import.ts';
import type { ImportRequest, ReferenceFormat } from '../reference/import.ts';
import type { ListedEntry, ReferenceSetRecord } from '../store/reference-store.ts';
import { type Store, StoreError } from '../store/store.ts';
import type { Access } from './access.ts';
import { etagOf, versionOfEtag } from './convert-host.ts';
import { bytes, idOf, invalid, safeInteger, text } from './invalid.ts';
import { keyringHandlers } from './keyrings.ts';
import { fitPage, nextPageToken, pageOf } from './paging.ts';
import { nextPartOf } from './parts.ts';

const MAX_DIGESTS = 1000;

export interface ReferenceValueHandlersOptions {
  readonly access: Access;
  readonly store: Store;
  /** What rounds are judged with. */
  readonly services: Pick<KeptRuntimeServices, 'runtimes'>;
}

export function referenceValueHandlers({
  access,
  store,
  services,
}: ReferenceValueHandlersOptions): Handlers<typeof ReferenceValueService> {
  const imports = new ReferenceImports(store);
  return {
    ...keyringHandlers({ access, store }),

    async importReferenceSet(requests, context) {
      using _checking = access.keepChecking(context);
      const next = nextPartOf(requests);
      const first = await next();
      if (first?.case !== 'header') throw invalid('part', 'the first message is the header');
      const request = { ...headerFromProto(first.value), ...access.actor(context) };
      const { set, changed, read, notImported } = await imports.import(request, async () => {
        const part = await next();
        if (part === null) return null;
        if (part.case !== 'chunk') throw invalid('part', 'a chunk of the file is due');
        return bytes(part.value, 'chunk', { min: 1, max: MAX_IMPORT_CHUNK });
      });
      return { referenceSet: setToProto(set), changed, readCount: BigInt(read), notImported: [...notImported] };
    },

    async learnReferenceSet(request, context) {
      const { name, host: hostName, mode, etag } = request;
      const wanted = {
        id: referenceSetIdOf(name, 'name'),
        mode: modeOf(mode, 'mode'),
        expected: versionOfEtag(etag, 'etag') ?? 'any',
      } as const;
      const hostId = idOf(hostName, { collection: 'hosts', field: 'host', isId: isHostId });
      const excludes = excludesOf(request.excludes);
      const scope = access.scope(context);
      const host = await store.findHost(hostId, scope);
      const result = await store.findResult({ hostId }, scope);
      if (host === null || result === null) throw new StoreError('not_found', `${hostName} is not known`);
      const learned = { host, result, excludes, despiteFindings: request.despiteFindings };
      const draft = { ...wanted, ...access.actor(context) };
      const { set, changed, read, notImported } = await imports.learn(draft, async (take) => {
        const found = await learnFiles({ store, runtimes: services.runtimes }, learned, take);
        const despite = found.despite.length === 0 ? '' : ` despite ${found.despite.join(' ')}`;
        return { notImported: found.notImported, origin: `learned from ${hostName}${despite}` };
      });
      return { referenceSet: setToProto(set), changed, readCount: BigInt(read), notImported: [...notImported] };
    },

    async getReferenceSet({ name, version }) {
      return { referenceSet: setToProto(await setOf(store, name, version)) };
    },

    async listReferenceSets(request) {
      const list = ['referenceSets'];
      const page = await store.listReferenceSets(pageOf(request, list));
      return { referenceSets: page.items.map(setToProto), nextPageToken: nextPageToken(page, list) };
    },

    async listReferenceEntries(request) {
      const { name, version, digest, pathPrefix } = request;
      if (digest !== '' && pathPrefix !== '') throw invalid('path_prefix', 'cannot be given together with a digest');
      const filter = digest === '' ? { pathPrefix: prefixOf(pathPrefix) } : { digest: digestOf(digest, 'digest') };
      const list = ['referenceEntries', name, version.toString(), filter];
      const page = pageOf(request, list);
      const { listed, after } = entriesAfter(page.after, version);
      const set = await setOf(store, name, listed);
      const found = await store.listReferenceEntries(set, { ...page, after }, filter);
      const shape = { schema: ReferenceEntrySchema, toProto: entryToProto, keyOf: ({ key }: ListedEntry) => key };
      const { messages, page: part } = fitPage(found, shape);
      const next = part.next === null ? null : `${set.version}:${part.next}`;
      return { entries: messages, nextPageToken: nextPageToken({ items: part.items, next }, list) };
    },

    async removeReferenceEntries({ name, digests, etag }, context) {
      const id = referenceSetIdOf(name, 'name');
      if (digests.length === 0) throw invalid('digests', 'is empty');
      if (digests.length > MAX_DIGESTS) throw invalid('digests', `has more than ${MAX_DIGESTS} digests`);
      const wanted = digests.map((digest, index) => digestOf(digest, `digests[${index}]`));
      const options = { ...access.actor(context), expected: versionOfEtag(etag, 'etag') ?? 'any' } as const;
      const { set, removed } = await store.withdrawReferenceDigests(id, wanted, options);
      return { referenceSet: setToProto(set), removedCount: BigInt(removed) };
    },

    async deleteReferenceSet({ name, etag }, context) {
      const expected = versionOfEtag(etag, 'etag') ?? 'any';
      await store.deleteReferenceSet(referenceSetIdOf(name, 'name'), { ...access.actor(context), expected });
      return {};
    },
  };
}

const FORMATS: ReadonlyMap<ProtoFormat, ReferenceFormat> = new Map([
  [ProtoFormat.DIGEST_LIST, 'digest_list'],
  [ProtoFormat.RPM_DUMP, 'rpm_dump'],
  [ProtoFormat.KEYLIME_POLICY, 'keylime_policy'],
]);

const MODES: ReadonlyMap<ImportMode, ImportRequest['mode']> = new Map([
  [ImportMode.UNSPECIFIED, 'replace'],
  [ImportMode.REPLACE, 'replace'],
  [ImportMode.ADD, 'add'],
]);

function headerFromProto(header: ReferenceSetHeader): Omit<ImportRequest, 'actor'> {
  const id = referenceSetIdOf(header.name, 'header.name');
  const format = FORMATS.get(header.format);
  if (format === undefined)
    throw invalid('header.format', header.format === ProtoFormat.UNSPECIFIED ? 'is required' : 'is not a known format');
  const mode = modeOf(header.mode, 'header.mode');
  return { id, format, mode, expected: versionOfEtag(header.etag, 'header.etag') ?? 'any' };
}

function modeOf(proto: ImportMode, field: string): ImportRequest['mode'] {
  const mode = MODES.get(proto);
  if (mode === undefined) throw invalid(field, 'is not a known mode');
  return mode;
}

function excludesOf(patterns: readonly string[]): readonly string[] {
  const [problem] = pathPatternProblems(patterns, 'excludes');
  if (problem !== undefined) throw invalid(problem.field, problem.message);
  return patterns;
}

/** Ids of sets are written as those of policies are. */
function referenceSetIdOf(name: string, field: string): string {
  return idOf(name, { collection: 'referenceSets', field, isId: isPolicyId });
}

async function setOf(store: Store, name: string, version: bigint): Promise<ReferenceSetRecord> {
  const id = referenceSetIdOf(name, 'name');
  const set = await store.getReferenceSet(id, version === 0n ? null : safeInteger(version, 'version'));
  if (set === null) throw new StoreError('not_found', `${name} is not known, or not kept, in this version`);
  return set;
}

/** The version of the first page stays that of the list, whatever becomes the newest meanwhile. */
function entriesAfter(key: string, version: bigint): { readonly listed: bigint; readonly after: string } {
  if (key === '') return { listed: version, after: '' };
  const [, listed, after] = /^(\d{1,15}):(\d{1,15})$/.exec(key) ?? [];
  if (listed === undefined || after === undefined) throw invalid('page_token', 'is not a token of this list');
  return { listed: BigInt(listed), after };
}

function digestOf(hex: string, field: string): string {
  const found = algorithmOfDigest(hex);
  if ('problem' in found) throw invalid(field, found.problem);
  return hex.toLowerCase();
}

function prefixOf(prefix: string): string {
  return text(prefix, 'path_prefix', MAX_PATH_BYTES);
}

function setToProto(record: ReferenceSetRecord) {
  return {
    name: `referenceSets/${record.id}`,
    version: BigInt(record.version),
    kind: ReferenceSetKind.FILES,
    entryCount: BigInt(record.entries),
    createTime: timestampFromMs(record.createTime),
    etag: etagOf(record.version),
  };
}

function entryToProto({ algorithm, digest, path }: ListedEntry) {
  return { algorithm, digest, path };
}
