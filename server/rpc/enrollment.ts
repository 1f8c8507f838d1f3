import { X509Certificate } from 'node:crypto';

import { timestampFromMs } from '@bufbuild/protobuf/wkt';

import type { BeginEnrollmentRequest, EnrollmentService } from '../../proto/gen/assay/v1/enrollment_pb.ts';
import { addressBlock } from '../../proto/address-block.ts';
import type { Context, Handlers, Peer } from '../../proto/service.ts';
import type { EnrollmentBeginner } from '../enrollment/begin.ts';
import { completeEnrollment } from '../enrollment/complete.ts';
import type { CompleteContext } from '../enrollment/complete.ts';
import type { EnrollmentCaller } from '../enrollment/prove.ts';
import { EnrollmentError } from '../enrollment/enrollment-error.ts';
import type { EnrollmentLimits } from '../enrollment/enrollment-limits.ts';
import { MAX_EKS } from '../enrollment/ek-rules.ts';
import type { Access } from './access.ts';
import { evidenceFromProto } from './convert-evidence.ts';
import { hostToProto } from './convert-host.ts';
import { bytes, invalid } from './invalid.ts';
import { nextChunk, nextPartOf } from './parts.ts';

const MAX_PUBLIC_AREA = 1024;
const MAX_CERTIFICATE = 8 * 1024;
const MAX_CHAIN = 8;
const MAX_TOKEN = 256 * 1024;

export interface EnrollmentHandlersOptions {
  readonly access: Access;
  readonly beginner: EnrollmentBeginner;
  readonly complete: CompleteContext;
  readonly limits: EnrollmentLimits;
  readonly authorityCertificate: Buffer;
}

export function enrollmentHandlers(options: EnrollmentHandlersOptions): Handlers<typeof EnrollmentService> {
  const { access, beginner, complete, limits, authorityCertificate } = options;
  /** At most one in flight for each connection, whose peer is one object. */
  const beginning = new WeakSet<Peer>();
  const begin = async (request: BeginEnrollmentRequest, peer: Peer) => {
    if (request.endorsementKeys.length > MAX_EKS) throw invalid('endorsement_keys', `has more than ${MAX_EKS} keys`);
    const challenge = await beginner.begin({
      eks: request.endorsementKeys.map(({ publicArea, certificate, chain }, index) => {
        const field = `endorsement_keys[${index}]`;
        if (chain.length > MAX_CHAIN) throw invalid(`${field}.chain`, `has more than ${MAX_CHAIN} certificates`);
        return {
          publicArea: bytes(publicArea, `${field}.public_area`, { min: 1, max: MAX_PUBLIC_AREA }),
          certificate: bytes(certificate, `${field}.certificate`, { max: MAX_CERTIFICATE }),
          chain: chain.map((each, place) => bytes(each, `${field}.chain[${place}]`, { min: 1, max: MAX_CERTIFICATE })),
        };
      }),
      akPublicArea: bytes(request.akPublicArea, 'ak_public_area', { min: 1, max: MAX_PUBLIC_AREA }),
      parentIndex: request.parentIndex,
      tlsKeySha256: peer.tlsKeySha256 ?? null,
    });
    return {
      ...challenge,
      credentials: [...challenge.credentials],
      expireTime: timestampFromMs(challenge.expireMillis),
      authorityCertificate,
    };
  };
  return {
    async beginEnrollment(request, context) {
      const { peer } = context;
      limits.checkBegin(addressBlock(peer.address));
      if (beginning.has(peer))
        throw new EnrollmentError('ENROLLMENT_BUSY', 'this connection has begun an enrolment already');
      beginning.add(peer);
      try {
        return await begin(request, peer);
      } finally {
        beginning.delete(peer);
      }
    },

    async completeEnrollment(requests, context) {
      limits.checkComplete(addressBlock(context.peer.address));
      const next = nextPartOf(requests);
      const first = await next();
      if (first?.case !== 'proof') throw invalid('part', 'the first message is the proof');
      const { value } = first;
      const enrolled = await completeEnrollment(complete, {
        proof: {
          ...evidenceFromProto(value, 'proof'),
          token: bytes(value.token, 'proof.token', { min: 1, max: MAX_TOKEN }),
          hmac: bytes(value.hmac, 'proof.hmac', { min: 32, max: 32 }),
        },
        caller: callerOf(access, context),
        nextChunk: () => nextChunk(next),
      });
      return {
        host: hostToProto(enrolled.host),
        akCertificate: enrolled.akCertificate,
        clientCertificate: enrolled.clientCertificate,
        authorityCertificate,
        hmac: enrolled.hmac,
        serviceCertificate: enrolled.serviceCertificate,
        signature: enrolled.signature,
        replacementPending: enrolled.replacementPending,
      };
    },
  };
}

function callerOf(access: Access, context: Context): EnrollmentCaller {
  const { certificate, tlsKeySha256 } = context.peer;
  const caller = access.caller(context);
  return {
    tlsKeySha256: tlsKeySha256 ?? null,
    tlsPublicKey:
      certificate === undefined
        ? null
        : new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' }),
    hostId: caller.kind === 'host' ? caller.hostId : '',
  };
}
