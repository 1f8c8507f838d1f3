/**
 * Loaded into the service ahead of its own code (`node --import`): kills the process at a given occurrence of a given moment.
 * It sees those moments from outside, in what Node's own modules are asked to do, so that the service has no such hook itself.
 *
 * ASSAY_CRASH is `POINT:COUNT:DELAY`; the delay, milliseconds, is for `amid-commit` alone.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { DatabaseSync } from 'node:sqlite';
import { Duplex } from 'node:stream';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';

import { parseCrash } from './plan.ts';

const crash = parseCrash(process.env['ASSAY_CRASH'] ?? '');
let seen = 0;

function passed(point: string): boolean {
  if (crash?.point !== point) return false;
  seen += 1;
  return seen === crash.count;
}

function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

/** A thread that waits for a flag and kills so long after it: the thread that commits is in a system call by then. */
class Executioner {
  /** Released, never, ready. */
  readonly #flag = new Int32Array(new SharedArrayBuffer(12));

  constructor(delay: number) {
    const code = `
      const { flag, delay } = require('node:worker_threads').workerData;
      Atomics.store(flag, 2, 1);
      Atomics.notify(flag, 2);
      Atomics.wait(flag, 0, 0);
      if (delay > 0) Atomics.wait(flag, 1, 0, delay);
      process.kill(process.pid, 'SIGKILL');`;
    new Worker(code, { eval: true, execArgv: [], workerData: { flag: this.#flag, delay } }).unref();
    // On a machine that is busy the process might be done before its executioner has begun.
    Atomics.wait(this.#flag, 2, 0);
  }

  release(): void {
    Atomics.store(this.#flag, 0, 1);
    Atomics.notify(this.#flag, 0);
  }
}

function watchStore(): void {
  const executioner = crash?.point === 'amid-commit' ? new Executioner(crash.delay) : null;
  const exec = Object.getOwnPropertyDescriptor(DatabaseSync.prototype, 'exec')?.value as DatabaseSync['exec'];
  DatabaseSync.prototype.exec = function (this: DatabaseSync, sql: string): void {
    if (sql === 'COMMIT' && passed('before-commit')) die();
    if (sql === 'COMMIT' && passed('amid-commit')) executioner?.release();
    exec.call(this, sql);
    if (sql === 'BEGIN IMMEDIATE' && passed('begun')) die();
    if (sql === 'COMMIT' && passed('committed')) die();
  };
  if (parentPort === null) return;
  const post = parentPort.postMessage.bind(parentPort);
  parentPort.postMessage = (...args: Parameters<typeof post>): void => {
    post(...args);
    if (passed('answered')) die();
  };
}

/** Messages and trailers to callers, as they go into the streams of HTTP/2. */
function watchStreams(): void {
  const write = Object.getOwnPropertyDescriptor(Duplex.prototype, 'write')?.value as (...args: unknown[]) => boolean;
  function watched(this: Duplex, ...args: unknown[]): boolean {
    const toCaller = this.constructor.name === 'ServerHttp2Stream';
    if (toCaller && passed('before-send')) die();
    const more = write.apply(this, args);
    // Two turns of the event loop later the bytes have most likely left.
    if (toCaller && passed('sent')) setImmediate(() => setImmediate(die));
    return more;
  }
  Duplex.prototype.write = watched as typeof Duplex.prototype.write;
}

/** Files that are made once: the root key, a profile. */
function watchFiles(): void {
  const { linkSync } = fs;
  fs.linkSync = (...args): void => {
    if (passed('before-link')) die();
    linkSync(...args);
    if (passed('linked')) die();
  };
  syncBuiltinESMExports();
}

if (crash !== null) {
  if (isMainThread) {
    watchStreams();
    watchFiles();
  }
  if (!isMainThread) watchStore();
}
