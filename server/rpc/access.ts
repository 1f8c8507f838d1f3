import { StatusError } from '../../proto/status.ts';
import type { Context } from '../../proto/service.ts';
import type { AgentCaller } from '../attestation/check-host.ts';
import { rolesOf } from '../identity/callers.ts';
import type { Caller, Callers } from '../identity/callers.ts';
import { matchesLabels } from '../store/attachment.ts';
import type { Labels } from '../store/records.ts';
import type { Actor, HostActor } from '../store/store.ts';

/** How often the caller of an open stream is asked for again, milliseconds. */
const RECHECK = 60_000;

/** Decides whether a call may go on, for every method of every service: deny by default. */
export class Access {
  readonly #callers: Callers;
  readonly #now: () => number;
  readonly #known = new WeakMap<Context, Caller>();

  constructor(callers: Callers, now: () => number) {
    this.#callers = callers;
    this.#now = now;
  }

  /** Throws StatusError UNAUTHENTICATED or PERMISSION_DENIED. */
  async authorize(context: Context): Promise<void> {
    const caller = await this.#check(context);
    if (context.method.everyHost && Object.keys(scopeOf(caller)).length > 0) {
      throw new StatusError({
        code: 'PERMISSION_DENIED',
        reason: 'SCOPE_TOO_NARROW',
        message: `${context.method.name} concerns every host, and your scope is not all of them`,
      });
    }
    this.#known.set(context, caller);
  }

  /**
   * For a stream that may last: asks for its caller again every minute until disposed, and ends it when that may no longer, or sees
   * other hosts than when the stream began.
   */
  keepChecking(context: Context): Disposable {
    return new Rechecks(this, context);
  }

  caller(context: Context): Caller {
    const caller = this.#known.get(context);
    if (caller === undefined) throw new TypeError('the call was not authorised');
    return caller;
  }

  /** The host whose agent is calling. */
  agent(context: Context): AgentCaller {
    const caller = this.caller(context);
    if (caller.kind !== 'host') throw new TypeError('the method admits agents only');
    return caller;
  }

  /** Labels of the hosts that the caller sees; empty: every host. */
  scope(context: Context): Labels {
    return scopeOf(this.caller(context));
  }

  /** Who does it to a host, and which hosts are there for him. */
  hostActor(context: Context): HostActor {
    return { ...this.actor(context), scope: this.scope(context) };
  }

  /** Who did it, for the audit log. */
  actor(context: Context): Actor {
    const caller = this.caller(context);
    if (caller.kind === 'identity') return { actor: `identities/${caller.name}` };
    return { actor: caller.kind === 'host' ? `agent hosts/${caller.hostId}` : 'anonymous' };
  }

  async #check({ peer, method }: Context): Promise<Caller> {
    const caller = await this.#callers.identify(peer);
    if (rolesOf(caller).some((role) => method.roles.includes(role))) return caller;
    if (caller.kind !== 'anonymous') {
      throw new StatusError({
        code: 'PERMISSION_DENIED',
        reason: 'ROLE_MISSING',
        message: `${method.name} asks for the role ${method.roles.join(' or ')}`,
      });
    }
    if (caller.refusal === 'HOST_REVOKED')
      throw new StatusError({ code: 'PERMISSION_DENIED', reason: 'HOST_REVOKED', message: 'the host is banned' });
    const reason = caller.refusal === '' ? 'CERTIFICATE_MISSING' : caller.refusal;
    throw new StatusError({ code: 'UNAUTHENTICATED', reason, message: REFUSALS[reason] });
  }

  /** Milliseconds until the caller of an open stream is asked for again. */
  untilRecheck(context: Context): number {
    const caller = this.caller(context);
    const left = caller.kind === 'anonymous' ? RECHECK : caller.expires - this.#now();
    return Math.max(0, Math.min(RECHECK, left));
  }

  /** Whether the caller may still do this; else the call has been ended. */
  async recheck(context: Context): Promise<boolean> {
    try {
      const caller = await this.#check(context);
      const scope = this.scope(context);
      const now = scopeOf(caller);
      if (!matchesLabels(scope, now) || !matchesLabels(now, scope)) {
        throw new StatusError({
          code: 'OUT_OF_RANGE',
          reason: 'SCOPE_CHANGED',
          message: 'the scope of this identity has changed: begin anew',
        });
      }
      this.#known.set(context, caller);
      return true;
    } catch (error) {
      const failed = new StatusError({
        code: 'UNAVAILABLE',
        reason: 'STORE_UNAVAILABLE',
        message: 'the caller cannot be checked',
        cause: error,
      });
      context.fail(error instanceof StatusError ? error : failed);
      return false;
    }
  }
}

/** One object for each stream: an idle one keeps it. */
class Rechecks implements Disposable {
  readonly #access: Access;
  readonly #context: Context;
  #timer: NodeJS.Timeout;
  #disposed = false;

  constructor(access: Access, context: Context) {
    this.#access = access;
    this.#context = context;
    this.#timer = this.#arm();
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    clearTimeout(this.#timer);
  }

  #arm(): NodeJS.Timeout {
    return setTimeout(() => void this.#check(), this.#access.untilRecheck(this.#context));
  }

  async #check(): Promise<void> {
    if ((await this.#access.recheck(this.#context)) && !this.#disposed) this.#timer = this.#arm();
  }
}

/** Whoever is no identity is asked for nothing about other hosts. */
function scopeOf(caller: Caller): Labels {
  return caller.kind === 'identity' ? caller.scope : {};
}

const REFUSALS = {
  CERTIFICATE_MISSING: 'the call needs a client certificate of this service',
  CERTIFICATE_EXPIRED: 'the client certificate has expired',
  CERTIFICATE_INVALID: 'the certificate is no client certificate of this service',
  IDENTITY_REVOKED: 'the identity was revoked, or has a newer certificate for another key',
  IDENTITY_UNKNOWN: 'the identity is not known',
  HOST_UNKNOWN: 'the host is not enrolled',
  TLS_KEY_SUPERSEDED: 'the host has a newer tls key',
} as const;
