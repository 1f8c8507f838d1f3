/** What the agent tells its service manager, and whoever else wants to know how it stands. */
export interface Notifier {
  /** The agent runs. Said as soon as its state is read and locked: a service that is down must not fail the unit. */
  ready(): void;
  /** One line on how it stands. */
  status(text: string): void;
  stopping(): void;
}

export interface NotifierOptions {
  /** Runs `systemd-notify` with these arguments; undefined where the agent has no service manager to talk to. */
  readonly systemdNotify: ((args: readonly string[]) => Promise<void>) | undefined;
  /** WATCHDOG_USEC; undefined where no watchdog is set. */
  readonly watchdogMicros: number | undefined;
  /** Ends the watchdog's timer. */
  readonly signal: AbortSignal;
  readonly onError: (error: unknown) => void;
}

/**
 * sd_notify(3) through `systemd-notify`, for Node has no datagram sockets of the unix kind. It is a child process, so the unit
 * needs `NotifyAccess=all`. Messages go out one after the other; of several states that wait only the last one is sent.
 */
export function makeNotifier(options: NotifierOptions): Notifier {
  const { systemdNotify } = options;
  if (systemdNotify === undefined)
    return { ready: () => undefined, status: () => undefined, stopping: () => undefined };
  const sender = new Sender(systemdNotify, options.onError);
  if (options.watchdogMicros !== undefined && options.watchdogMicros > 0) {
    // Half of the time, as sd_watchdog_enabled(3) recommends. The timer stands still when the event loop does.
    const timer = setInterval(() => sender.send('WATCHDOG=1'), options.watchdogMicros / 2000);
    timer.unref();
    options.signal.addEventListener('abort', () => clearInterval(timer), { once: true });
  }
  return {
    ready: () => sender.send('READY=1'),
    status: (text) => sender.send(`STATUS=${text.replace(/\n/g, ' ')}`),
    stopping: () => sender.send('STOPPING=1'),
  };
}

class Sender {
  readonly #run: (args: readonly string[]) => Promise<void>;
  readonly #onError: (error: unknown) => void;
  /** One per variable: the newest value. */
  readonly #waiting = new Map<string, string>();
  #busy = false;

  constructor(run: (args: readonly string[]) => Promise<void>, onError: (error: unknown) => void) {
    this.#run = run;
    this.#onError = onError;
  }

  send(assignment: string): void {
    this.#waiting.set(assignment.split('=', 1)[0] ?? '', assignment);
    if (!this.#busy) void this.#drain();
  }

  async #drain(): Promise<void> {
    this.#busy = true;
    try {
      while (this.#waiting.size > 0) {
        const assignments = [...this.#waiting.values()];
        this.#waiting.clear();
        await this.#run(assignments);
      }
    } catch (error) {
      this.#onError(error);
    } finally {
      this.#busy = false;
    }
  }
}
