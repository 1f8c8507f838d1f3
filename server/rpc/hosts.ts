import { isHostId } from '../../proto/certificate-profile.ts';
import { HostSchema } from '../../proto/gen/assay/v1/host_pb.ts';
import type { Host, HostService } from '../../proto/gen/assay/v1/host_pb.ts';
import type { Context, Handlers } from '../../proto/service.ts';
import { StatusError } from '../../proto/status.ts';
import { decodePublicArea } from '../../tpm/structures/public-area.ts';
import type { PublicArea } from '../../tpm/structures/public-area.ts';
import { isPolicyId } from '../policy/policy.ts';
import type { HostRecord } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import type { Access } from './access.ts';
import { hostStatesFromProto, hostToProto, nodeNameProblem, versionOfEtag } from './convert-host.ts';
import { labelsFromProto } from './convert-result.ts';
import { idOf, invalid, required, text } from './invalid.ts';
import { fitPage, nextPageToken, pageOf } from './paging.ts';

const MAX_LABELS = 64;
const MAX_FILTER_LABELS = 16;

export interface HostHandlersOptions {
  readonly access: Access;
  readonly store: Store;
  readonly issueAkCertificate: (hostId: string, publicArea: PublicArea) => Promise<Buffer>;
}

export function hostHandlers({ access, store, issueAkCertificate }: HostHandlersOptions): Handlers<typeof HostService> {
  const find = async (name: string, context: Context): Promise<HostRecord> => {
    const host = await store.findHost(hostIdOf(name, 'name'), access.scope(context));
    if (host === null)
      throw new StatusError({ code: 'NOT_FOUND', reason: 'NOT_FOUND', message: `${name} is not known` });
    return host;
  };
  return {
    async getHost({ name }, context) {
      return { host: hostToProto(await find(name, context)) };
    },

    async listHosts(request, context) {
      const filter = {
        states: hostStatesFromProto(request.states, 'states'),
        matchLabels: labelsFromProto(request.matchLabels, 'match_labels', MAX_FILTER_LABELS),
        scope: access.scope(context),
      };
      const list = ['hosts', filter];
      const found = await store.listHosts(pageOf(request, list), filter);
      const { messages, page } = fitPage(found, { schema: HostSchema, toProto: hostToProto, keyOf: ({ id }) => id });
      return { hosts: messages, nextPageToken: nextPageToken(page, list) };
    },

    async updateHost(request, context) {
      const host = required(request.host, 'host');
      const change = changeOf(host, request.updateMask?.paths ?? []);
      const options = { ...access.hostActor(context), version: versionOfEtag(host.etag, 'host.etag') };
      return { host: hostToProto(await store.updateHost(hostIdOf(host.name, 'host.name'), change, options)) };
    },

    async approveHost({ name, acknowledgeFindings, etag }, context) {
      const host = await find(name, context);
      const expectedVersion = versionOfEtag(etag, 'etag');
      if (expectedVersion === null) throw invalid('etag', 'is required: approve what you have looked at');
      // The certificate is for the AK that is current afterwards; the etag fences the choice.
      const ak = host.pendingAk?.ak ?? host.ak;
      const akCertificate = await issueAkCertificate(host.id, decodePublicArea(Buffer.from(ak.publicArea, 'hex')));
      const options = {
        ...access.hostActor(context),
        acknowledgeFindings,
        akCertificate: akCertificate.toString('hex'),
        expectedVersion,
      };
      return { host: hostToProto(await store.approveHost(host.id, options)) };
    },

    async revokeHost({ name, reason }, context) {
      const options = { ...access.hostActor(context), reason: text(reason, 'reason', 512) };
      return { host: hostToProto(await store.revokeHost(hostIdOf(name, 'name'), options)) };
    },

    async replaceHost({ name, replacement, reason }, context) {
      const options = { ...access.hostActor(context), reason: text(reason, 'reason', 512) };
      const next = hostIdOf(replacement, 'replacement');
      return { host: hostToProto(await store.replaceHost(hostIdOf(name, 'name'), next, options)) };
    },

    async deleteHost({ name }, context) {
      await store.deleteHost(hostIdOf(name, 'name'), access.hostActor(context));
      return {};
    },
  };
}

function hostIdOf(name: string, field: string): string {
  return idOf(name, { collection: 'hosts', field, isId: isHostId });
}

type HostChange = Parameters<Store['updateHost']>[1];

function changeOf(host: Host, paths: readonly string[]): HostChange {
  if (paths.length === 0) throw invalid('update_mask', 'must name at least one of labels, node_name, trust_policy');
  let change: HostChange = {};
  for (const path of paths) {
    // Own rows only: "constructor" is a property of every table.
    const field = Object.hasOwn(FIELDS, path) ? FIELDS[path] : undefined;
    if (field === undefined)
      throw invalid('update_mask', `${JSON.stringify(path)} cannot be set; labels, node_name and trust_policy can`);
    change = { ...change, ...field(host) };
  }
  return change;
}

/** The fields that an operator sets. */
const FIELDS: { readonly [path: string]: (host: Host) => HostChange } = {
  labels: ({ labels }) => ({ labels: labelsFromProto(labels, 'host.labels', MAX_LABELS) }),
  node_name: ({ nodeName }) => {
    const problem = nodeName === '' ? null : nodeNameProblem(nodeName);
    if (problem !== null) throw invalid('host.node_name', problem);
    // Whoever takes either would take it for that host.
    if (isHostId(nodeName)) throw invalid('host.node_name', "must not have the form of a host's id");
    return { nodeName };
  },
  trust_policy: ({ trustPolicy }) => ({
    trustPolicy:
      trustPolicy === ''
        ? ''
        : idOf(trustPolicy, { collection: 'trustPolicies', field: 'host.trust_policy', isId: isPolicyId }),
  }),
};
