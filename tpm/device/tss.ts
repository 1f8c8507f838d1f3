import { setTimeout as delay } from 'node:timers/promises';

import koffi from 'koffi';

import { type EsysCommand, type NativeFunction, type StructureType, type TssLibrary, loadLibrary } from './library.ts';
import { decodeResponseCode } from './response-code.ts';
import { checkTctiName, explainUnreachable } from './tcti.ts';
import { TpmError, errorOfResponse, isRetryable } from './tpm-error.ts';

/** ESYS_TR constants (`tss2_esys.h`). */
export const ESYS_TR = {
  NONE: 0xfff,
  PASSWORD: 0x0ff,
  RH_OWNER: 0x101,
  RH_ENDORSEMENT: 0x10b,
} as const;

/** An ESYS_TR: tpm2-tss' own handle of a TPM object, session or NV index. */
export type EsysHandle = number;

/** Larger than any structure of `StructureType` in any release of tpm2-tss. */
const NATIVE_SIZE = 8192;
const RETRY_LIMIT = 12;
const RETRY_FIRST_MS = 5;
const RETRY_LONGEST_MS = 500;

/** A structure passed to a command. @param wire its TPM encoding, size field included for a TPM2B */
export class StructureIn {
  readonly type: StructureType;
  readonly wire: Buffer;

  constructor(type: StructureType, wire: Buffer) {
    this.type = type;
    this.wire = wire;
  }
}

/** A structure that a command returns; `wire` has its TPM encoding once the call is done. */
export class StructureOut {
  readonly type: StructureType;
  wire: Buffer = Buffer.alloc(0);

  constructor(type: StructureType) {
    this.type = type;
  }

  /** The content of a TPM2B: what follows its size field. */
  get content(): Buffer {
    return this.wire.subarray(2);
  }
}

/** A handle or a number of at most 32 bits that a command returns; `value` is what it finds there before. */
export class NumberOut {
  value: number;

  constructor(value = 0) {
    this.value = value;
  }
}

/** `null` passes NULL: an optional input left out, or an output that nobody wants. */
export type Argument = number | null | StructureIn | StructureOut | NumberOut;

/**
 * One ESYS context over one TCTI context.
 *
 * A context takes one command at a time (concurrent calls end in BAD_SEQUENCE at best), and what an operation loads
 * takes slots that the next one needs, so whole operations are serialised: `call` is for use inside `exclusively`.
 */
export class Tss {
  readonly #library: TssLibrary;
  readonly #tcti: Buffer;
  readonly #esys: Buffer;
  readonly #context: unknown;
  readonly #loaded = new Set<EsysHandle>();
  #queue: Promise<unknown> = Promise.resolve();
  #failure: TpmError | undefined;
  #closing: Promise<void> | undefined;
  #calling = false;

  private constructor(library: TssLibrary, tcti: Buffer, esys: Buffer) {
    this.#library = library;
    this.#tcti = tcti;
    this.#esys = esys;
    this.#context = koffi.decode(esys, 'void *');
  }

  /**
   * Connects to a TPM.
   * @throws TpmError `INVALID_TCTI`, `LIBRARY_MISSING`, `UNREACHABLE`
   */
  static async open(tctiName: string): Promise<Tss> {
    const library = loadLibrary();
    checkTctiName(tctiName);
    const tcti = pointerSlot();
    const opened = await callAsync(library.initializeTcti, [tctiName, tcti]);
    if (opened !== 0) {
      const { message, cause } = explainUnreachable(tctiName);
      throw new TpmError('UNREACHABLE', message, {
        operation: 'Tss2_TctiLdr_Initialize',
        response: decodeResponseCode(opened),
        cause,
      });
    }
    const esys = pointerSlot();
    const initialized = await callAsync(library.esys.Esys_Initialize, [esys, koffi.decode(tcti, 'void *'), null]);
    if (initialized !== 0) {
      library.finalizeTcti(tcti);
      throw failureOf(library, 'Esys_Initialize', initialized);
    }
    return new Tss(library, tcti, esys);
  }

  /** Runs an operation after all that were asked for before it, alone on the context. */
  exclusively<T>(operation: () => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) return Promise.reject(new TpmError('CLOSED', 'the TPM was closed'));
    const result = this.#queue.then(operation);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /**
   * Calls one ESYS function; retries what the TPM asks to retry, within bounds.
   * Once the connection is lost, or an answer did not verify, every call fails alike: ESYS cannot go on from there.
   * @throws TpmError
   */
  async call(name: EsysCommand, ...args: readonly Argument[]): Promise<void> {
    if (this.#calling) throw new TypeError('call() outside of exclusively()');
    if (this.#failure !== undefined) throw this.#failure;
    this.#calling = true;
    try {
      await this.#callWithRetry(name, args);
    } finally {
      this.#calling = false;
    }
  }

  /** Notes a loaded object or session, so that `close` unloads what its owner did not. */
  track(handle: EsysHandle): EsysHandle {
    this.#loaded.add(handle);
    return handle;
  }

  /** TPM2_FlushContext (Part 3 §28.4) of a tracked object or session. */
  async flush(handle: EsysHandle): Promise<void> {
    this.#loaded.delete(handle);
    await this.call('Esys_FlushContext', handle);
  }

  /**
   * Lends a loaded object or session and unloads it afterwards, whatever happens. If the use itself failed, that
   * error is the one to see.
   */
  async flushAfter<T>(handle: EsysHandle, use: (handle: EsysHandle) => Promise<T>): Promise<T> {
    this.track(handle);
    let result: T;
    try {
      result = await use(handle);
    } catch (error) {
      await this.flush(handle).catch(() => undefined);
      throw error;
    }
    await this.flush(handle);
    return result;
  }

  /**
   * Forgets the ESYS_TR of a persistent object or NV index. No command is sent, and the handle is of no use to anybody
   * after a lost connection, so nothing here fails.
   */
  async release(handle: EsysHandle): Promise<void> {
    await this.call('Esys_TR_Close', new NumberOut(handle)).catch(() => undefined);
  }

  /** Ends the connection after the operations under way; unloads what is still loaded. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#queue.then(async () => {
      for (const handle of this.#loaded) {
        await this.flush(handle).catch(() => undefined);
      }
      await callAsync(this.#library.esys.Esys_Finalize, [this.#esys]);
      await callAsync(this.#library.finalizeTcti, [this.#tcti]);
    });
    return this.#closing;
  }

  async #callWithRetry(name: EsysCommand, args: readonly Argument[]): Promise<void> {
    let pause = RETRY_FIRST_MS;
    for (let attempt = 1; ; attempt += 1) {
      const value = await this.#callOnce(name, args);
      if (value === 0) return;
      if (!isRetryable(decodeResponseCode(value)) || attempt === RETRY_LIMIT) {
        const error = failureOf(this.#library, name, value, hierarchyOf(args[0]));
        if (error.code === 'UNREACHABLE' || error.code === 'LIBRARY_FAILURE') this.#failure = error;
        throw error;
      }
      await delay(pause);
      pause = Math.min(pause * 2, RETRY_LONGEST_MS);
    }
  }

  /** @returns the TSS2_RC; outputs are filled, and their C memory freed, when it is 0 */
  async #callOnce(name: EsysCommand, args: readonly Argument[]): Promise<number> {
    const natives = args.map((argument) => this.#toNative(argument));
    const value = await callAsync(this.#library.esys[name], [this.#context, ...natives]);
    if (value !== 0) return value;
    const outputs: { readonly output: StructureOut; readonly pointer: unknown }[] = [];
    for (const [index, argument] of args.entries()) {
      const slot = natives[index];
      if (!Buffer.isBuffer(slot)) continue;
      if (argument instanceof NumberOut) argument.value = slot.readUInt32LE(0);
      if (argument instanceof StructureOut) outputs.push({ output: argument, pointer: koffi.decode(slot, 'void *') });
    }
    try {
      for (const { output, pointer } of outputs) output.wire = this.#marshal(output.type, pointer);
    } finally {
      for (const { pointer } of outputs) this.#library.esys.Esys_Free(pointer);
    }
    return 0;
  }

  #toNative(argument: Argument): number | null | Buffer {
    if (argument instanceof StructureIn) return this.#unmarshal(argument.type, argument.wire);
    if (argument === null || typeof argument === 'number') return argument;
    const slot = pointerSlot();
    if (argument instanceof NumberOut) slot.writeUInt32LE(argument.value);
    return slot;
  }

  #unmarshal(type: StructureType, wire: Buffer): Buffer {
    const native = Buffer.alloc(NATIVE_SIZE);
    const offset = Buffer.alloc(8);
    const value = this.#library.unmarshal(type)(wire, wire.length, offset, native);
    if (value !== 0 || offset.readBigUInt64LE(0) !== BigInt(wire.length)) {
      const response = decodeResponseCode(Number(value));
      throw new TpmError('MALFORMED', `the bytes given are no ${type}`, {
        operation: `Tss2_MU_${type}_Unmarshal`,
        ...(value === 0 ? {} : { response }),
      });
    }
    return native;
  }

  #marshal(type: StructureType, pointer: unknown): Buffer {
    const wire = Buffer.alloc(NATIVE_SIZE);
    const offset = Buffer.alloc(8);
    const value = Number(this.#library.marshal(type)(pointer, wire, wire.length, offset));
    if (value !== 0) throw failureOf(this.#library, `Tss2_MU_${type}_Marshal`, value);
    return Buffer.from(wire.subarray(0, Number(offset.readBigUInt64LE(0))));
  }
}

function pointerSlot(): Buffer {
  return Buffer.alloc(8);
}

function failureOf(
  library: TssLibrary,
  operation: string,
  value: number,
  hierarchy?: 'owner' | 'endorsement',
): TpmError {
  const text = String(library.decodeResponse(value));
  return errorOfResponse(decodeResponseCode(value), {
    operation,
    text,
    ...(hierarchy === undefined ? {} : { hierarchy }),
  });
}

function hierarchyOf(firstHandle: Argument | undefined): 'owner' | 'endorsement' | undefined {
  if (firstHandle === ESYS_TR.RH_OWNER) return 'owner';
  return firstHandle === ESYS_TR.RH_ENDORSEMENT ? 'endorsement' : undefined;
}

/** Arguments of calls under way: C holds their addresses, which the garbage collector does not see. */
const inFlight = new Set<readonly unknown[]>();

function callAsync(native: NativeFunction, args: readonly unknown[]): Promise<number> {
  return new Promise((resolve, reject) => {
    inFlight.add(args);
    native.async(...args, (error: unknown, result: unknown) => {
      inFlight.delete(args);
      if (error === null || error === undefined) resolve(Number(result ?? 0));
      else reject(new TypeError('a native call could not be made', { cause: error }));
    });
  });
}
