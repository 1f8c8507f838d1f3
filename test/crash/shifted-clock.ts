/**
 * Loaded into a process ahead of its own code: its wall clock is ASSAY_CLOCK_SHIFT milliseconds off. The monotonic clock, timers
 * and OpenSSL, which asks the system for the time, are not.
 */
const shift = Number(process.env['ASSAY_CLOCK_SHIFT'] ?? 0);
const SystemDate = Date;
const systemNow = SystemDate.now.bind(SystemDate);

function now(): number {
  return systemNow() + shift;
}

class ShiftedDate extends SystemDate {
  constructor(...args: readonly unknown[]) {
    if (args.length === 0) super(now());
    else super(...(args as [number]));
  }

  static override now(): number {
    return now();
  }
}

globalThis.Date = ShiftedDate as DateConstructor;
