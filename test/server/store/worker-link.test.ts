import { afterEach, describe, expect, it } from 'vitest';
import { Worker } from 'node:worker_threads';
import { StoreError } from '../../../server/store/store.ts';
import { WorkerLink } from '../../../server/store/worker-link.ts';

/** A worker that answers `echo`, never answers `hang`, and ends by `exit` or `throw`. */
const SCRIPT = `
  const { parentPort } = require('node:worker_threads');
  parentPort.on('message', ({ id, method, args, now }) => {
    if (method === 'echo') parentPort.postMessage({ id, ok: true, value: [now, ...args] });
    if (method === 'refuse') parentPort.postMessage({ id, ok: false, code: 'full', message: 'the store is full' });
    if (method === 'exit') process.exit(3);
    if (method === 'throw') throw new Error('out of memory');
  });
  parentPort.postMessage({ id: 0, ok: true, value: 'ready' });
`;

describe('WorkerLink', () => {
  const links: WorkerLink[] = [];
  const failures: StoreError[] = [];

  function connect(script = SCRIPT): WorkerLink {
    const link = new WorkerLink(new Worker(script, { eval: true }), (error) => failures.push(error));
    links.push(link);
    return link;
  }

  afterEach(async () => {
    failures.length = 0;
    for (const link of links.splice(0)) await link.end(new StoreError('closed', 'the store is closed'));
  });

  it('gives each call its own answer', async () => {
    const link = connect();
    expect(await link.started()).toBe('ready');
    expect(await Promise.all([link.call('echo', ['a'], 5), link.call('echo', ['b', 1], 6)])).toEqual([
      [5, 'a'],
      [6, 'b', 1],
    ]);
    await expect(link.call('refuse', [], 0)).rejects.toMatchObject({ name: 'StoreError', code: 'full' });
  });

  it.each(['exit', 'throw'])('fails every call, waiting and later, when the worker ends by %s', async (method) => {
    const link = connect();
    await link.started();
    const waiting = [link.call('hang', [], 0), link.call(method, [], 0), link.call('echo', [], 0)];
    const settled = await Promise.allSettled(waiting);
    for (const outcome of settled) expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'failed' } });
    await expect(link.call('echo', [], 0)).rejects.toMatchObject({ code: 'failed' });
    expect(failures).toHaveLength(1);
  });

  it('fails a start that ends before it is ready', async () => {
    await expect(connect('process.exit(1)').started()).rejects.toMatchObject({ code: 'failed' });
  });

  it('gives the error of its end to calls that wait and that come later', async () => {
    const link = connect();
    await link.started();
    const waiting = expect(link.call('hang', [], 0)).rejects.toMatchObject({ code: 'closed' });
    await link.end(new StoreError('closed', 'the store is closed'));
    await waiting;
    await expect(link.call('echo', [], 0)).rejects.toMatchObject({ code: 'closed' });
    expect(failures).toEqual([]);
  });

  it('fails a call that cannot be posted, alone', async () => {
    const link = connect();
    await link.started();
    await expect(link.call('echo', [() => 1], 0)).rejects.toMatchObject({ code: 'failed' });
    expect(await link.call('echo', [], 1)).toEqual([1]);
  });
});
