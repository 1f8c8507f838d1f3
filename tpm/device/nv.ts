import { fields, sized, u16, u32 } from '../codec/structure.ts';
import { TPM2B_DIGEST } from '../structures/buffers.ts';
import { decodeAnswer } from './answer.ts';
import { TpmError } from './tpm-error.ts';
import { ESYS_TR, type EsysHandle, NumberOut, StructureOut, type Tss } from './tss.ts';

/** TPMA_NV (Part 2 §13.4). */
const TPMA_NV_OWNERREAD = 1 << 17;
const TPMA_NV_AUTHREAD = 1 << 18;
const TPMA_NV_WRITTEN = 1 << 29;

/** TPM2B_NV_PUBLIC (Part 2 §13.6). */
const TPM2B_NV_PUBLIC = sized(
  fields({ nvIndex: u32, nameAlg: u16, attributes: u32, authPolicy: TPM2B_DIGEST, dataSize: u16 }),
  256,
);

/** The smallest buffer that any TPM offers, and the largest that ESYS takes. */
const MIN_CHUNK = 64;
const MAX_CHUNK = 2048;

const { NONE, PASSWORD, RH_OWNER } = ESYS_TR;

/**
 * Reads an NV index that exists, whole (TPM2_NV_Read, Part 3 §31.13).
 * @param chunk bytes that one answer may hold, as the TPM says
 * @returns undefined if the index was never written
 * @throws TpmError `HIERARCHY_AUTH`; `UNSUPPORTED` if only a policy opens it
 */
export async function readNv(tss: Tss, index: number, chunk: number): Promise<Buffer | undefined> {
  return withTpmHandle(tss, index, async (handle) => {
    const nvPublic = new StructureOut('TPM2B_NV_PUBLIC');
    await tss.call('Esys_NV_ReadPublic', handle, NONE, NONE, NONE, nvPublic, null);
    const { attributes, dataSize } = decodeAnswer(TPM2B_NV_PUBLIC, nvPublic.wire);
    if ((attributes & TPMA_NV_WRITTEN) === 0) return undefined;
    const authorizer = readAuthorizer(attributes, handle, index);
    const step = Math.min(Math.max(chunk, MIN_CHUNK), MAX_CHUNK);
    const parts: Buffer[] = [];
    for (let offset = 0; offset < dataSize; offset += step) {
      const part = new StructureOut('TPM2B_MAX_NV_BUFFER');
      const size = Math.min(step, dataSize - offset);
      await tss.call('Esys_NV_Read', authorizer, handle, PASSWORD, NONE, NONE, size, offset, part);
      parts.push(part.content);
    }
    return Buffer.concat(parts);
  });
}

/** Lends the ESYS_TR of a persistent object or NV index; nothing is loaded into the TPM. */
export async function withTpmHandle<T>(
  tss: Tss,
  tpmHandle: number,
  use: (handle: EsysHandle) => Promise<T>,
): Promise<T> {
  const handle = new NumberOut();
  await tss.call('Esys_TR_FromTPMPublic', tpmHandle, NONE, NONE, NONE, handle);
  try {
    return await use(handle.value);
  } finally {
    await tss.release(handle.value);
  }
}

function readAuthorizer(attributes: number, handle: EsysHandle, index: number): EsysHandle {
  if ((attributes & TPMA_NV_AUTHREAD) !== 0) return handle;
  if ((attributes & TPMA_NV_OWNERREAD) !== 0) return RH_OWNER;
  throw new TpmError('UNSUPPORTED', `NV index 0x${index.toString(16)} cannot be read without a policy`);
}
