import { createHash, createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { timestampFromMs } from '@bufbuild/protobuf/wkt';

import { isIdentityName } from '../../proto/certificate-profile.ts';
import { Role } from '../../proto/gen/assay/v1/access_pb.ts';
import type { IdentityService, Scope } from '../../proto/gen/assay/v1/identity_pb.ts';
import type { Handlers } from '../../proto/service.ts';
import type { IdentityRecord, IdentityRole, Labels } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import type { Access } from './access.ts';
import { labelsFromProto } from './convert-result.ts';
import { bytes, idOf, invalid, required } from './invalid.ts';
import { nextPageToken, pageOf } from './paging.ts';

const ROLES: Readonly<Record<IdentityRole, Role>> = {
  operator: Role.OPERATOR,
  orchestrator: Role.ORCHESTRATOR,
  relying_party: Role.RELYING_PARTY,
  consumer: Role.CONSUMER,
  auditor: Role.AUDITOR,
};

const MAX_SCOPE_LABELS = 16;

export interface IdentityHandlersOptions {
  readonly access: Access;
  readonly store: Store;
  readonly authorityCertificate: Buffer;
  readonly issueIdentityCertificate: (
    name: string,
    publicKey: Buffer,
  ) => Promise<{ readonly certificate: Buffer; readonly expires: number }>;
}

export function identityHandlers(options: IdentityHandlersOptions): Handlers<typeof IdentityService> {
  const { access, store, authorityCertificate, issueIdentityCertificate } = options;
  return {
    async issueIdentity(request, context) {
      const identity = required(request.identity, 'identity');
      const name = idOf(identity.name, { collection: 'identities', field: 'identity.name', isId: isIdentityName });
      const roles = rolesFromProto(identity.roles);
      const scope = scopeFromProto(identity.scope);
      if (scope === null && !mayHaveEveryHost(roles) && (await store.getIdentity(name)) === null)
        throw invalid('identity.scope', 'is required with these roles: match_labels, or all_hosts');
      const publicKey = canonicalKey(bytes(request.publicKey, 'public_key', { min: 1, max: 1024 }));
      const { certificate, expires } = await issueIdentityCertificate(name, publicKey);
      const keySha256 = createHash('sha256').update(publicKey).digest('hex');
      const issued = { name, roles, keySha256, expireTime: expires, scope };
      const record = await store.putIdentity(issued, access.actor(context));
      return { identity: identityToProto(record), certificate, authorityCertificate };
    },

    async listIdentities(request) {
      const list = ['identities'];
      const page = await store.listIdentities(pageOf(request, list));
      return { identities: page.items.map(identityToProto), nextPageToken: nextPageToken(page, list) };
    },

    async revokeIdentity({ name }, context) {
      const id = idOf(name, { collection: 'identities', field: 'name', isId: isIdentityName });
      return { identity: identityToProto(await store.revokeIdentity(id, access.actor(context))) };
    },
  };
}

function rolesFromProto(roles: readonly Role[]): readonly IdentityRole[] {
  if (roles.length === 0) throw invalid('identity.roles', 'must name at least one role');
  const known = roles.map((role, index) => {
    const found = (Object.keys(ROLES) as IdentityRole[]).find((candidate) => ROLES[candidate] === role);
    if (found === undefined) throw invalid(`identity.roles[${index}]`, 'is no role that an identity can have');
    return found;
  });
  return [...new Set(known)];
}

/** Who runs or audits the service sees all of it unless told otherwise; for others somebody has to have thought about it. */
function mayHaveEveryHost(roles: readonly IdentityRole[]): boolean {
  return roles.every((role) => role === 'operator' || role === 'auditor');
}

/** Null where it is left out. An empty one is a mistake far more often than a wish for every host: that wish has a name. */
function scopeFromProto(scope: Scope | undefined): Labels | null {
  if (scope === undefined) return null;
  const labels = labelsFromProto(scope.matchLabels, 'identity.scope.match_labels', MAX_SCOPE_LABELS);
  const empty = Object.keys(labels).length === 0;
  if (scope.allHosts && !empty) throw invalid('identity.scope', 'has match_labels and all_hosts: give one of them');
  if (!scope.allHosts && empty) throw invalid('identity.scope.match_labels', 'must not be empty without all_hosts');
  return labels;
}

/** The key in the encoding under which the TLS handshake will show it. */
function canonicalKey(der: Buffer): Buffer {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: der, format: 'der', type: 'spki' });
  } catch {
    throw invalid('public_key', 'is no SubjectPublicKeyInfo');
  }
  if (key.asymmetricKeyType !== 'ec' || key.asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw invalid('public_key', 'is no P-256 key');
  }
  return key.export({ type: 'spki', format: 'der' });
}

function identityToProto({ name, roles, createTime, expireTime, revoked, scope }: IdentityRecord) {
  return {
    name: `identities/${name}`,
    roles: roles.map((role) => ROLES[role]),
    createTime: timestampFromMs(createTime),
    expireTime: timestampFromMs(expireTime),
    revoked,
    scope: { matchLabels: { ...scope }, allHosts: Object.keys(scope).length === 0 },
  };
}
