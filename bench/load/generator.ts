/** The load generator: plays agents and watchers, commanded over IPC. Measures latencies, judges nothing. */
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';

import { create, toBinary } from '@bufbuild/protobuf';

import { WatchAttestationResultsRequestSchema } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import type { Fleet } from '../fleet/fleet.ts';
import { percentile } from '../measure.ts';
import { Agent, certificatePem } from './agent.ts';
import type { CommandName, Commands, Report } from './commands.ts';
import { frame, GrpcStream } from './grpc-stream.ts';

const WATCH = '/assay.v1.AttestationResultService/WatchAttestationResults';
const PACE_MILLIS = 10;
/** Watchers come from other addresses than agents do. */
const WATCHERS_FROM = 20_000;

class Generator {
  #fleet: Fleet | null = null;
  #port = 0;
  readonly #agents: Agent[] = [];
  readonly #bare: GrpcStream[] = [];
  #latencies: number[] = [];
  #errors: Record<string, number> = {};
  /** Agents that have had no result since the last mark. */
  #missing = new Set<Agent>();
  #markedAt = 0;
  #arrived: number[] = [];
  #allArrived: () => void = () => undefined;
  #messages = 0;
  #bytes = 0;

  readonly commands: {
    readonly [N in CommandName]: (request: Commands[N]['request']) => Promise<Commands[N]['answer']>;
  } = {
    open: ({ fleetFile, port }) => {
      this.#fleet = fleetFile === '' ? null : (JSON.parse(readFileSync(fleetFile, 'utf8')) as Fleet);
      this.#port = port;
      return Promise.resolve(null);
    },
    connectAgents: async ({ from, to, perSecond }) => {
      const began = performance.now();
      await this.#paced(to - from, perSecond, (index) => {
        const agent = this.#agent(from + index);
        this.#missing.add(agent);
        agent.connect();
      });
      await this.#settled();
      return { seconds: (performance.now() - began) / 1000 };
    },
    setChanging: ({ changing }) => {
      for (const agent of this.#agents) agent.changing = changing;
      return Promise.resolve(null);
    },
    report: () => Promise.resolve(this.#report()),
    markAll: () => {
      this.#missing = new Set(this.#agents);
      this.#arrived = [];
      this.#markedAt = performance.now();
      return Promise.resolve(null);
    },
    awaitAll: async ({ timeoutSeconds }) => {
      const timer = setTimeout(() => this.#allArrived(), timeoutSeconds * 1000);
      await this.#settled();
      clearTimeout(timer);
      const { errors } = this.#report();
      return { ...latencies(this.#arrived), errors };
    },
    openBare: async ({ path, caller, sizes, from, to, perSecond }) => {
      const began = performance.now();
      const secureContext = createSecureContext({ key: caller.key, cert: caller.certificate });
      const messages = sizes.map((size) => frame(Buffer.alloc(size)));
      let done = 0;
      const { promise, resolve } = Promise.withResolvers<void>();
      await this.#paced(to - from, perSecond, (index) => {
        let answers = 0;
        const onMessage = (): void => {
          answers += 1;
          const next = messages[answers];
          if (next !== undefined) stream.send(next);
          if (answers === messages.length) done += 1;
          if (done === to - from) resolve();
        };
        const stream = this.#counted({ path, index: from + index, secureContext, onMessage });
        stream.send(messages[0] ?? frame(Buffer.alloc(0)));
      });
      await promise;
      return { seconds: (performance.now() - began) / 1000 };
    },
    pulse: ({ bytes, interval }) => {
      const message = frame(Buffer.alloc(bytes));
      for (const stream of this.#bare) {
        setTimeout(() => setInterval(() => stream.send(message), interval), Math.random() * interval);
      }
      return Promise.resolve(null);
    },
    openWatchers: async ({ count }) => {
      const { watcherCertificate, tlsKey } = this.#known();
      const secureContext = createSecureContext({ key: tlsKey, cert: certificatePem(watcherCertificate) });
      const request = frame(
        toBinary(WatchAttestationResultsRequestSchema, create(WatchAttestationResultsRequestSchema)),
      );
      const first = Array.from({ length: count }, async (_, index) => {
        const { promise, resolve } = Promise.withResolvers<void>();
        const stream = this.#counted({ path: WATCH, index: WATCHERS_FROM + index, secureContext, onMessage: resolve });
        stream.send(request);
        stream.finish();
        await promise;
      });
      await Promise.all(first);
      return null;
    },
    takeMessages: () => {
      const taken = { messages: this.#messages, bytes: this.#bytes };
      this.#messages = 0;
      this.#bytes = 0;
      return Promise.resolve(taken);
    },
  };

  #known(): Fleet {
    if (this.#fleet === null) throw new TypeError('no fleet was opened');
    return this.#fleet;
  }

  #agent(index: number): Agent {
    const fleet = this.#known();
    const host = fleet.hosts[index];
    if (host === undefined) throw new TypeError(`the fleet has no host ${index}`);
    const agent = new Agent({
      fleet,
      host,
      port: this.#port,
      index,
      onResult: (from, latency) => {
        this.#latencies.push(latency);
        if (!this.#missing.delete(from)) return;
        this.#arrived.push(performance.now() - this.#markedAt);
        if (this.#missing.size === 0) this.#allArrived();
      },
      onError: (reason) => this.#failed(reason),
    });
    this.#agents.push(agent);
    return agent;
  }

  #counted(options: {
    readonly path: string;
    readonly index: number;
    readonly secureContext: ReturnType<typeof createSecureContext>;
    readonly onMessage: () => void;
  }): GrpcStream {
    const { onMessage, ...where } = options;
    const stream = new GrpcStream({
      ...where,
      port: this.#port,
      onMessage: (message) => {
        this.#messages += 1;
        this.#bytes += message.length;
        onMessage();
      },
      onClose: (reason) => this.#failed(reason),
    });
    this.#bare.push(stream);
    return stream;
  }

  #failed(reason: string): void {
    this.#errors[reason] = (this.#errors[reason] ?? 0) + 1;
  }

  async #settled(): Promise<void> {
    if (this.#missing.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#allArrived = resolve;
    await promise;
  }

  /** Does something `count` times, so many a second; 0: all at once. */
  async #paced(count: number, perSecond: number, act: (index: number) => void): Promise<void> {
    const began = performance.now();
    let done = 0;
    while (done < count) {
      const due = perSecond === 0 ? count : Math.min(count, 1 + ((performance.now() - began) / 1000) * perSecond);
      while (done < due) act(done++);
      await new Promise((resolve) => setTimeout(resolve, PACE_MILLIS));
    }
  }

  #report(): Report {
    const report = { ...latencies(this.#latencies), errors: this.#errors };
    this.#latencies = [];
    this.#errors = {};
    return report;
  }
}

function latencies(values: readonly number[]): Omit<Report, 'errors'> {
  return {
    rounds: values.length,
    p50: percentile(values, 50),
    p99: percentile(values, 99),
    max: percentile(values, 100),
  };
}

interface Command {
  readonly id: number;
  readonly name: CommandName;
  readonly request: never;
}

const generator = new Generator();
process.on('message', (message: unknown) => {
  const { id, name, request } = message as Command;
  generator.commands[name](request).then(
    (answer) => process.send?.({ id, answer }),
    (error: unknown) => process.send?.({ id, error: error instanceof Error ? error.message : String(error) }),
  );
});
process.on('disconnect', () => process.exit());
