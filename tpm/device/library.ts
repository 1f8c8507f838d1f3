import koffi, { type LibraryHandle } from 'koffi';

import { TpmError } from './tpm-error.ts';

/**
 * The shared libraries of tpm2-tss, loaded once per thread by soname.
 *
 * Every pointer is `void *` and every structure is an opaque buffer that `Tss2_MU_*` fills or reads, so no C layout
 * is written down here and none can go stale.
 */

/** A C function. `async` runs it on a thread of the pool; the arguments must outlive the call. */
export interface NativeFunction {
  (...args: readonly unknown[]): unknown;
  async(...args: readonly unknown[]): void;
}

export interface TssLibrary {
  readonly initializeTcti: NativeFunction;
  readonly finalizeTcti: NativeFunction;
  readonly decodeResponse: NativeFunction;
  readonly esys: Readonly<Record<EsysFunction, NativeFunction>>;
  /** `Tss2_MU_<type>_Marshal`. */
  marshal(type: StructureType): NativeFunction;
  /** `Tss2_MU_<type>_Unmarshal`. */
  unmarshal(type: StructureType): NativeFunction;
  /** Held so that no library is unloaded while a TCTI's function pointers point into it: see `loadLibrary`. */
  readonly handles: readonly LibraryHandle[];
}

/** Structures that cross between wire bytes and C; the TCG's names (Part 2). */
export type StructureType =
  | 'TPM2B_ATTEST'
  | 'TPM2B_AUTH'
  | 'TPM2B_DATA'
  | 'TPM2B_DIGEST'
  | 'TPM2B_ENCRYPTED_SECRET'
  | 'TPM2B_ID_OBJECT'
  | 'TPM2B_MAX_NV_BUFFER'
  | 'TPM2B_NAME'
  | 'TPM2B_NV_PUBLIC'
  | 'TPM2B_PRIVATE'
  | 'TPM2B_PUBLIC'
  | 'TPM2B_SENSITIVE_CREATE'
  | 'TPML_DIGEST'
  | 'TPML_DIGEST_VALUES'
  | 'TPML_PCR_SELECTION'
  | 'TPMS_CAPABILITY_DATA'
  | 'TPMS_TIME_INFO'
  | 'TPMT_SIGNATURE'
  | 'TPMT_SIG_SCHEME'
  | 'TPMT_SYM_DEF';

const RETURN_CODE = 'uint32_t';
const CONTEXT = 'void *';
const SESSIONS = ['uint32_t', 'uint32_t', 'uint32_t'] as const;

/** Parameter types after the ESYS context, as in `tss2_esys.h`; `ESYS_TR` is `uint32_t`. */
const ESYS_PARAMETERS = {
  Esys_TR_FromTPMPublic: ['uint32_t', ...SESSIONS, 'void *'],
  Esys_TR_Close: ['void *'],
  Esys_TRSess_SetAttributes: ['uint32_t', 'uint8_t', 'uint8_t'],
  Esys_StartAuthSession: ['uint32_t', 'uint32_t', ...SESSIONS, 'void *', 'uint8_t', 'void *', 'uint16_t', 'void *'],
  Esys_CreatePrimary: ['uint32_t', ...SESSIONS, ...repeat('void *', 9)],
  Esys_Create: ['uint32_t', ...SESSIONS, ...repeat('void *', 9)],
  Esys_Load: ['uint32_t', ...SESSIONS, 'void *', 'void *', 'void *'],
  Esys_ReadPublic: ['uint32_t', ...SESSIONS, 'void *', 'void *', 'void *'],
  Esys_ActivateCredential: ['uint32_t', 'uint32_t', ...SESSIONS, 'void *', 'void *', 'void *'],
  Esys_FlushContext: ['uint32_t'],
  Esys_Quote: ['uint32_t', ...SESSIONS, ...repeat('void *', 5)],
  Esys_PCR_Read: [...SESSIONS, 'void *', 'void *', 'void *', 'void *'],
  Esys_PCR_Extend: ['uint32_t', ...SESSIONS, 'void *'],
  Esys_GetCapability: [...SESSIONS, 'uint32_t', 'uint32_t', 'uint32_t', 'void *', 'void *'],
  Esys_GetSessionAuditDigest: ['uint32_t', 'uint32_t', 'uint32_t', ...SESSIONS, ...repeat('void *', 4)],
  Esys_ReadClock: [...SESSIONS, 'void *'],
  Esys_PolicySecret: ['uint32_t', 'uint32_t', ...SESSIONS, 'void *', 'void *', 'void *', 'int32_t', 'void *', 'void *'],
  Esys_PolicyOR: ['uint32_t', ...SESSIONS, 'void *'],
  Esys_NV_ReadPublic: ['uint32_t', ...SESSIONS, 'void *', 'void *'],
  Esys_NV_Read: ['uint32_t', 'uint32_t', ...SESSIONS, 'uint16_t', 'uint16_t', 'void *'],
} as const satisfies Record<string, readonly string[]>;

export type EsysCommand = keyof typeof ESYS_PARAMETERS;
export type EsysFunction = EsysCommand | 'Esys_Initialize' | 'Esys_Finalize' | 'Esys_Free';

/** libtss2-dev depends on every library of the core under one name in all releases; the rest change with the soname. */
const CORE_PACKAGE = 'libtss2-dev';

let loaded: TssLibrary | undefined;

/**
 * Loads tpm2-tss, or gives what is loaded.
 *
 * The handles live as long as the process: koffi closes a library once nothing refers to it or to its functions, and
 * the TCTI context in use would be left with function pointers into nowhere.
 * @throws TpmError `LIBRARY_MISSING`
 */
export function loadLibrary(): TssLibrary {
  loaded ??= bind();
  return loaded;
}

/** Loads one shared library. @throws TpmError `LIBRARY_MISSING` that names the package to install */
export function openShared(soname: string, debianPackage: string): LibraryHandle {
  try {
    return koffi.load(soname);
  } catch (cause) {
    throw new TpmError('LIBRARY_MISSING', `${soname} cannot be loaded: install the package ${debianPackage}`, {
      cause,
      debianPackage,
    });
  }
}

function bind(): TssLibrary {
  silenceLogging();
  const esys = openShared('libtss2-esys.so.0', CORE_PACKAGE);
  const mu = openShared('libtss2-mu.so.0', CORE_PACKAGE);
  const tctildr = openShared('libtss2-tctildr.so.0', CORE_PACKAGE);
  const rc = openShared('libtss2-rc.so.0', CORE_PACKAGE);
  const bound = new Map<string, NativeFunction>();
  const structureFunction = (name: string, parameters: string[]): NativeFunction => {
    const found = bound.get(name) ?? mu.func(name, RETURN_CODE, parameters);
    bound.set(name, found);
    return found;
  };
  return {
    handles: [esys, mu, tctildr, rc],
    initializeTcti: tctildr.func('Tss2_TctiLdr_Initialize', RETURN_CODE, ['str', 'void *']),
    finalizeTcti: tctildr.func('Tss2_TctiLdr_Finalize', 'void', ['void *']),
    decodeResponse: rc.func('Tss2_RC_Decode', 'str', ['uint32_t']),
    esys: bindEsys(esys),
    marshal: (type) => structureFunction(`Tss2_MU_${type}_Marshal`, ['void *', 'void *', 'size_t', 'void *']),
    unmarshal: (type) => structureFunction(`Tss2_MU_${type}_Unmarshal`, ['void *', 'size_t', 'void *', 'void *']),
  };
}

function bindEsys(esys: LibraryHandle): TssLibrary['esys'] {
  const commands = Object.entries(ESYS_PARAMETERS).map(([name, parameters]): [string, NativeFunction] => [
    name,
    esys.func(name, RETURN_CODE, [CONTEXT, ...parameters]),
  ]);
  return {
    ...(Object.fromEntries(commands) as Record<EsysCommand, NativeFunction>),
    Esys_Initialize: esys.func('Esys_Initialize', RETURN_CODE, ['void *', 'void *', 'void *']),
    Esys_Finalize: esys.func('Esys_Finalize', 'void', ['void *']),
    Esys_Free: esys.func('Esys_Free', 'void', ['void *']),
  };
}

/**
 * tpm2-tss logs to standard error unless TSS2_LOG says otherwise, and reads it at its first message. It is set in the
 * C environment, since `process.env` is a copy in worker threads; a value that the user chose stays.
 */
function silenceLogging(): void {
  koffi.load(null).func('setenv', 'int', ['str', 'str', 'int'])('TSS2_LOG', 'all+none', 0);
}

function repeat(type: 'void *', count: number): readonly 'void *'[] {
  return Array.from({ length: count }, () => type);
}
