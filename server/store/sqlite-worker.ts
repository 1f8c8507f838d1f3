import { parentPort, workerData } from 'node:worker_threads';
import { type OpenedDatabase, openDatabase, type OpenInput } from './sqlite/open.ts';
import { toStoreError } from './sqlite/database.ts';
import { forgetHosts } from './sqlite/hosts.ts';
import { OPERATIONS } from './sqlite/operations.ts';
import { StoreError } from './store.ts';
import type { AnswerMessage, CallMessage } from './worker-link.ts';

/**
 * The thread that has the database: one call after another, each a transaction of its own. A flush to disk blocks this thread and no
 * other.
 */
const port = parentPort;
if (port === null) throw new TypeError('this file runs as a worker thread');

function answer(id: number, work: () => unknown): AnswerMessage {
  try {
    return { id, ok: true, value: work() };
  } catch (error) {
    // What a broken transaction had read of its own writes is not in the database. Refusals come before any write.
    if (!(error instanceof StoreError)) forgetHosts();
    const { code, message } = toStoreError(error);
    return { id, ok: false, code, message };
  }
}

let opened: OpenedDatabase | null = null;

port.postMessage(
  answer(0, () => {
    opened = openDatabase(workerData as OpenInput);
    const { incarnation, deployment, clockMark } = opened;
    return { incarnation, deployment, clockMark };
  }),
);

port.on('message', ({ id, method, args, now }: CallMessage) => {
  port.postMessage(
    answer(id, () => {
      if (method === 'close') {
        opened?.close();
        return null;
      }
      const operation = OPERATIONS.get(method);
      if (operation === undefined || opened === null) throw new TypeError(`the store has no operation ${method}`);
      return operation(opened.database, now, args);
    }),
  );
});
