import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';

import { HostState as ProtoState } from '../../proto/gen/assay/v1/host_pb.ts';
import type { HostSchema } from '../../proto/gen/assay/v1/host_pb.ts';
import type { HostRecord, HostState } from '../store/records.ts';
import { invalid } from './invalid.ts';

const STATES: Readonly<Record<HostState, ProtoState>> = {
  pending: ProtoState.PENDING,
  active: ProtoState.ACTIVE,
  revoked: ProtoState.REVOKED,
};

export function hostToProto(host: HostRecord): MessageInitShape<typeof HostSchema> {
  return {
    name: `hosts/${host.id}`,
    state: STATES[host.state],
    nodeName: host.nodeName,
    labels: { ...host.labels },
    trustPolicy: host.trustPolicy === '' ? '' : `trustPolicies/${host.trustPolicy}`,
    endorsementKeys: host.eks.map(({ fingerprint, algorithm, certified, manufacturer, model, deviations }) => ({
      fingerprint,
      algorithm,
      certified,
      manufacturer,
      model,
      deviations: [...deviations],
    })),
    akName: host.ak.name,
    admission: host.admission,
    claimed: { ...host.claimed },
    createTime: timestampFromMs(host.createTime),
    enrollTime: timestampFromMs(host.enrollTime),
    pendingAkName: host.pendingAk?.ak.name ?? '',
    findings: [...host.findings],
    akCertificate: Buffer.from(host.ak.certificate, 'hex'),
    etag: etagOf(host.version),
  };
}

export function hostStatesFromProto(states: readonly ProtoState[], field: string): readonly HostState[] {
  return states.map((state, index) => {
    const known = (Object.keys(STATES) as HostState[]).find((candidate) => STATES[candidate] === state);
    if (known === undefined) throw invalid(`${field}[${index}]`, 'is no state that is known here');
    return known;
  });
}

const NODE_NAME = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/;

/** What is wrong with a node name, or null. */
export function nodeNameProblem(name: string): string | null {
  return NODE_NAME.test(name) ? null : 'must be 1 to 253 of a-z, 0-9, "-" and "."';
}

/** Versions travel as opaque text. */
export function etagOf(version: number): string {
  return `v${version}`;
}

/** Null for an empty etag: whatever is there. */
export function versionOfEtag(etag: string, field: string): number | null {
  if (etag === '') return null;
  const version = /^v([1-9][0-9]{0,14})$/.exec(etag)?.[1];
  if (version === undefined) throw invalid(field, 'is no etag of this service');
  return Number(version);
}
