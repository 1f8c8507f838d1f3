import { constants as fsConstants, accessSync } from 'node:fs';

import { openShared } from './library.ts';
import { TpmError } from './tpm-error.ts';

/** One row per TCTI (TSS 2.0 TCTI specification): its library and the Debian package that has it. */
const TCTIS: ReadonlyMap<string, { readonly soname: string; readonly debianPackage: string }> = new Map([
  ['device', { soname: 'libtss2-tcti-device.so.0', debianPackage: 'libtss2-tcti-device0' }],
  ['swtpm', { soname: 'libtss2-tcti-swtpm.so.0', debianPackage: 'libtss2-tcti-swtpm0' }],
  ['mssim', { soname: 'libtss2-tcti-mssim.so.0', debianPackage: 'libtss2-tcti-mssim0' }],
  ['tabrmd', { soname: 'libtss2-tcti-tabrmd.so.0', debianPackage: 'libtss2-tcti-tabrmd0' }],
]);

const MAX_NAME_LENGTH = 512;

/**
 * Checks a TCTI name such as `device:/dev/tpmrm0` or `swtpm:host=127.0.0.1,port=2321`, and that its library is there:
 * the loader itself answers a missing library and a missing TPM alike.
 * @throws TpmError `INVALID_TCTI`, `LIBRARY_MISSING`
 */
export function checkTctiName(name: string): void {
  const kind = name.split(':', 1)[0] ?? '';
  const row = TCTIS.get(kind);
  if (row === undefined || name.length > MAX_NAME_LENGTH || name.includes('\0')) {
    throw new TpmError('INVALID_TCTI', `the TCTI name must begin with one of ${[...TCTIS.keys()].join(', ')}`);
  }
  openShared(row.soname, row.debianPackage);
}

/** Why a TCTI could not be opened, in words; the loader's code is the same for all reasons. */
export function explainUnreachable(name: string): { readonly message: string; readonly cause?: unknown } {
  const separator = name.indexOf(':');
  const path = name.startsWith('device') && separator !== -1 ? name.slice(separator + 1) : undefined;
  if (path !== undefined && path !== '') {
    try {
      accessSync(path, fsConstants.R_OK | fsConstants.W_OK);
    } catch (cause) {
      return { message: `the TPM device ${path} cannot be opened for reading and writing`, cause };
    }
  }
  return { message: `no TPM answers at ${name}` };
}
