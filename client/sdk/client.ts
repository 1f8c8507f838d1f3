import { Connection } from './connection.ts';
import type { ConnectOptions } from './connection.ts';
import { Endorsements } from './endorsements.ts';
import { Hosts } from './hosts.ts';
import { Identities } from './identities.ts';
import { Keyrings } from './keyrings.ts';
import { Placement } from './placement.ts';
import { Policies } from './policies.ts';
import { ReferenceSets } from './reference-sets.ts';
import { Reports } from './reports.ts';
import { Results } from './results.ts';
import { TokenKeys } from './token-keys.ts';
import { attestationService, enrollmentService } from './attester.ts';
import type { AttestationService, EnrollmentService } from './evidence.ts';

/** A client of the service. Every failure of a call is an RpcError. */
export interface AssayClient {
  readonly hosts: Hosts;
  readonly policies: Policies;
  readonly referenceSets: ReferenceSets;
  readonly keyrings: Keyrings;
  readonly endorsements: Endorsements;
  readonly identities: Identities;
  readonly results: Results;
  readonly reports: Reports;
  readonly tokenKeys: TokenKeys;
  readonly placement: Placement;
  /** For Attesters. */
  readonly enrollment: EnrollmentService;
  readonly attestation: AttestationService;
  /** Ends the connection; open calls fail. */
  close(): void;
}

/**
 * A client over one connection, which is made with the first call: TLS 1.3, the server's certificate and name checked under
 * the service's CA. Throws SdkError `bad_address`.
 */
export function connect(options: ConnectOptions): AssayClient {
  const connection = new Connection(options);
  return {
    hosts: new Hosts(connection),
    policies: new Policies(connection),
    referenceSets: new ReferenceSets(connection),
    keyrings: new Keyrings(connection),
    endorsements: new Endorsements(connection),
    identities: new Identities(connection),
    results: new Results(connection, options.random),
    reports: new Reports(connection),
    tokenKeys: new TokenKeys(connection),
    placement: new Placement(connection),
    enrollment: enrollmentService(connection),
    attestation: attestationService(connection),
    close: () => connection.close(),
  };
}
