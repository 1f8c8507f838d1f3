import { describe, expect, test } from 'vitest';
import { AttestationService } from '../../proto/gen/assay/v1/attestation_pb.ts';
import { Sending } from '../../proto/sending.ts';
import { StatusError } from '../../proto/status.ts';
import { echoServices, silence, wishes } from '../support/echo.ts';
import { all, failure, startTestService, until } from '../support/rpc.ts';
import type { TestService } from '../support/rpc.ts';

const attestation = (service: TestService) => service.connect().client(AttestationService);

describe('a handler that sends its messages itself', () => {
  const pending = (message: string) => ({ part: { case: 'pending' as const, value: { message } } });

  test('sends them in order, and ends its call in order', async () => {
    await using service = await startTestService(
      echoServices({
        attest: (requests) =>
          new Sending(async (send) => {
            for await (const { part } of requests) await send(pending(part.case === 'wish' ? part.value.reason : ''));
            await send(pending('last'));
          }),
      }),
    );
    const answers = await all(attestation(service).attest(wishes('one', 'two')));
    expect(answers.map(({ part }) => part.value)).toMatchObject(['one', 'two', 'last'].map((message) => ({ message })));
    await until(() => service.server.callCount === 0, 'call released');
    expect(service.log.filter(({ level }) => level !== 'debug')).toEqual([]);
  });

  test('is held back while its caller takes nothing', async () => {
    let sent = 0;
    await using service = await startTestService(
      echoServices({
        attest: () =>
          new Sending(async (send) => {
            const large = pending('x'.repeat(100_000));
            for (; sent < 1_000; sent += 1) await send(large);
          }),
      }),
    );
    const messages = attestation(service).attest(silence())[Symbol.asyncIterator]();
    await messages.next();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(sent).toBeLessThan(500);
    await messages.return?.();
    await until(() => service.server.callCount === 0, 'call released');
    expect(sent).toBeLessThan(500);
  });

  test('learns by sending that its call has ended', async () => {
    const errors: unknown[] = [];
    const cancelled = Promise.withResolvers<void>();
    await using service = await startTestService(
      echoServices({
        attest: (_requests, { signal }) =>
          new Sending(async (send) => {
            await send(pending('first'));
            signal.addEventListener('abort', () => cancelled.resolve());
            await cancelled.promise;
            await send(pending('second')).catch((error: unknown) => errors.push(error));
          }),
      }),
    );
    const messages = attestation(service).attest(silence())[Symbol.asyncIterator]();
    expect(await messages.next()).toMatchObject({ value: pending('first') });
    await messages.return?.();
    await until(() => errors.length > 0, 'the message was refused');
    expect(errors).toMatchObject([{ code: 'CANCELLED' }]);
  });

  test('ends its call by an error behind what it has sent', async () => {
    await using service = await startTestService(
      echoServices({
        attest: () =>
          new Sending(async (send) => {
            for (let index = 0; index < 50; index += 1) await send(pending(String(index)));
            throw new StatusError({ code: 'NOT_FOUND', reason: 'NONE_LEFT', message: 'none left' });
          }),
      }),
    );
    let seen = 0;
    const call = (async () => {
      for await (const { part } of attestation(service).attest(silence())) seen += part.case === 'pending' ? 1 : 0;
    })();
    expect(await failure(call)).toMatchObject({ code: 'NOT_FOUND', reason: 'NONE_LEFT' });
    expect(seen).toBe(50);
  });

  test('with a message that is none costs only its call', async () => {
    await using service = await startTestService(
      echoServices({ attest: () => new Sending((send) => send('no message' as unknown as object)) }),
    );
    expect(await failure(all(attestation(service).attest(silence())))).toMatchObject({ code: 'INTERNAL' });
    expect((await attestation(service).createChallenge({ akName: Buffer.from('a') })).token).toHaveLength(1);
  });
});
