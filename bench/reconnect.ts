import { Attesting } from './attesting.ts';
import { BareServer } from './bare/bare-server.ts';
import type { Benchmark, Scale } from './benchmark.ts';
import { LoadGenerator } from './child.ts';
import { cpuMillis, residentKilobytes } from './measure.ts';

const INTERVAL = 60_000;
const TIMEOUT_SECONDS = 120;

export const reconnect: Benchmark = {
  name: 'reconnect',
  about: 'the service is killed and started again; every agent comes back at once',
  async run(scale) {
    const hosts = scale.hosts ?? (scale.tiny === true ? 5 : 2_000);
    const bare = await bareConnections(hosts, scale);
    await using attesting = await Attesting.start({ hosts, interval: INTERVAL }, scale);
    await attesting.connect();
    const { service, generator } = attesting;
    scale.say(`${hosts} agents are connected; the service is killed`);
    await service.stop('SIGKILL');
    // Before it runs again: an agent that is quick has its result before anybody could ask.
    await generator.command('markAll', {});
    const began = performance.now();
    await service.start();
    const startMillis = performance.now() - began;
    const cpu = cpuMillis(service.pid);
    const { p50, max, rounds } = await generator.command('awaitAll', { timeoutSeconds: TIMEOUT_SECONDS });
    if (rounds < hosts) throw new Error(`only ${rounds} of ${hosts} agents have come back: ${service.output}`);
    const used = cpuMillis(service.pid) - cpu;
    return [
      { name: 'start of the service', value: startMillis, unit: 'ms' },
      { name: 'half of the agents attested again after', value: (p50 - startMillis) / 1000, unit: 's' },
      { name: 'all agents attested again after', value: (max - startMillis) / 1000, unit: 's' },
      {
        name: 'server CPU of a return (handshake, first round)',
        value: used / hosts,
        unit: 'ms',
        floor: { name: 'bare TLS connection and message', value: bare },
      },
      { name: 'RSS right afterwards', value: residentKilobytes(service.pid) / 1024, unit: 'MB' },
    ];
  },
};

/** Server CPU of one connection with one message each way, all opened at once, milliseconds. */
async function bareConnections(count: number, { say }: Scale): Promise<number> {
  say(`${count} bare connections at once`);
  await using server = await BareServer.start(1_024);
  await using generator = new LoadGenerator();
  await generator.command('open', { fleetFile: '', port: server.port });
  const cpu = cpuMillis(server.pid);
  await generator.command('openBare', {
    path: '/bare.Bare/Hold',
    caller: server.caller,
    sizes: [64],
    from: 0,
    to: count,
    perSecond: 0,
  });
  return (cpuMillis(server.pid) - cpu) / count;
}
