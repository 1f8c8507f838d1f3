import { subjectPublicKeyInfo } from '../../tpm/crypto/public-key.ts';
import { decodePublicArea } from '../../tpm/structures/public-area.ts';
import type { EndorsableEk } from '../endorsement/endorsements.ts';
import type { HostRecord } from '../store/records.ts';

/** The EKs of an enrolled host, as the endorsement room judges them: anew whenever anchors or inventory change. */
export function endorsableEks(host: HostRecord): readonly EndorsableEk[] {
  return host.eks.map(({ fingerprint, publicArea, certificate, chain }) => ({
    fingerprint,
    spki: subjectPublicKeyInfo(decodePublicArea(Buffer.from(publicArea, 'hex'))),
    certificate: Buffer.from(certificate, 'hex'),
    chain: chain.map((each) => Buffer.from(each, 'hex')),
  }));
}
