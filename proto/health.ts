import {
  Health as HealthService,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from './gen/health/v1/health_pb.ts';
import { bindService } from './service.ts';
import type { BoundService, Context } from './service.ts';
import { StatusError } from './status.ts';

export type Health = 'serving' | 'not_serving';

const STATUS = { serving: ServingStatus.SERVING, not_serving: ServingStatus.NOT_SERVING } as const;
const MAX_WATCHERS = 1000;

/** grpc.health.v1: what load balancers and probes ask. The service named '' stands for the whole server. */
export class HealthRegistry {
  readonly service: BoundService;
  readonly #status = new Map<string, Health>([['', 'not_serving']]);
  readonly #watchers = new Set<() => void>();

  constructor() {
    this.service = bindService(HealthService, {
      check: ({ service }) => {
        const health = this.#status.get(service);
        if (health === undefined) {
          throw new StatusError({ code: 'NOT_FOUND', reason: 'SERVICE_UNKNOWN', message: 'service is not known' });
        }
        return { status: STATUS[health] };
      },
      list: () => ({
        statuses: Object.fromEntries([...this.#status].map(([name, health]) => [name, { status: STATUS[health] }])),
      }),
      watch: ({ service }, context) => this.#watch(service, context),
    });
  }

  /** Sets the health of a service by its full name, and tells who watches it. */
  set(service: string, health: Health): void {
    this.#status.set(service, health);
    for (const wake of this.#watchers) wake();
  }

  async *#watch(service: string, { signal, draining }: Context): AsyncIterable<{ status: ServingStatus }> {
    if (this.#watchers.size >= MAX_WATCHERS) {
      throw new StatusError({ code: 'RESOURCE_EXHAUSTED', reason: 'TOO_MANY_WATCHERS', message: 'too many watchers' });
    }
    let changed = Promise.withResolvers<void>();
    const wake = (): void => changed.resolve();
    this.#watchers.add(wake);
    const either = AbortSignal.any([signal, draining]);
    either.addEventListener('abort', wake, { once: true });
    let told: ServingStatus | undefined;
    try {
      while (!either.aborted) {
        const health = this.#status.get(service);
        const status = health === undefined ? ServingStatus.SERVICE_UNKNOWN : STATUS[health];
        if (status !== told) yield { status };
        told = status;
        await changed.promise;
        changed = Promise.withResolvers();
      }
    } finally {
      this.#watchers.delete(wake);
      either.removeEventListener('abort', wake);
    }
  }
}
