import { constants as fsConstants, accessSync } from 'node:fs';

import { openShared } from './library.ts';
import { TpmError } from './tpm-error.ts';

/** The usual TCTIs (TSS 2.0 TCTI specification): library and Debian package. The loader finds any other by its name. */
const TCTIS: ReadonlyMap<string, { readonly soname: string; readonly debianPackage: string }> = new Map([
  ['device', { soname: 'libtss2-tcti-device.so.0', debianPackage: 'libtss2-tcti-device0' }],
  ['swtpm', { soname: 'libtss2-tcti-swtpm.so.0', debianPackage: 'libtss2-tcti-swtpm0' }],
  ['mssim', { soname: 'libtss2-tcti-mssim.so.0', debianPackage: 'libtss2-tcti-mssim0' }],
  ['tabrmd', { soname: 'libtss2-tcti-tabrmd.so.0', debianPackage: 'libtss2-tcti-tabrmd0' }],
]);

/** No path: the loader would take one for a library to run. */
const TCTI_KIND = /^[a-z][a-z0-9-]{0,31}$/;
const MAX_NAME_LENGTH = 512;

/**
 * Checks a TCTI name such as `device:/dev/tpmrm0` or `swtpm:host=127.0.0.1,port=2321`, and that its library is there:
 * the loader itself answers a missing library and a missing TPM alike.
 * @throws TpmError `INVALID_TCTI`, `LIBRARY_MISSING`
 */
export function checkTctiName(name: string): void {
  const kind = name.split(':', 1)[0] ?? '';
  if (!TCTI_KIND.test(kind) || name.length > MAX_NAME_LENGTH || name.includes('\0')) {
    const usual = [...TCTIS.keys()].join(', ');
    throw new TpmError('INVALID_TCTI', `the TCTI name must begin with the name of a TCTI, such as ${usual}`);
  }
  const row = TCTIS.get(kind);
  if (row === undefined) openShared(`libtss2-tcti-${kind}.so.0`, `libtss2-tcti-${kind}0`);
  else openShared(row.soname, row.debianPackage);
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
