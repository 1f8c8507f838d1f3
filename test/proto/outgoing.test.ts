import { describe, expect, test } from 'vitest';

import { AttestationService } from '../../proto/gen/assay/v1/attestation_pb.ts';
import { Outgoing } from '../../proto/outgoing.ts';
import type { Handlers } from '../../proto/service.ts';
import { StatusError } from '../../proto/status.ts';
import { echoServices, silence, wishes } from '../support/echo.ts';
import { all, failure, settled, startTestService, until } from '../support/rpc.ts';
import type { TestService } from '../support/rpc.ts';

type Attest = Handlers<typeof AttestationService>['attest'];
type Sent = Parameters<Parameters<Extract<ReturnType<Attest>, Outgoing<unknown>>['produce']>[0]>[0];
type Send = (message: Sent) => Promise<void>;

const pending = (message: string): Sent => ({ part: { case: 'pending', value: { message } } });

/** A service whose stream sends by itself. */
function sending(produce: (send: Send) => Promise<void>): Promise<TestService> {
  return startTestService(echoServices({ attest: () => new Outgoing<Sent>(produce) }));
}

const attest = (service: TestService) => service.connect().client(AttestationService).attest(wishes());

describe('the messages that a handler sends by itself', () => {
  test('come in order, and end with it', async () => {
    await using service = await sending(async (send) => {
      for (const message of ['one', 'two', 'three']) await send(pending(message));
    });
    const answers = await all(attest(service));
    expect(answers.map(({ part }) => part.value)).toMatchObject(
      ['one', 'two', 'three'].map((message) => ({ message })),
    );
    await until(() => service.server.callCount === 0, 'call released');
    expect(service.log.filter(({ level }) => level !== 'debug')).toEqual([]);
  });

  test('come before what it failed with', async () => {
    await using service = await sending(async (send) => {
      await send(pending('one'));
      throw new StatusError({ code: 'ABORTED', reason: 'BROKEN', message: 'broken' });
    });
    const messages = attest(service)[Symbol.asyncIterator]();
    expect((await messages.next()).value).toMatchObject({ part: { value: { message: 'one' } } });
    expect(await failure(messages.next())).toMatchObject({ code: 'ABORTED', reason: 'BROKEN' });
  });

  test('that cannot be sent fail where they are sent', async () => {
    const told = Promise.withResolvers<unknown>();
    await using service = await sending(async (send) => {
      await send(pending('x'.repeat(5_000_000))).catch(told.resolve);
      await send(pending('small'));
    });
    expect(await all(attest(service))).toHaveLength(1);
    expect(await told.promise).toMatchObject({ reason: 'RESPONSE_TOO_LARGE' });
  });

  test('wait for a caller that does not read', async () => {
    let sent = 0;
    await using service = await sending(async (send) => {
      for (; sent < 200; sent += 1) await send(pending('x'.repeat(100_000)));
    });
    const messages = attest(service)[Symbol.asyncIterator]();
    await messages.next();
    // What both sides' windows and the read-ahead of the client's stream take, and no more.
    expect(await settled(() => sent)).toBeLessThan(60);
    let read = 1;
    for (let next = await messages.next(); next.done !== true; next = await messages.next()) read += 1;
    expect(read).toBe(200);
  });

  test('are refused once the caller is gone', async () => {
    const ready = Promise.withResolvers<void>();
    const told = Promise.withResolvers<unknown>();
    await using service = await sending(async (send) => {
      await ready.promise;
      await send(pending('late')).catch(told.resolve);
    });
    const stop = new AbortController();
    const client = service.connect().client(AttestationService);
    const call = failure(all(client.attest(silence(), { signal: stop.signal })));
    await until(() => service.server.callCount === 1, 'call arrived');
    stop.abort();
    expect((await call).code).toBe('CANCELLED');
    await until(() => service.server.callCount === 0, 'call released');
    ready.resolve();
    expect(await told.promise).toMatchObject({ code: 'CANCELLED' });
  });
});
