import { Attesting, checkUndisturbed } from './attesting.ts';
import { BareServer } from './bare/bare-server.ts';
import type { Benchmark, Scale } from './benchmark.ts';
import { LoadGenerator } from './child.ts';
import { cpuMillis } from './measure.ts';

const INTERVAL = 1_000;
/** Messages to each stream of the floor. */
const FLOOR_ROUNDS = 2_000;

export const watch: Benchmark = {
  name: 'watch',
  about: 'changes told to many watchers, beside bare streams that carry as many bytes',
  async run(scale) {
    const hosts = scale.hosts ?? (scale.tiny === true ? 3 : 100);
    const watchers = scale.watchers ?? (scale.tiny === true ? 2 : 50);
    const seconds = scale.seconds ?? (scale.tiny === true ? 1 : 15);
    await using attesting = await Attesting.start({ hosts, interval: scale.interval ?? INTERVAL }, scale);
    const { generator } = attesting;
    await attesting.connect();
    scale.say(`${hosts} hosts without changes`);
    const still = await attesting.measure(seconds);
    await generator.command('openWatchers', { count: watchers });
    await generator.command('setChanging', { changing: true });
    await attesting.measure(Math.min(5, seconds));
    await generator.command('takeMessages', {});
    scale.say(`every round is a change now, told to ${watchers} watchers`);
    const measured = await attesting.measure(seconds);
    const { messages, bytes } = await generator.command('takeMessages', {});
    checkUndisturbed(measured.report);
    const roundMicros = (still.cpuMillis * 1000) / still.report.rounds;
    // What the rounds themselves cost is not the watchers' share.
    const told = measured.cpuMillis * 1000 - roundMicros * measured.report.rounds;
    const floor = await bareFlow(
      { streams: watchers, bytes: Math.round(bytes / Math.max(1, messages)), tiny: scale.tiny },
      scale,
    );
    return [
      { name: 'changes', value: measured.report.rounds / measured.seconds, unit: '/s' },
      { name: 'messages to watchers', value: messages / measured.seconds, unit: '/s' },
      { name: 'of all that were due', value: (100 * messages) / (measured.report.rounds * watchers), unit: '%' },
      {
        name: 'server CPU of a message to a watcher',
        value: told / messages,
        unit: 'us',
        floor: { name: 'bare stream message', value: floor },
      },
      { name: 'challenge to result, p99', value: measured.report.p99, unit: 'ms' },
    ];
  },
};

/** Server CPU of one message on one of many bare streams, microseconds. */
async function bareFlow(
  { streams, bytes, tiny }: { readonly streams: number; readonly bytes: number; readonly tiny?: boolean | undefined },
  { say }: Scale,
): Promise<number> {
  say(`${streams} bare streams with messages of ${bytes} bytes`);
  const rounds = tiny === true ? 100 : FLOOR_ROUNDS;
  await using server = await BareServer.start(bytes);
  await using generator = new LoadGenerator();
  await generator.command('open', { fleetFile: '', port: server.port });
  await generator.command('openBare', { path: '/bare.Bare/Flow', from: 0, to: streams, perSecond: 400 });
  await server.flow(Math.ceil(rounds / 10));
  const cpu = cpuMillis(server.pid);
  await server.flow(rounds);
  return ((cpuMillis(server.pid) - cpu) * 1000) / (rounds * streams);
}
