import { setImmediate } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import type { Measured } from '../../../client/agent/gauge.ts';
import { DEFAULT_WISH_PAUSE_MS, MeasurementWatch } from '../../../client/agent/watch.ts';

/** A stream on a machine that measures, with a clock that the test turns. */
class Stage {
  measured: Measured = { userspace: 0, ima: 10 };
  /** Seconds that have passed, and when what was wished for. */
  seconds = 0;
  readonly wishes: { readonly at: number; readonly logs: string }[] = [];
  /** Does the service answer a wish at once? */
  answers = true;
  /** Entries that come with each quote. */
  own = 0;
  looks = 0;
  /** Holds up looks while it is set. */
  gate: Promise<void> | undefined;
  readonly stream = new AbortController();
  readonly watch: MeasurementWatch;
  #wake: () => void = () => undefined;

  constructor() {
    this.watch = new MeasurementWatch(
      { read: () => this.#read() },
      {
        pauseMillis: DEFAULT_WISH_PAUSE_MS,
        sleep: (millis, signal) => {
          expect(millis).toBe(1000);
          const { promise, resolve } = Promise.withResolvers<void>();
          this.#wake = resolve;
          signal.addEventListener('abort', () => resolve());
          return promise;
        },
      },
    );
    void this.open(this.stream.signal);
  }

  get times(): readonly number[] {
    return this.wishes.map(({ at }) => at);
  }

  open(signal: AbortSignal): Promise<void> {
    const wish = (logs: readonly string[]): void => {
      this.wishes.push({ at: this.seconds, logs: logs.join() });
      if (this.answers) void this.round();
    };
    return this.watch.run(wish, signal);
  }

  measure(entries = 1): void {
    this.measured = { ...this.measured, ima: (this.measured.ima ?? 0) + entries };
  }

  async round(): Promise<void> {
    await this.watch.quoteBegins();
    this.measure(this.own);
    this.watch.evidenceSent();
  }

  async pass(seconds: number, each: () => void = () => undefined): Promise<void> {
    for (let second = 0; second < seconds; second += 1) {
      each();
      this.seconds += 1;
      this.#wake();
      await setImmediate();
    }
  }

  async #read(): Promise<Measured> {
    this.looks += 1;
    const { measured } = this;
    await this.gate;
    return measured;
  }
}

let stage: Stage;

beforeEach(() => {
  stage = new Stage();
});

/** From each wish to the next, seconds. */
function gaps(times: readonly number[]): readonly number[] {
  return times.slice(1).map((at, index) => at - (times[index] ?? 0));
}

describe('a watch', () => {
  test('wishes within two looks for what is new since the last evidence, and only once', async () => {
    await stage.round();
    await stage.pass(30);
    expect(stage.wishes).toEqual([]);
    stage.measure();
    await stage.pass(2);
    expect(stage.wishes).toEqual([{ at: 32, logs: 'ima' }]);
    await stage.pass(120);
    expect(stage.wishes).toHaveLength(1);
  });

  test('wishes for a new phase of the boot', async () => {
    await stage.round();
    stage.measured = { userspace: 300, ima: 10 };
    await stage.pass(2);
    expect(stage.wishes).toEqual([{ at: 2, logs: 'userspace' }]);
  });

  test('wishes once for a burst', async () => {
    await stage.round();
    await stage.pass(2, () => stage.measure(1000));
    await stage.pass(120);
    expect(stage.times).toEqual([2]);
  });

  test('rests longer and longer, up to a minute, while entries keep coming, and begins anew after a quiet time', async () => {
    await stage.round();
    await stage.pass(400, () => stage.measure());
    expect(gaps(stage.times)).toEqual([6, 11, 21, 41, 61, 61, 61, 61, 61]);
    await stage.pass(180);
    const before = stage.wishes.length;
    await stage.pass(20, () => stage.measure());
    expect(gaps(stage.times.slice(before))).toEqual([6, 11]);
  });

  test('does not chase entries that its own quotes bring', async () => {
    stage.own = 1;
    await stage.round();
    await stage.pass(600);
    expect(gaps(stage.times)).toEqual([6, 11, 21, 41, 61, 61, 61, 61, 61, 61, 61, 61]);
    stage.own = 0;
    const before = stage.wishes.length;
    await stage.pass(300);
    expect(stage.wishes.length).toBeLessThanOrEqual(before + 1);
  });

  test('misses nothing that was measured between quote and look', async () => {
    await stage.watch.quoteBegins();
    stage.measure();
    await stage.pass(10);
    expect(stage.wishes).toEqual([]);
    stage.watch.evidenceSent();
    await stage.pass(2);
    expect(stage.times).toEqual([12]);
  });

  test('waits for the challenge that it has wished for, and for the first one of a stream', async () => {
    await stage.pass(10, () => stage.measure());
    expect(stage.looks).toBe(0);
    await stage.round();
    stage.answers = false;
    await stage.pass(100, () => stage.measure());
    expect(stage.wishes).toHaveLength(1);
  });

  test('does not wish for what a challenge covers that came while it looked', async () => {
    await stage.round();
    stage.measure();
    await stage.pass(1);
    const gate = Promise.withResolvers<void>();
    stage.gate = gate.promise;
    await stage.pass(1);
    stage.gate = undefined;
    await stage.round();
    gate.resolve();
    await stage.pass(60);
    expect(stage.wishes).toEqual([]);
  });

  test('takes a log that shrinks as changed, and one that cannot be looked at as still', async () => {
    await stage.round();
    stage.measured = { userspace: 0, ima: null };
    await stage.pass(60);
    expect(stage.wishes).toEqual([]);
    stage.measured = { userspace: 0, ima: 3 };
    await stage.pass(60);
    expect(stage.times).toEqual([62]);
  });

  test('wishes for what it can look at again after evidence for which it could not', async () => {
    stage.measured = { userspace: 0, ima: null };
    await stage.round();
    stage.measured = { userspace: 0, ima: 10 };
    await stage.pass(120);
    expect(stage.times).toEqual([2]);
  });

  test('ends with its stream, and knows nothing of it in the next', async () => {
    await stage.round();
    await stage.pass(1);
    const { looks } = stage;
    stage.stream.abort();
    await setImmediate();
    void stage.open(new AbortController().signal);
    await stage.pass(60, () => stage.measure());
    expect(stage.looks).toBe(looks);
    expect(stage.wishes).toEqual([]);
  });
});
