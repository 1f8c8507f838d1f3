import { CodecError } from '../codec/codec-error.ts';
import { type PublicArea, decodeSizedPublicArea, encodeSizedPublicArea } from '../structures/public-area.ts';
import { TpmError } from './tpm-error.ts';
import { ESYS_TR, type EsysHandle, NumberOut, StructureIn, StructureOut, type Tss } from './tss.ts';

const { NONE, PASSWORD, RH_ENDORSEMENT } = ESYS_TR;

/** TPM2B_SENSITIVE_CREATE with neither authorisation value nor data (Part 2 §11.1.16). */
export const EMPTY_SENSITIVE = new StructureIn('TPM2B_SENSITIVE_CREATE', Buffer.from('000400000000', 'hex'));
export const EMPTY_DATA = new StructureIn('TPM2B_DATA', Buffer.alloc(2));
/** A TPML_PCR_SELECTION of no bank. */
export const NO_PCRS = new StructureIn('TPML_PCR_SELECTION', Buffer.alloc(4));

/** TPM2_ReadPublic (Part 3 §12.4). */
export interface ObjectPublic {
  readonly publicArea: PublicArea;
  readonly name: Buffer;
  readonly qualifiedName: Buffer;
}

export async function readPublic(tss: Tss, handle: EsysHandle): Promise<ObjectPublic> {
  const outPublic = new StructureOut('TPM2B_PUBLIC');
  const name = new StructureOut('TPM2B_NAME');
  const qualifiedName = new StructureOut('TPM2B_NAME');
  await tss.call('Esys_ReadPublic', handle, NONE, NONE, NONE, outPublic, name, qualifiedName);
  return {
    publicArea: decodePublicAnswer(outPublic.wire),
    name: name.content,
    qualifiedName: qualifiedName.content,
  };
}

/**
 * Lends a primary key of the endorsement hierarchy, flushed afterwards (TPM2_CreatePrimary, Part 3 §24.1). It is the
 * same key whenever the template is the same and the endorsement seed is.
 * @throws TpmError `HIERARCHY_AUTH`; `REFUSED` if the TPM cannot make such a key
 */
export async function withPrimary<T>(
  tss: Tss,
  template: PublicArea,
  use: (handle: EsysHandle, publicArea: PublicArea) => Promise<T>,
): Promise<T> {
  const handle = new NumberOut();
  const outPublic = new StructureOut('TPM2B_PUBLIC');
  const inPublic = new StructureIn('TPM2B_PUBLIC', encodeSizedPublicArea(template));
  await tss.call(
    'Esys_CreatePrimary',
    RH_ENDORSEMENT,
    PASSWORD,
    NONE,
    NONE,
    EMPTY_SENSITIVE,
    inPublic,
    EMPTY_DATA,
    NO_PCRS,
    handle,
    outPublic,
    null,
    null,
    null,
  );
  return tss.flushAfter(handle.value, (loaded) => use(loaded, decodePublicAnswer(outPublic.wire)));
}

/** @throws TpmError `UNSUPPORTED` for an object of a kind that this project does not read */
export function decodePublicAnswer(wire: Buffer): PublicArea {
  try {
    return decodeSizedPublicArea(wire);
  } catch (cause) {
    if (!(cause instanceof CodecError)) throw cause;
    throw new TpmError('UNSUPPORTED', `the object's public area is not supported: ${cause.message}`, { cause });
  }
}
