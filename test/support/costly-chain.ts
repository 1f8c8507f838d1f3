/** EK certificates that cost whoever verifies them upwards from the EK as much as may be: nobody who is trusted signed anything. */
import { BeginEnrollmentRequestSchema } from '../../proto/gen/assay/v1/enrollment_pb.ts';
import { create, toBinary } from '@bufbuild/protobuf';
import type { PresentedEk } from '../../server/enrollment/ek-rules.ts';
import { SoftwareTpm } from './software-tpm.ts';
import { commonName, ext, makeCertificate, SIGNATURE, testKey } from './test-ca.ts';
import { ekCertificate } from './test-service.ts';

const NAME = commonName('CA of the host itself');
/** A signature by this key costs most to verify. */
const key = testKey('P-521', 'costly');

/** CAs that may all have issued each other: one name, one key. */
export function costlyChain(length = 8): readonly Buffer[] {
  return Array.from({ length }, (_, index) =>
    makeCertificate({
      issuer: NAME,
      subject: NAME,
      serial: Buffer.from([index + 1]),
      notBefore: new Date('2020-01-01'),
      notAfter: new Date('2040-01-01'),
      spki: key.spki,
      extensions: [ext.ca()],
      signature: SIGNATURE.ecdsaSha512,
      signer: key.privateKey,
    }),
  );
}

/** Eight EKs, each with its own certificate by that CA and the chain. */
export function costlyEks(tpm = new SoftwareTpm({ eks: Array.from({ length: 8 }, () => 'p256' as const) })) {
  const chain = costlyChain();
  const eks: readonly PresentedEk[] = tpm.eks.map(({ publicArea }, index) => {
    const issued = { issuer: NAME, signer: key.privateKey, signature: SIGNATURE.ecdsaSha512 };
    return { publicArea: publicArea.raw, certificate: ekCertificate(tpm, index, issued), chain };
  });
  return { tpm, eks };
}

/** The request that begins an enrolment with them, as it travels. */
export function costlyBegin(): Buffer {
  const { tpm, eks } = costlyEks();
  const message = create(BeginEnrollmentRequestSchema, {
    parentIndex: 0,
    akPublicArea: tpm.createAk().publicArea.raw,
    endorsementKeys: eks.map(({ publicArea, certificate, chain }) => ({ publicArea, certificate, chain: [...chain] })),
  });
  return Buffer.from(toBinary(BeginEnrollmentRequestSchema, message));
}
