import { AttestationResultService } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import { AttestationService } from '../../proto/gen/assay/v1/attestation_pb.ts';
import { EndorsementService } from '../../proto/gen/assay/v1/endorsement_pb.ts';
import { EnrollmentService } from '../../proto/gen/assay/v1/enrollment_pb.ts';
import { HostService } from '../../proto/gen/assay/v1/host_pb.ts';
import { IdentityService } from '../../proto/gen/assay/v1/identity_pb.ts';
import { ReferenceValueService } from '../../proto/gen/assay/v1/reference_value_pb.ts';
import { ReportService } from '../../proto/gen/assay/v1/report_pb.ts';
import { TokenKeyService } from '../../proto/gen/assay/v1/token_pb.ts';
import { PlacementService } from '../../proto/gen/assay/v1/placement_pb.ts';
import { TrustPolicyService } from '../../proto/gen/assay/v1/trust_policy_pb.ts';
import { bindService } from '../../proto/service.ts';
import type { BoundService } from '../../proto/service.ts';
import { attestationHandlers } from './attestation.ts';
import type { AttestationHandlersOptions } from './attestation.ts';
import { endorsementHandlers } from './endorsements.ts';
import { enrollmentHandlers } from './enrollment.ts';
import type { EnrollmentHandlersOptions } from './enrollment.ts';
import { hostHandlers } from './hosts.ts';
import type { HostHandlersOptions } from './hosts.ts';
import { identityHandlers } from './identities.ts';
import type { IdentityHandlersOptions } from './identities.ts';
import { referenceValueHandlers } from './reference-values.ts';
import type { ReferenceValueHandlersOptions } from './reference-values.ts';
import { reportHandlers } from './reports.ts';
import type { ReportHandlersOptions } from './reports.ts';
import { placementHandlers } from './placement.ts';
import type { PlacementHandlersOptions } from './placement.ts';
import { resultHandlers } from './results.ts';
import type { ResultHandlersOptions } from './results.ts';
import { tokenKeyHandlers } from './token-keys.ts';
import type { TokenKeyHandlersOptions } from './token-keys.ts';
import { trustPolicyHandlers } from './trust-policies.ts';

export type ServicesOptions = EnrollmentHandlersOptions &
  AttestationHandlersOptions &
  HostHandlersOptions &
  ReferenceValueHandlersOptions &
  IdentityHandlersOptions &
  PlacementHandlersOptions &
  ResultHandlersOptions &
  ReportHandlersOptions &
  TokenKeyHandlersOptions;

/** Every service of `assay.v1` with its handlers. */
export function assayServices(options: ServicesOptions): readonly BoundService[] {
  return [
    bindService(EnrollmentService, enrollmentHandlers(options)),
    bindService(AttestationService, attestationHandlers(options)),
    bindService(HostService, hostHandlers(options)),
    bindService(TrustPolicyService, trustPolicyHandlers(options)),
    bindService(ReferenceValueService, referenceValueHandlers(options)),
    bindService(EndorsementService, endorsementHandlers(options)),
    bindService(AttestationResultService, resultHandlers(options)),
    bindService(ReportService, reportHandlers(options)),
    bindService(TokenKeyService, tokenKeyHandlers(options)),
    bindService(PlacementService, placementHandlers(options)),
    bindService(IdentityService, identityHandlers(options)),
  ];
}

const KIBIBYTE = 1024;

/** Messages that are bounded apart: what everybody may send, streams of logs in chunks of 256 KiB, and 4 MiB of revocation lists. */
export const MAX_RECEIVE_BYTES: ReadonlyMap<string, number> = new Map([
  ['/assay.v1.EnrollmentService/BeginEnrollment', 64 * KIBIBYTE],
  ['/assay.v1.EnrollmentService/CompleteEnrollment', 512 * KIBIBYTE],
  ['/assay.v1.TokenKeyService/ListTokenKeys', KIBIBYTE],
  ['/assay.v1.AttestationService/Attest', 512 * KIBIBYTE],
  ['/assay.v1.AttestationService/SubmitEvidence', 512 * KIBIBYTE],
  ['/assay.v1.EndorsementService/ImportRevocationLists', (4 * KIBIBYTE + 1) * KIBIBYTE],
  ['/assay.v1.ReferenceValueService/ImportReferenceSet', 512 * KIBIBYTE],
]);
