import { createHash, createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { timestampFromMs } from '@bufbuild/protobuf/wkt';

import { isIdentityName } from '../../proto/certificate-profile.ts';
import { Role } from '../../proto/gen/assay/v1/access_pb.ts';
import type { IdentityService } from '../../proto/gen/assay/v1/identity_pb.ts';
import type { Handlers } from '../../proto/service.ts';
import type { IdentityRecord, IdentityRole } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import type { Access } from './access.ts';
import { bytes, idOf, invalid, required } from './invalid.ts';
import { nextPageToken, pageOf } from './paging.ts';

const ROLES: Readonly<Record<IdentityRole, Role>> = {
  operator: Role.OPERATOR,
  orchestrator: Role.ORCHESTRATOR,
  relying_party: Role.RELYING_PARTY,
  consumer: Role.CONSUMER,
  auditor: Role.AUDITOR,
};

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
      const publicKey = canonicalKey(bytes(request.publicKey, 'public_key', { min: 1, max: 1024 }));
      const { certificate, expires } = await issueIdentityCertificate(name, publicKey);
      const keySha256 = createHash('sha256').update(publicKey).digest('hex');
      const record = await store.putIdentity({ name, roles, keySha256, expireTime: expires }, access.actor(context));
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

function identityToProto({ name, roles, createTime, expireTime, revoked }: IdentityRecord) {
  return {
    name: `identities/${name}`,
    roles: roles.map((role) => ROLES[role]),
    createTime: timestampFromMs(createTime),
    expireTime: timestampFromMs(expireTime),
    revoked,
  };
}
