import { childQualifiedName, objectName } from '../../tpm/crypto/name.ts';
import type { EndorsementVerdict } from '../endorsement/endorsements.ts';
import type { AkRecord, EkRecord } from '../store/records.ts';
import type { EnrollInput } from '../store/store.ts';
import type { SoundEk } from './ek-rules.ts';
import { parentOf } from './prove.ts';
import type { ProvenEnrollment } from './prove.ts';

/** How long after its challenge an enrolment may still be written, milliseconds: the logs take their time. */
export const COMPLETION_TIME = 120_000;
/** An enrolment id is remembered this long after its challenge: it is worth nothing before it is forgotten. */
const REMEMBER = 10 * 60_000;

/** What a proven enrolment leaves in the store, besides what the admission decides. */
export function recordsOf(
  { state, proof, evidence, ak, eks, callerHostId }: ProvenEnrollment,
  verdict: EndorsementVerdict,
  akCertificate: Buffer,
): Omit<EnrollInput, 'hostId' | 'admission' | 'state' | 'logs' | 'expected' | 'epochs' | 'actor' | 'maxPendingHosts'> {
  const parent = parentOf(eks, state);
  const records = eks.map((ek, index) => ekRecord(ek, verdict.certificates[index] ?? null));
  const parentRecord = records[state.parentIndex];
  const akRecord: AkRecord = {
    name: objectName(ak).toString('hex'),
    qualifiedName: childQualifiedName(ak, parent.qualifiedName).toString('hex'),
    publicArea: ak.raw.toString('hex'),
    certificate: akCertificate.toString('hex'),
  };
  const { clockInfo } = evidence.quote;
  return {
    enrollmentId: state.enrollmentId.toString('hex'),
    completeBefore: state.expireMillis + COMPLETION_TIME,
    forgetAfter: state.expireMillis + REMEMBER,
    eks: parentRecord === undefined ? records : [parentRecord, ...records.filter((record) => record !== parentRecord)],
    ak: akRecord,
    tlsKeySha256: state.tlsKeySha256.toString('hex'),
    callerHostId,
    claimed: { ...proof.facts },
    clock: {
      clock: String(clockInfo.clock),
      resetCount: clockInfo.resetCount,
      restartCount: clockInfo.restartCount,
      safe: clockInfo.safe,
    },
    banks: evidence.banks.map(({ hash, pcrs }) => ({ algorithm: hash, pcrs })),
    banksProven: evidence.banksProven,
    unreadable: proof.logs
      .filter(({ unreadable }) => unreadable !== '')
      .map(({ kind, unreadable }) => ({ kind, reason: unreadable })),
  };
}

function ekRecord(ek: SoundEk, certificate: EndorsementVerdict['certificates'][number]): EkRecord {
  const verified = certificate?.status === 'verified' ? certificate : null;
  return {
    fingerprint: ek.fingerprint,
    publicArea: ek.publicArea.toString('hex'),
    algorithm: ek.algorithm,
    certificate: ek.certificate.toString('hex'),
    chain: ek.chain.map((each) => each.toString('hex')),
    certified: verified !== null,
    manufacturer: verified?.claims.manufacturer ?? '',
    model: verified?.claims.model ?? '',
    deviations: [...new Set(verified?.deviations.map(({ code }) => code))],
  };
}
