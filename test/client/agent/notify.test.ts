import { expect, test, vi } from 'vitest';
import { makeNotifier } from '../../../client/agent/notify.ts';

test('tells the service manager one message after the other, of waiting states only the last', async () => {
  const sent: (readonly string[])[] = [];
  const releases: (() => void)[] = [];
  const run = (args: readonly string[]): Promise<void> => {
    sent.push(args);
    return new Promise((resolve) => releases.push(resolve));
  };
  const { signal } = new AbortController();
  const notifier = makeNotifier({ systemdNotify: run, watchdogMicros: undefined, signal, onError: () => undefined });
  notifier.ready();
  notifier.status('one');
  notifier.status('two\nlines');
  expect(sent).toEqual([['READY=1']]);
  releases.shift()?.();
  await vi.waitFor(() => expect(sent).toHaveLength(2), 60_000);
  expect(sent[1]).toEqual(['STATUS=two lines']);
  releases.shift()?.();
  await vi.waitFor(() => {
    notifier.stopping();
    expect(sent[2]).toEqual(['STOPPING=1']);
  });
});

test('pings the watchdog at half its time, until the agent ends', () => {
  vi.useFakeTimers();
  try {
    const sent: string[] = [];
    const controller = new AbortController();
    makeNotifier({
      systemdNotify: async (args) => void sent.push(...args),
      watchdogMicros: 2_000_000,
      signal: controller.signal,
      onError: () => undefined,
    });
    vi.advanceTimersByTime(999);
    expect(sent).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(sent).toEqual(['WATCHDOG=1']);
    controller.abort();
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});

test('a failure to notify is told and ends nothing', async () => {
  const errors: unknown[] = [];
  const notifier = makeNotifier({
    systemdNotify: () => Promise.reject(new Error('not installed')),
    watchdogMicros: undefined,
    signal: new AbortController().signal,
    onError: (error) => errors.push(error),
  });
  notifier.ready();
  await vi.waitFor(() => expect(errors).toHaveLength(1), 60_000);
  notifier.status('still here');
  await vi.waitFor(() => expect(errors).toHaveLength(2), 60_000);
});

test('without a service manager nothing is run', () => {
  const notifier = makeNotifier({
    systemdNotify: undefined,
    watchdogMicros: 1000,
    signal: new AbortController().signal,
    onError: () => undefined,
  });
  expect(() => {
    notifier.ready();
    notifier.status('x');
    notifier.stopping();
  }).not.toThrow();
});
