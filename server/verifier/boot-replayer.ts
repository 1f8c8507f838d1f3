import { Worker } from 'node:worker_threads';

import type { BootRecord } from '../store/records.ts';
import type { BootLogs } from './boot-record.ts';
import { verifyBoot } from './verify-boot.ts';
import type { BootOutcome } from './verify-boot.ts';

/** Null where the logs are not those of the record. */
export type ReplayBoot = (record: BootRecord, logs: BootLogs) => Promise<BootOutcome | null> | BootOutcome | null;

/** As it travels to the thread, and back. */
export interface ReplayCall {
  readonly record: BootRecord;
  readonly logs: BootLogs;
}

export interface ReplayAnswer {
  readonly outcome: BootOutcome | null;
}

interface Job extends ReplayCall {
  readonly bytes: number;
  readonly resolve: (outcome: BootOutcome | null) => void;
  readonly reject: (error: Error) => void;
}

/** Bytes of logs that are replayed at once where they came: some 650 of the smallest events, a few milliseconds. */
const SHORT = 32 * 1024;

/**
 * Replays boot logs in a thread of its own, so that a log of thousands of events holds nobody else up. The shortest that waits comes
 * first: logs as machines write them are not kept waiting by those that somebody made to be long.
 */
export class BootReplayer implements AsyncDisposable {
  #worker: Worker | null = null;
  #running: Job | null = null;
  #closed = false;
  readonly #waiting: Job[] = [];
  readonly #short: number;

  /** `short`: bytes of logs that need no thread. */
  constructor({ short = SHORT } = {}) {
    this.#short = short;
  }

  readonly replay: ReplayBoot = (record, logs) => {
    const bytes = (logs.boot?.byteLength ?? 0) + (logs.userspace?.byteLength ?? 0);
    if (bytes <= this.#short) return verifyBoot(record, logs);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ record, logs, bytes, resolve, reject });
      this.#next();
    });
  };

  async [Symbol.asyncDispose](): Promise<void> {
    const worker = this.#worker;
    this.#closed = true;
    this.#worker = null;
    this.#end(new Error('the service is stopping'));
    await worker?.terminate();
  }

  #next(): void {
    if (this.#running !== null) return;
    const [job] = this.#waiting.toSorted((left, right) => left.bytes - right.bytes);
    if (job === undefined) return;
    this.#waiting.splice(this.#waiting.indexOf(job), 1);
    if (this.#closed) return job.reject(new Error('the service is stopping'));
    this.#running = job;
    const boot = copyOf(job.logs.boot);
    const userspace = copyOf(job.logs.userspace);
    const call: ReplayCall = { record: job.record, logs: { boot, userspace } };
    this.#thread().postMessage(
      call,
      [boot, userspace].flatMap((copy) => (copy === null ? [] : [copy.buffer])),
    );
  }

  #thread(): Worker {
    if (this.#worker !== null) return this.#worker;
    // The emitted package holds .js where a checkout holds .ts.
    const file = import.meta.url.endsWith('.ts') ? './boot-worker.ts' : './boot-worker.js';
    const worker = new Worker(new URL(file, import.meta.url), { name: 'boot logs' });
    this.#worker = worker;
    const fail = (cause: unknown): void => {
      if (this.#worker !== worker) return;
      this.#worker = null;
      this.#end(new Error('a boot log could not be replayed', { cause }));
    };
    worker.on('message', ({ outcome }: ReplayAnswer) => {
      const job = this.#running;
      this.#running = null;
      job?.resolve(outcome === null ? null : revived(outcome));
      this.#next();
    });
    worker.on('messageerror', fail);
    worker.on('error', fail);
    worker.on('exit', fail);
    // Nobody stays for a log.
    worker.unref();
    return worker;
  }

  /** The call that ran has failed; those that wait have a thread of their own again. */
  #end(error: Error): void {
    const job = this.#running;
    this.#running = null;
    job?.reject(error);
    if (!this.#closed) return this.#next();
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
  }
}

/** Of these bytes alone, whatever they are a part of; it goes to the thread. */
function copyOf(bytes: Uint8Array | null): Uint8Array<ArrayBuffer> | null {
  return bytes === null ? null : new Uint8Array(bytes);
}

/** Buffers come back as plain arrays of bytes. */
function revived(outcome: BootOutcome): BootOutcome {
  if (outcome.kind !== 'verified') return outcome;
  const { boot } = outcome;
  const bootAggregates = new Map(
    [...boot.bootAggregates].map(([bank, { pcr0To7, pcr0To9 }]) => [
      bank,
      { pcr0To7: bufferOf(pcr0To7), pcr0To9: bufferOf(pcr0To9) },
    ]),
  );
  return { kind: 'verified', boot: { ...boot, bootAggregates } };
}

function bufferOf(bytes: Uint8Array | undefined): Buffer | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
