import { RoleSchema } from '../../proto/gen/assay/v1/access_pb.ts';
import { IdentityService } from '../../proto/gen/assay/v1/identity_pb.ts';
import type { ServiceClient } from '../../proto/client.ts';
import type { CallSettings, Connection } from './connection.ts';
import { enumNumber, fromProtoIdentity, required } from './convert.ts';
import { allPages, PAGE_SIZE, resourceName } from './page.ts';
import type { Identity, IssuableRole, Page, Scope } from './resources.ts';

export interface IssuedIdentity {
  readonly identity: Identity;
  /** Client certificate, X.509 DER. */
  readonly certificate: Buffer;
  /** Certificate of the service's CA, X.509 DER. */
  readonly authority: Buffer;
}

/** People and programs that use the service. */
export class Identities {
  readonly #connection: Connection;
  readonly #client: ServiceClient<typeof IdentityService>;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#client = connection.channel.client(IdentityService);
  }

  /**
   * @param options.publicKey SubjectPublicKeyInfo (DER), P-256; the private key stays with the caller
   * @param options.scope left out: what the service gives the roles, or what the identity has already
   */
  async issue(
    name: string,
    options: { readonly roles: readonly IssuableRole[]; readonly publicKey: Buffer; readonly scope?: Scope },
    settings?: CallSettings,
  ): Promise<IssuedIdentity> {
    const roles = options.roles.map((role) => enumNumber(RoleSchema, role));
    const scope = options.scope === undefined ? {} : { scope: toProtoScope(options.scope) };
    const request = { identity: { name: identityName(name), roles, ...scope }, publicKey: options.publicKey };
    const answer = await this.#client.issueIdentity(request, this.#connection.call(settings));
    return {
      identity: fromProtoIdentity(required(answer.identity, 'identity')),
      certificate: Buffer.from(answer.certificate),
      authority: Buffer.from(answer.authorityCertificate),
    };
  }

  async page(pageToken: string, settings?: CallSettings): Promise<Page<Identity>> {
    const request = { pageSize: PAGE_SIZE, pageToken };
    const answer = await this.#client.listIdentities(request, this.#connection.call(settings));
    return { items: answer.identities.map(fromProtoIdentity), nextPageToken: answer.nextPageToken };
  }

  list(settings?: CallSettings): AsyncGenerator<Identity> {
    return allPages((token) => this.page(token, settings));
  }

  async revoke(name: string, settings?: CallSettings): Promise<Identity> {
    const answer = await this.#client.revokeIdentity({ name: identityName(name) }, this.#connection.call(settings));
    return fromProtoIdentity(required(answer.identity, 'identity'));
  }
}

function toProtoScope(scope: Scope) {
  return scope === 'EVERY_HOST' ? { allHosts: true } : { matchLabels: { ...scope.matchLabels } };
}

function identityName(name: string): string {
  return resourceName('identities', name);
}
