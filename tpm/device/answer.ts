import { CodecError } from '../codec/codec-error.ts';
import { type Structure, decode } from '../codec/structure.ts';
import { TpmError } from './tpm-error.ts';

/** Decodes what the TPM returned. @throws TpmError `LIBRARY_FAILURE` where it is no such structure */
export function decodeAnswer<T>(structure: Structure<T>, wire: Buffer): T {
  try {
    return decode(structure, wire);
  } catch (cause) {
    if (!(cause instanceof CodecError)) throw cause;
    throw new TpmError('LIBRARY_FAILURE', `the TPM's answer does not decode: ${cause.message}`, { cause });
  }
}
