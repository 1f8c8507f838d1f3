import { toJson } from '@bufbuild/protobuf';
import type { DescEnum, DescMessage, MessageShape } from '@bufbuild/protobuf';
import type { GenEnum } from '@bufbuild/protobuf/codegenv2';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { RoleSchema } from '../../proto/gen/assay/v1/access_pb.ts';
import {
  AttestationResultSchema,
  CheckOutcomeSchema,
  ConnectivitySchema,
  TrustStatusSchema,
} from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import type {
  AttestationResult as ResultMessage,
  Check as CheckMessage,
  WatchAttestationResultsResponse,
} from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import {
  EndorsementChangeSchema,
  InventoryEntrySchema,
  RevocationListSchema,
  TrustAnchorSchema,
} from '../../proto/gen/assay/v1/endorsement_pb.ts';
import type {
  EndorsementChange as EndorsementChangeMessage,
  InventoryEntry as InventoryMessage,
  RevocationList as RevocationListMessage,
  TrustAnchor as AnchorMessage,
} from '../../proto/gen/assay/v1/endorsement_pb.ts';
import { HostSchema, HostStateSchema } from '../../proto/gen/assay/v1/host_pb.ts';
import type { Host as HostMessage } from '../../proto/gen/assay/v1/host_pb.ts';
import { IdentitySchema } from '../../proto/gen/assay/v1/identity_pb.ts';
import type { Identity as IdentityMessage } from '../../proto/gen/assay/v1/identity_pb.ts';
import { TokenKeySchema } from '../../proto/gen/assay/v1/token_pb.ts';
import type { Token as TokenMessage, TokenKey as TokenKeyMessage } from '../../proto/gen/assay/v1/token_pb.ts';
import { BootRulesSchema, RuntimeRulesSchema, TrustPolicySchema } from '../../proto/gen/assay/v1/trust_policy_pb.ts';
import type { TrustPolicy as PolicyMessage } from '../../proto/gen/assay/v1/trust_policy_pb.ts';
import type {
  AttestationResult,
  CheckOutcome,
  Connectivity,
  EndorsementChange,
  Host,
  HostState,
  Identity,
  InventoryEntry,
  JsonObject,
  RevocationList,
  RoleName,
  Token,
  TokenKey,
  TrustAnchor,
  TrustPolicy,
  TrustStatus,
  WatchEvent,
} from './resources.ts';
import { SdkError } from './sdk-error.ts';

/** Wire shapes of the operator's resources become the SDK's own. */

export function fromProtoHost(message: HostMessage): Host {
  return {
    name: message.name,
    state: enumWord(HostStateSchema, message.state) as HostState,
    nodeName: message.nodeName,
    labels: message.labels,
    trustPolicy: message.trustPolicy,
    endorsementKeys: message.endorsementKeys.map((key) => ({
      fingerprint: key.fingerprint,
      algorithm: key.algorithm,
      certified: key.certified,
      manufacturer: key.manufacturer,
      model: key.model,
      deviations: key.deviations,
    })),
    akName: message.akName,
    pendingAkName: message.pendingAkName,
    admission: message.admission,
    claimed: message.claimed,
    createTime: dateOf(message.createTime),
    enrollTime: dateOf(message.enrollTime),
    findings: message.findings,
    etag: message.etag,
    json: jsonOf(HostSchema, message),
  };
}

export function fromProtoResult(message: ResultMessage): AttestationResult {
  return {
    name: message.name,
    host: message.host,
    revision: message.revision,
    status: enumWord(TrustStatusSchema, message.status) as TrustStatus,
    checks: message.checks.map(fromProtoCheck),
    trustPolicy: message.trustPolicy,
    trustPolicyVersion: message.trustPolicyVersion,
    endorsementVersion: message.endorsementVersion,
    challengeTime: dateOf(message.challengeTime),
    validUntil: dateOf(message.validUntil),
    revisionTime: dateOf(message.revisionTime),
    confirmations: message.confirmations,
    connectivity: enumWord(ConnectivitySchema, message.connectivity) as Connectivity,
    nodeName: message.nodeName,
    labels: message.labels,
    json: jsonOf(AttestationResultSchema, message),
  };
}

export function fromProtoCheck(check: CheckMessage): AttestationResult['checks'][number] {
  const { id, reason, observed, expected, message } = check;
  return {
    id,
    outcome: enumWord(CheckOutcomeSchema, check.outcome) as CheckOutcome,
    reason,
    observed,
    expected,
    message,
  };
}

export function fromProtoPolicy(message: PolicyMessage): TrustPolicy {
  return {
    name: message.name,
    version: message.version,
    description: message.description,
    precedence: message.precedence,
    allHosts: message.selector?.allHosts ?? false,
    matchLabels: message.selector?.matchLabels ?? {},
    ruleCount:
      message.pcrRules.length +
      setFields(BootRulesSchema, message.boot) +
      setFields(RuntimeRulesSchema, message.runtime) +
      message.expressions.length,
    createTime: dateOf(message.createTime),
    etag: message.etag,
    // As a person writes it: what it does not name stays away.
    json: toJson(TrustPolicySchema, message) as JsonObject,
  };
}

/** Rules that are there: each is a field of its message. */
function setFields(schema: DescMessage, message: object | undefined): number {
  if (message === undefined) return 0;
  const rules = new Map<string, unknown>(Object.entries(message));
  return schema.fields.filter(({ localName }) => rules.get(localName) !== undefined).length;
}

export function fromProtoAnchor(message: AnchorMessage): TrustAnchor {
  return {
    name: message.name,
    subject: message.subject,
    anchor: message.anchor,
    certificate: Buffer.from(message.certificate),
    notAfter: dateOf(message.notAfter),
    createTime: dateOf(message.createTime),
    version: message.version,
    etag: message.etag,
    json: jsonOf(TrustAnchorSchema, message),
  };
}

export function fromProtoRevocationList(message: RevocationListMessage): RevocationList {
  return {
    name: message.name,
    issuer: message.issuer,
    issuerKeySha256: message.issuerKeySha256,
    number: message.number,
    thisUpdateTime: dateOf(message.thisUpdateTime),
    nextUpdateTime: dateOf(message.nextUpdateTime),
    entryCount: message.entryCount,
    createTime: dateOf(message.createTime),
    version: message.version,
    etag: message.etag,
    listSha256: message.listSha256,
    json: jsonOf(RevocationListSchema, message),
  };
}

export function fromProtoEndorsementChange(message: EndorsementChangeMessage): EndorsementChange {
  return {
    endorsementVersion: message.endorsementVersion,
    resource: message.resource,
    version: message.version,
    action: message.action,
    actor: message.actor,
    detail: message.detail,
    createTime: dateOf(message.createTime),
    auditSequence: message.auditSequence,
    json: jsonOf(EndorsementChangeSchema, message),
  };
}

export function fromProtoInventoryEntry(message: InventoryMessage): InventoryEntry {
  return {
    name: message.name,
    group: message.group,
    comment: message.comment,
    createTime: dateOf(message.createTime),
    json: jsonOf(InventoryEntrySchema, message),
  };
}

export function fromProtoIdentity(message: IdentityMessage): Identity {
  return {
    name: message.name,
    roles: message.roles.map((role) => enumWord(RoleSchema, role) as RoleName),
    createTime: dateOf(message.createTime),
    expireTime: dateOf(message.expireTime),
    revoked: message.revoked,
    scope: message.scope?.allHosts === true ? 'EVERY_HOST' : { matchLabels: message.scope?.matchLabels ?? {} },
    json: jsonOf(IdentitySchema, message),
  };
}

export function fromProtoTokenKey(message: TokenKeyMessage): TokenKey {
  return {
    keyId: message.keyId,
    version: message.version,
    createTime: dateOf(message.createTime),
    retireTime: dateOf(message.retireTime),
    publishEndTime: dateOf(message.publishEndTime),
    json: jsonOf(TokenKeySchema, message),
  };
}

export function fromProtoToken(message: TokenMessage): Token {
  return { jwt: message.jwt, expireTime: dateOf(message.expireTime) };
}

/** Undefined for an event that this release does not know; its resume token still counts. */
export function fromProtoWatchEvent({ event }: WatchAttestationResultsResponse): WatchEvent | undefined {
  switch (event.case) {
    case 'change': {
      const { result, initial } = event.value;
      return { kind: 'change', result: fromProtoResult(required(result, 'result')), initial };
    }
    case 'removal':
      return { kind: 'removal', host: event.value.host, reason: event.value.reason };
    case 'validity': {
      const { host, revision, validUntil, confirmations } = event.value;
      return { kind: 'validity', host, revision, validUntil: dateOf(validUntil), confirmations };
    }
    case 'bookmark':
      return { kind: 'bookmark', synced: event.value.synced };
    case undefined:
      return undefined;
  }
}

/** The number of an enum's word, such as 2 for `ACTIVE`. */
export function enumNumber<E extends number>(schema: GenEnum<E>, word: string): E {
  const value = schema.values.find(({ localName }) => localName === word);
  if (value === undefined) throw new TypeError(`${schema.name} has no ${word}`);
  return value.number as E;
}

export function enumWord(schema: DescEnum, value: number): string {
  return schema.value[value]?.localName ?? `UNKNOWN_${value}`;
}

/** A message of a response that the contract says is always there. */
export function required<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new SdkError('bad_answer', `the service's answer has no ${what}`);
  return value;
}

/** Undefined for a time that is not set. */
export function dateOf(time: Timestamp | undefined): Date | undefined {
  return time === undefined ? undefined : timestampDate(time);
}

/** Every field, also one that is 0, false or empty; what can be unset and is (a time, a part) is left out. */
export function jsonOf<Schema extends DescMessage>(schema: Schema, message: MessageShape<Schema>): JsonObject {
  return toJson(schema, message, { alwaysEmitImplicit: true }) as JsonObject;
}
