import type { ServerInterceptingCall } from '@grpc/grpc-js';

type NextCall = NonNullable<ConstructorParameters<typeof ServerInterceptingCall>[0]>;

/** A call that is looked at so long after it came has a deadline that has passed indeed, milliseconds. */
const LATE = 60_000;

/**
 * grpc-js keeps the time that a caller gives his call in 32 bits of milliseconds: of a month it makes a deadline that has passed, and
 * ends the call at once. No header can say that, so such a call has no deadline here; its caller sees to it.
 */
export function liftDeadline(next: NextCall, now: number): void {
  if (Number(next.getDeadline()) >= now - LATE) return;
  const timer: unknown = Reflect.get(next, 'deadlineTimer');
  clearTimeout(timer as NodeJS.Timeout);
  Reflect.set(next, 'deadline', Infinity);
}
