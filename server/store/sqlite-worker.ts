import { parentPort, workerData } from 'node:worker_threads';
import { openDatabase, type OpenedDatabase, type OpenInput, openReader, type ReaderInput } from './sqlite/open.ts';
import { toStoreError } from './sqlite/database.ts';
import { forgetHosts } from './sqlite/hosts.ts';
import { OPERATIONS } from './sqlite/operations.ts';
import { StoreError } from './store.ts';
import type { AnswerMessage, CallMessage } from './worker-link.ts';

/**
 * The thread that has the database: one call after another, each a transaction of its own. A flush to disk blocks this thread and no
 * other. Another thread of this kind may read beside it.
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

/** How calls are carried out, and what the store is where this thread has it. */
interface Opened {
  readonly carryOut: (call: CallMessage) => unknown;
  readonly close: () => void;
  readonly identity: Omit<OpenedDatabase, 'database' | 'close'> | null;
}

let opened: Opened | null = null;

port.postMessage(
  answer(0, () => {
    const input = workerData as OpenInput | ReaderInput;
    opened = 'readsFrom' in input ? openForReading(input) : openWhole(input);
    return opened.identity;
  }),
);

port.on('message', (call: CallMessage) => {
  port.postMessage(
    answer(call.id, () => {
      if (call.method !== 'close') return opened?.carryOut(call);
      opened?.close();
      return null;
    }),
  );
});

function openWhole(input: OpenInput): Opened {
  const { database, close, ...identity } = openDatabase(input);
  return { carryOut: ({ method, now, args }) => operationOf(method)(database, now, args), close, identity };
}

function openForReading(input: ReaderInput): Opened {
  const database = openReader(input);
  const carryOut = ({ method, now, args }: CallMessage): unknown =>
    database.readTogether(() => operationOf(method)(database, now, args));
  return { carryOut, close: () => database.close(), identity: null };
}

function operationOf(method: string) {
  const operation = OPERATIONS.get(method);
  if (operation === undefined) throw new TypeError(`the store has no operation ${method}`);
  return operation;
}
