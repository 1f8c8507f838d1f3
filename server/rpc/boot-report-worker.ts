import { parentPort } from 'node:worker_threads';

import { readBootLogs } from '../verifier/verify-boot.ts';
import type { ReportAnswer, ReportCall } from './boot-reporter.ts';
import { describeBoot } from './describe-boot.ts';

/** The thread that reads long boot logs for reports. It holds the last one, for the next page of the same report. */
const port = parentPort;
if (port === null) throw new TypeError('this file runs as a worker thread');

let held: ReturnType<typeof readBootLogs> = null;

port.on('message', ({ page, logs }: ReportCall) => {
  // What a log holds never throws; what does ends the thread, and the call with it.
  if (logs !== null) held = readBootLogs(page.record, logs);
  const report = held === null ? null : describeBoot(page, held);
  const answer: ReportAnswer = { report };
  port.postMessage(answer, report === null ? [] : [report.buffer]);
});
