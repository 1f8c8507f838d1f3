import { UsageError } from '../../../client/failure.ts';
import { readAk } from '../../../client/inspect/attestation-key.ts';
import { readEkCertificateFile } from '../../../client/inspect/certificate-input.ts';
import { inspectEkCertificate } from '../../../client/inspect/ek-certificate.ts';
import { readPcrValues } from '../../../client/inspect/pcr-input.ts';
import { inspectQuote } from '../../../client/inspect/quote.ts';
import { readSignature } from '../../../client/inspect/quote-input.ts';
import { readTrustAnchors } from '../../../client/inspect/trust-anchors.ts';
import { EndorsementError } from '../../../tpm/endorsement/endorsement-error.ts';
import { subjectPublicKeyInfo } from '../../../tpm/crypto/public-key.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { makePcrSelection } from '../../../tpm/structures/pcr-selection.ts';
import { encodeSizedPublicArea } from '../../../tpm/structures/public-area.ts';
import { pcrStructures, pcrText } from '../../client/support/quote-bench.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { makeEk, makeIntermediate, makeRoot, NOW, pem, wrap } from '../../support/test-ek-pki.ts';
import { BrokenPromise, reader } from '../target.ts';
import type { Target } from '../target.ts';

/** What the offline tools read, which may come from anywhere. */
export function offlineTargets(): Readonly<Record<string, () => Target>> {
  const tpm = new SoftwareTpm({ banks: [TPM_ALG_SHA1, TPM_ALG_SHA256] });
  const aks = [tpm.createAk('ecdsa'), tpm.createAk('rsassa')];
  const ak = aks[0] ?? tpm.createAk();
  const extraData = Buffer.alloc(16, 0xe4);
  const { attest, signature } = tpm.quote(ak, { extraData });
  const akFile = { name: 'ak', bytes: encodeSizedPublicArea(ak.publicArea) };
  const selection = tpm.activeBanks.map(({ hash, pcrs }) => makePcrSelection(hash, pcrs));
  const values = Buffer.concat([...tpm.read().values()].flatMap((bank) => [...bank.values()]));
  const named = (bytes: Buffer) => ({ name: 'file', bytes });
  const trustAnchors = readTrustAnchors([named(makeRoot()), named(makeIntermediate())]);
  const ek = makeEk();
  return {
    'offline-ak': () =>
      reader(
        aks.flatMap(({ publicArea }) => {
          return [publicArea.raw, encodeSizedPublicArea(publicArea), subjectPublicKeyInfo(publicArea)];
        }),
        [UsageError],
        (input) => readAk(named(input)),
      ),
    'offline-signature': () =>
      reader([signature], [UsageError], (input) =>
        readSignature(named(input), readAk(akFile), { scheme: undefined, hash: TPM_ALG_SHA256 }),
      ),
    'offline-pcr-values': () =>
      reader([pcrStructures(tpm.read()), values, Buffer.from(pcrText(tpm.read()))], [UsageError], (input) =>
        readPcrValues(named(input), selection),
      ),
    'offline-quote': () =>
      reader([attest], [UsageError], (input) => {
        const { verified } = inspectQuote({ attest: named(input), signature: named(signature), ak: akFile, extraData });
        const isSame = input.equals(attest) || input.subarray(2).equals(attest);
        if (verified !== null && !isSame && Buffer.from(input.toString('latin1'), 'base64').equals(attest) === false) {
          throw new BrokenPromise('a quote of other bytes than those that were signed is verified');
        }
      }),
    'offline-ek-certificate': () =>
      reader(
        [
          ek,
          wrap(ek),
          Buffer.concat([ek, makeIntermediate()]),
          Buffer.from(pem('CERTIFICATE', ek)),
          Buffer.from(ek.toString('base64')),
        ],
        [EndorsementError],
        (input) => inspectEkCertificate(readEkCertificateFile(input), { trustAnchors, revocationLists: [], now: NOW }),
      ),
  };
}
