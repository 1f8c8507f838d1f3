import { describe, expect, test } from 'vitest';

import { Beats } from '../../../server/attestation/beats.ts';
import { Inbox } from '../../../server/attestation/inbox.ts';
import type { AgentMessage } from '../../../server/attestation/messages.ts';

const WISH: AgentMessage = { kind: 'wish' };
const LONG = 60_000;

/** A transport that counts how often it is read. */
class Transport implements AsyncIterable<AgentMessage> {
  reads = 0;
  #reader: PromiseWithResolvers<IteratorResult<AgentMessage>> | null = null;

  bring(message: AgentMessage): void {
    this.#reader?.resolve({ done: false, value: message });
  }

  end(): void {
    this.#reader?.resolve({ done: true, value: undefined });
  }

  break(): void {
    this.#reader?.reject(new Error('connection lost'));
  }

  [Symbol.asyncIterator](): AsyncIterator<AgentMessage> {
    return {
      next: () => {
        this.reads += 1;
        this.#reader = Promise.withResolvers();
        return this.#reader.promise;
      },
    };
  }
}

describe('a wait for the messages of a stream', () => {
  test('ends with a message, with the end of the stream, and with its fault', async () => {
    const transport = new Transport();
    const inbox = new Inbox(transport, new Beats(() => performance.now()));
    const message = inbox.next({ timeout: LONG, wakeable: true });
    transport.bring(WISH);
    expect(await message).toEqual({ kind: 'message', message: WISH });
    const end = inbox.next({ timeout: LONG, wakeable: true });
    transport.end();
    expect(await end).toEqual({ kind: 'ended' });
    const fault = inbox.next({ timeout: LONG, wakeable: true });
    transport.break();
    await expect(fault).rejects.toThrow('connection lost');
  });

  test('ends when its time is over, and the read goes on for the next one', async () => {
    const transport = new Transport();
    const inbox = new Inbox(transport, new Beats(() => performance.now()));
    expect(await inbox.next({ timeout: 1, wakeable: true })).toEqual({ kind: 'timeout' });
    transport.bring(WISH);
    await Promise.resolve();
    expect(await inbox.next({ timeout: LONG, wakeable: true })).toEqual({ kind: 'message', message: WISH });
    expect(transport.reads).toBe(1);
  });

  test('gives a fault that came while nobody waited to the next one', async () => {
    const transport = new Transport();
    const inbox = new Inbox(transport, new Beats(() => performance.now()));
    await inbox.next({ timeout: 1, wakeable: true });
    transport.break();
    await Promise.resolve();
    await expect(inbox.next({ timeout: LONG, wakeable: true })).rejects.toThrow('connection lost');
  });

  test('is woken, also by what came before it; one that is not to be woken leaves that to a later one', async () => {
    const transport = new Transport();
    const inbox = new Inbox(transport, new Beats(() => performance.now()));
    const waiting = inbox.next({ timeout: LONG, wakeable: true });
    inbox.wake();
    expect(await waiting).toEqual({ kind: 'woken' });
    inbox.wake();
    expect(await inbox.next({ timeout: LONG, wakeable: true })).toEqual({ kind: 'woken' });
    const deaf = inbox.next({ timeout: LONG, wakeable: false });
    inbox.wake();
    transport.bring(WISH);
    expect(await deaf).toEqual({ kind: 'message', message: WISH });
    expect(await inbox.next({ timeout: LONG, wakeable: true })).toEqual({ kind: 'woken' });
  });

  test('loses no message to a wake-up', async () => {
    const transport = new Transport();
    const inbox = new Inbox(transport, new Beats(() => performance.now()));
    const waiting = inbox.next({ timeout: LONG, wakeable: true });
    inbox.wake();
    transport.bring(WISH);
    expect(await waiting).toEqual({ kind: 'woken' });
    expect(await inbox.next({ timeout: LONG, wakeable: true })).toEqual({ kind: 'message', message: WISH });
    expect(transport.reads).toBe(1);
  });
});
