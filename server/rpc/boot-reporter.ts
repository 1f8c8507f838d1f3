import { Worker } from 'node:worker_threads';

import { StatusError } from '../../proto/status.ts';
import { Turns } from '../attestation/turns.ts';
import { bootKey } from '../verifier/boot-record.ts';
import { readBootLogs } from '../verifier/verify-boot.ts';
import { describeBoot } from './describe-boot.ts';
import type { BootPage } from './describe-boot.ts';

/** Bytes of logs that are read where they are: some 650 of the smallest events, a few milliseconds. */
const SHORT = 32 * 1024;
/** Reports that are made or wait: of one caller, and of all. */
const MAX_OF_CALLER = 4;
const MAX_AT_ONCE = 32;
/** After so long without a report the thread ends, and with it what it holds of the last log, milliseconds. */
const IDLE = 30_000;

/** The logs of a boot in memory of their own, which may be given away. */
export interface OwnLogs {
  readonly boot: Uint8Array<ArrayBuffer> | null;
  readonly userspace: Uint8Array<ArrayBuffer> | null;
}

/** As it travels to the thread: without logs where it holds those of the page. */
export interface ReportCall {
  readonly page: BootPage;
  readonly logs: OwnLogs | null;
}

export interface ReportAnswer {
  /** Null where the logs are not those of the record. */
  readonly report: Uint8Array<ArrayBuffer> | null;
}

/** While it is held nobody else's report is made. */
export interface ReportTurn extends Disposable {
  /** The bytes of a page; null where what `readLogs` gives are not the logs of its record. */
  report(page: BootPage, readLogs: () => Promise<OwnLogs>): Promise<Uint8Array<ArrayBuffer> | null>;
}

/**
 * Makes reports of boots, one after another, those on long logs in a thread of its own: it reads a log once for the pages of a report,
 * and nobody's round waits for it.
 */
export class BootReporter implements AsyncDisposable {
  readonly #turns = new Turns(1);
  readonly #short: number;
  readonly #idleTime: number;
  readonly #callers = new Map<string, number>();
  #taken = 0;
  #worker: Worker | null = null;
  #asked: { readonly resolve: (answer: ReportAnswer) => void; readonly reject: (error: Error) => void } | null = null;
  /** Of the boot whose log the thread holds. */
  #held = '';
  #idle: NodeJS.Timeout | null = null;
  #closed = false;

  /** `short`: bytes of logs that need no thread. `idle`: how long that waits for the next report. */
  constructor({ short = SHORT, idle = IDLE } = {}) {
    this.#short = short;
    this.#idleTime = idle;
  }

  /** Waits for a turn. Throws REPORT_BUSY where the caller has enough reports under way, or all have. */
  async take(caller: string): Promise<ReportTurn> {
    const own = this.#callers.get(caller) ?? 0;
    if (own >= MAX_OF_CALLER || this.#taken >= MAX_AT_ONCE) throw busy(own >= MAX_OF_CALLER);
    this.#callers.set(caller, own + 1);
    this.#taken += 1;
    const turn = await this.#turns.take(caller);
    if (this.#idle !== null) clearTimeout(this.#idle);
    return {
      report: (page, readLogs) => this.#report(page, readLogs),
      [Symbol.dispose]: () => {
        this.#leave(caller);
        this.#idle = setTimeout(() => void this.#endThread(), this.#idleTime).unref();
        turn[Symbol.dispose]();
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    if (this.#idle !== null) clearTimeout(this.#idle);
    await this.#endThread();
  }

  #leave(caller: string): void {
    this.#taken -= 1;
    const left = (this.#callers.get(caller) ?? 0) - 1;
    if (left > 0) this.#callers.set(caller, left);
    else this.#callers.delete(caller);
  }

  async #report(page: BootPage, readLogs: () => Promise<OwnLogs>): Promise<Uint8Array<ArrayBuffer> | null> {
    const { bootLog, userspaceLog } = page.record;
    if (bootLog.size + userspaceLog.size <= this.#short) {
      const reading = readBootLogs(page.record, await readLogs());
      return reading === null ? null : describeBoot(page, reading);
    }
    const key = bootKey(page.record);
    const logs = key === this.#held ? null : await readLogs();
    this.#held = '';
    const { report } = await this.#ask({ page, logs });
    if (report !== null) this.#held = key;
    return report;
  }

  #ask(call: ReportCall): Promise<ReportAnswer> {
    if (this.#closed) throw new Error('the service is stopping');
    const { boot = null, userspace = null } = call.logs ?? {};
    return new Promise((resolve, reject) => {
      this.#asked = { resolve, reject };
      this.#thread().postMessage(
        call,
        [boot, userspace].flatMap((log) => (log === null ? [] : [log.buffer])),
      );
    });
  }

  #thread(): Worker {
    if (this.#worker !== null) return this.#worker;
    // The emitted package holds .js where a checkout holds .ts.
    const file = import.meta.url.endsWith('.ts') ? './boot-report-worker.ts' : './boot-report-worker.js';
    const worker = new Worker(new URL(file, import.meta.url), { name: 'boot reports' });
    this.#worker = worker;
    const fail = (cause: unknown): void => {
      if (this.#worker !== worker) return;
      this.#forget(new Error('a report of a boot could not be made', { cause }));
    };
    worker.on('message', (answer: ReportAnswer) => {
      const asked = this.#asked;
      this.#asked = null;
      asked?.resolve(answer);
    });
    worker.on('messageerror', fail);
    worker.on('error', fail);
    worker.on('exit', fail);
    // Nobody stays for a report.
    worker.unref();
    return worker;
  }

  async #endThread(): Promise<void> {
    const worker = this.#worker;
    this.#forget(new Error('the service is stopping'));
    await worker?.terminate();
  }

  /** The thread is gone, with what it held and what was asked of it. */
  #forget(error: Error): void {
    const asked = this.#asked;
    this.#worker = null;
    this.#asked = null;
    this.#held = '';
    asked?.reject(error);
  }
}

function busy(own: boolean): StatusError {
  return new StatusError({
    code: 'RESOURCE_EXHAUSTED',
    reason: 'REPORT_BUSY',
    message: own ? 'enough reports for this identity are being made already' : 'enough reports are being made already',
    retryAfterMillis: 1_000,
  });
}
