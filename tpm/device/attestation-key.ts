import { CodecError } from '../codec/codec-error.ts';
import type { PublicArea } from '../structures/public-area.ts';
import { decodeSizedPublicArea, encodeSizedPublicArea } from '../structures/public-area.ts';
import { type EndorsementKey, withEndorsementKey } from './endorsement-key.ts';
import { EMPTY_DATA, EMPTY_SENSITIVE, NO_PCRS, decodePublicAnswer, readPublic } from './primary.ts';
import { withEkAuthorization, withHmacSession } from './session.ts';
import { AK_TEMPLATES, type AkAlgorithm } from './templates.ts';
import { TpmError } from './tpm-error.ts';
import { ESYS_TR, type EsysHandle, NumberOut, StructureIn, StructureOut, type Tss } from './tss.ts';

const { NONE } = ESYS_TR;

/** A key as it is kept outside of the TPM: only the TPM that made it, under the same EK, loads it. */
export interface AkBlobs {
  /** TPM2B_PUBLIC. */
  readonly publicBlob: Buffer;
  /** TPM2B_PRIVATE, encrypted and authenticated by the TPM. */
  readonly privateBlob: Buffer;
}

export interface CreatedAk extends AkBlobs {
  /** TPMT_PUBLIC. */
  readonly publicArea: Buffer;
}

/** A loaded key. */
export interface LoadedAk {
  readonly handle: EsysHandle;
  readonly publicArea: PublicArea;
  readonly name: Buffer;
  readonly qualifiedName: Buffer;
}

/** What TPM2_MakeCredential makes, sizes included. */
export interface SealedCredential {
  /** TPM2B_ID_OBJECT. */
  readonly credentialBlob: Buffer;
  /** TPM2B_ENCRYPTED_SECRET. */
  readonly encryptedSecret: Buffer;
}

/**
 * TPM2_Create under the EK (Part 3 §12.1), in a session salted to it: the sensitive part of the request and the private
 * blob are encrypted on the bus.
 */
export async function createAk(tss: Tss, ek: EndorsementKey, algorithm: AkAlgorithm): Promise<CreatedAk> {
  const outPrivate = new StructureOut('TPM2B_PRIVATE');
  const outPublic = new StructureOut('TPM2B_PUBLIC');
  const inPublic = new StructureIn('TPM2B_PUBLIC', encodeSizedPublicArea(AK_TEMPLATES[algorithm]));
  await withEndorsementKey(tss, ek, (parent, ekPublic) =>
    withHmacSession(tss, { tpmKey: parent, attributes: ['decrypt', 'encrypt'] }, (salted) =>
      withEkAuthorization(tss, ekPublic, (authorization) =>
        tss.call(
          'Esys_Create',
          parent,
          authorization,
          salted,
          NONE,
          EMPTY_SENSITIVE,
          inPublic,
          EMPTY_DATA,
          NO_PCRS,
          outPrivate,
          outPublic,
          null,
          null,
          null,
        ),
      ),
    ),
  );
  return {
    publicArea: decodePublicAnswer(outPublic.wire).raw,
    publicBlob: outPublic.wire,
    privateBlob: outPrivate.wire,
  };
}

/**
 * TPM2_Load under the EK (Part 3 §12.2).
 * @throws TpmError `MALFORMED`; `REFUSED` with INTEGRITY where the TPM was cleared since, or the blob is not its own
 */
export async function loadAk(tss: Tss, ek: EndorsementKey, blobs: AkBlobs): Promise<LoadedAk> {
  checkPublicBlob(blobs.publicBlob);
  const handle = new NumberOut();
  const inPrivate = new StructureIn('TPM2B_PRIVATE', blobs.privateBlob);
  const inPublic = new StructureIn('TPM2B_PUBLIC', blobs.publicBlob);
  await withEndorsementKey(tss, ek, (parent, ekPublic) =>
    withEkAuthorization(tss, ekPublic, async (authorization) => {
      await tss.call('Esys_Load', parent, authorization, NONE, NONE, inPrivate, inPublic, handle);
      tss.track(handle.value);
    }),
  );
  try {
    return { handle: handle.value, ...(await readPublic(tss, handle.value)) };
  } catch (error) {
    await tss.flush(handle.value).catch(() => undefined);
    throw error;
  }
}

/**
 * TPM2_ActivateCredential (Part 3 §12.5). The AK is authorised by a session salted to the EK that encrypts the answer,
 * so the secret never crosses the bus in clear.
 * @returns the secret
 * @throws TpmError `REFUSED` with INTEGRITY or the like where the credential is not for this EK and this AK's name
 */
export async function activateCredential(
  tss: Tss,
  ek: EndorsementKey,
  ak: EsysHandle,
  { credentialBlob, encryptedSecret }: SealedCredential,
): Promise<Buffer> {
  const secret = new StructureOut('TPM2B_DIGEST');
  const blob = new StructureIn('TPM2B_ID_OBJECT', credentialBlob);
  const seed = new StructureIn('TPM2B_ENCRYPTED_SECRET', encryptedSecret);
  await withEndorsementKey(tss, ek, (key, ekPublic) =>
    withHmacSession(tss, { tpmKey: key, attributes: ['encrypt'] }, (salted) =>
      withEkAuthorization(tss, ekPublic, (authorization) =>
        tss.call('Esys_ActivateCredential', ak, key, salted, authorization, NONE, blob, seed, secret),
      ),
    ),
  );
  return secret.content;
}

/** ESYS fails by itself on a public area that is empty or of no known type, in words that tell nothing. */
function checkPublicBlob(publicBlob: Buffer): void {
  try {
    decodeSizedPublicArea(publicBlob);
  } catch (cause) {
    if (!(cause instanceof CodecError)) throw cause;
    throw new TpmError('MALFORMED', `the bytes given are no TPM2B_PUBLIC: ${cause.message}`, { cause });
  }
}
