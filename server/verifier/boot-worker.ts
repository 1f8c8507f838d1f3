import { parentPort } from 'node:worker_threads';

import type { ReplayAnswer, ReplayCall } from './boot-replayer.ts';
import { verifyBoot } from './verify-boot.ts';

/** The thread that replays long boot logs: one after another, while rounds of other hosts go on. */
const port = parentPort;
if (port === null) throw new TypeError('this file runs as a worker thread');

port.on('message', ({ record, logs }: ReplayCall) => {
  // What a log holds never throws; what does ends the thread, and the call with it.
  const answer: ReplayAnswer = { outcome: verifyBoot(record, logs) };
  port.postMessage(answer);
});
