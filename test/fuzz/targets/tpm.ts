import { bankProofBinding } from '../../../proto/transcript.ts';
import { CodecError } from '../../../tpm/codec/codec-error.ts';
import { decode, encode } from '../../../tpm/codec/structure.ts';
import type { Structure } from '../../../tpm/codec/structure.ts';
import { TpmCryptoError } from '../../../tpm/crypto/crypto-error.ts';
import { makeCredential } from '../../../tpm/crypto/make-credential.ts';
import { signingKeyOf } from '../../../tpm/crypto/verify-signature.ts';
import { storedCertificate, storedChain } from '../../../tpm/device/stored-certificate.ts';
import { TPMS_CAPABILITY_DATA } from '../../../tpm/structures/capability.ts';
import { TPM2B_ENCRYPTED_SECRET, TPM2B_ID_OBJECT } from '../../../tpm/structures/credential.ts';
import { decodeAttest } from '../../../tpm/structures/attest.ts';
import { TPM2B_PUBLIC, TPMT_PUBLIC } from '../../../tpm/structures/public-area.ts';
import { TPMT_SIGNATURE } from '../../../tpm/structures/signature.ts';
import { checkAk } from '../../../server/enrollment/ak-rules.ts';
import { checkEks } from '../../../server/enrollment/ek-rules.ts';
import { EnrollmentError } from '../../../server/enrollment/enrollment-error.ts';
import { EvidenceError } from '../../../server/verifier/evidence-error.ts';
import { verifyEvidence } from '../../../server/verifier/verify-evidence.ts';
import { demandOf, makeEvidence } from '../../support/evidence-builder.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { ekCertificate } from '../../support/test-service.ts';
import { BrokenPromise, reader } from '../target.ts';
import type { Target } from '../target.ts';

const EXTRA_DATA = Buffer.alloc(32, 0xe4);

/** What is decoded is what was sent: the same value makes the same bytes again. */
function structure<T>(shape: Structure<T>, corpus: readonly Buffer[]): Target {
  return reader(corpus, [CodecError], (input) => {
    const again = encode(shape, decode(shape, input));
    if (!again.equals(input)) throw new BrokenPromise(`decoded, and encoded as ${again.toString('hex')}`);
  });
}

function sized(bytes: Buffer): Buffer {
  const size = Buffer.alloc(2);
  size.writeUInt16BE(bytes.length);
  return Buffer.concat([size, bytes]);
}

export function tpmTargets(): Readonly<Record<string, () => Target>> {
  const tpm = new SoftwareTpm({ eks: ['p256', 'rsa2048', 'p384'] });
  const aks = [tpm.createAk('ecdsa'), tpm.createAk('rsassa')];
  const ak = aks[0] ?? tpm.createAk();
  const areas = [...tpm.eks, ...aks].map(({ publicArea }) => publicArea.raw);
  const evidence = makeEvidence(tpm, ak, EXTRA_DATA);
  const { bankProof } = evidence;
  const proof = bankProof ?? { attest: Buffer.alloc(0), signature: Buffer.alloc(0), capabilityData: Buffer.alloc(0) };
  const rsaQuote = tpm.quote(aks[1] ?? ak, { extraData: EXTRA_DATA });
  const credentials = [0, 1, 2].map((index) =>
    makeCredential({ ek: tpm.ek(index).publicArea, akName: ak.name }, Buffer.alloc(32, 1), {
      random: (size) => Buffer.alloc(size, 7),
    }),
  );
  return {
    'tpmt-public': () => structure(TPMT_PUBLIC, areas),
    'tpm2b-public': () => structure(TPM2B_PUBLIC, areas.map(sized)),
    'tpmt-signature': () => structure(TPMT_SIGNATURE, [evidence.signature, rsaQuote.signature]),
    'tpms-capability-data': () => structure(TPMS_CAPABILITY_DATA, [proof.capabilityData.subarray(1)]),
    'tpm2b-id-object': () =>
      structure(
        TPM2B_ID_OBJECT,
        credentials.map(({ credentialBlob }) => credentialBlob),
      ),
    'tpm2b-encrypted-secret': () =>
      structure(
        TPM2B_ENCRYPTED_SECRET,
        credentials.map(({ encryptedSecret }) => encryptedSecret),
      ),
    'tpms-attest': () => reader([evidence.attest, proof.attest, rsaQuote.attest], [CodecError], decodeAttest),
    /** Keys that a stranger brings: decoded, judged, and a credential made for what is sound. */
    'enrolment-keys': () =>
      reader(areas, [EnrollmentError, TpmCryptoError], (input) => {
        try {
          checkAk(input);
        } catch (error) {
          if (!(error instanceof EnrollmentError)) throw error;
        }
        const [ek] = checkEks([{ publicArea: input, certificate: Buffer.alloc(0), chain: [] }]);
        if (ek !== undefined)
          makeCredential({ ek: ek.area, akName: ak.name }, Buffer.alloc(32), {
            random: (size) => Buffer.alloc(size, 7),
          });
      }),
    /** Evidence with other bytes: none but the bytes that were signed are proven. */
    evidence: () => evidenceTarget(),
    'nv-certificate': () =>
      reader([ekCertificate(tpm), Buffer.concat([Buffer.from('10010000', 'hex'), ekCertificate(tpm)])], [], (input) => {
        storedCertificate(input);
        storedChain(input);
      }),
  };
}

/** A quote and a proof of the banks in one row of bytes, each behind its length. */
function evidenceTarget(): Target {
  const tpm = new SoftwareTpm();
  const ak = tpm.createAk();
  const whole = makeEvidence(tpm, ak, EXTRA_DATA);
  const { attest, signature, bankProof } = whole;
  const bank = bankProof ?? { attest: Buffer.alloc(0), signature: Buffer.alloc(0), capabilityData: Buffer.alloc(0) };
  const original = [attest, signature, bank.capabilityData, bank.attest, bank.signature];
  const demand = demandOf(ak, EXTRA_DATA, { bankExtraData: bankProofBinding(EXTRA_DATA) });
  signingKeyOf(ak.publicArea);
  return reader([Buffer.concat(original.map(sized))], [EvidenceError], (input) => {
    const parts: Buffer[] = [];
    for (let at = 0; parts.length < 5;) {
      const length = at + 2 <= input.length ? input.readUInt16BE(at) : 0;
      parts.push(input.subarray(at + 2, at + 2 + length));
      at += 2 + length;
    }
    const [quote = attest, signed = attest, capabilityData = attest, audit = attest, auditSigned = attest] = parts;
    const outcome = verifyEvidence(
      {
        attest: quote,
        signature: signed,
        pcrValues: whole.pcrValues,
        bankProof: { capabilityData, attest: audit, signature: auditSigned },
      },
      demand,
    );
    if (!quote.equals(attest)) throw new BrokenPromise('a quote that the TPM did not sign is proven');
    const proven = outcome.kind === 'verified' && outcome.evidence.banksProven;
    if (proven && !(capabilityData.equals(bank.capabilityData) && audit.equals(bank.attest)))
      throw new BrokenPromise('banks that the TPM did not sign are proven');
  });
}
