/** A service with a fleet that is connected to it and a generator that plays it: what most benchmarks start from. */
import { LoadGenerator } from './child.ts';
import type { Report } from './load/commands.ts';
import { cpuMillis } from './measure.ts';
import { MeasuredService } from './fleet/service.ts';
import type { Scale } from './benchmark.ts';

/** Connections that are opened in a second: about half of what two cores can do at both ends. */
const PACE = 400;

export class Attesting implements AsyncDisposable {
  readonly service: MeasuredService;
  readonly generator: LoadGenerator;
  readonly hosts: number;

  private constructor(service: MeasuredService, generator: LoadGenerator, hosts: number) {
    this.service = service;
    this.generator = generator;
    this.hosts = hosts;
  }

  /** The service runs; no agent is connected. */
  static async start(
    options: { readonly hosts: number; readonly interval: number },
    { profileDirectory, say }: Scale,
  ): Promise<Attesting> {
    say(`enrolling ${options.hosts} hosts`);
    const service = await MeasuredService.prepare({ ...options, profileDirectory });
    const generator = new LoadGenerator();
    try {
      await service.start();
      await generator.command('open', { fleetFile: service.fleetFile, port: service.port });
    } catch (error) {
      await generator[Symbol.asyncDispose]();
      await service[Symbol.asyncDispose]();
      throw error;
    }
    return new Attesting(service, generator, options.hosts);
  }

  async connect(from = 0, to = this.hosts): Promise<void> {
    await this.generator.command('connectAgents', { from, to, perSecond: PACE });
    await this.generator.command('report', {});
  }

  /** What the service does while time passes. */
  async measure(
    seconds: number,
  ): Promise<{ readonly report: Report; readonly cpuMillis: number; readonly seconds: number }> {
    await this.generator.command('report', {});
    const cpu = cpuMillis(this.service.pid);
    const began = performance.now();
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    const report = await this.generator.command('report', {});
    const used = cpuMillis(this.service.pid) - cpu;
    return { report, cpuMillis: used, seconds: (performance.now() - began) / 1000 };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The service first, in good order where it is profiled; agents would only see it come and go.
    await this.service[Symbol.asyncDispose]();
    await this.generator[Symbol.asyncDispose]();
  }
}

/** Throws where something went wrong that a figure would hide. */
export function checkUndisturbed({ errors }: Report): void {
  if (Object.keys(errors).length > 0) throw new Error(`streams were lost: ${JSON.stringify(errors)}`);
}
