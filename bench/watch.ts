import { Attesting, checkUndisturbed } from './attesting.ts';
import { BareServer } from './bare/bare-server.ts';
import type { Benchmark, Scale } from './benchmark.ts';
import { LoadGenerator } from './child.ts';
import { cpuMillis } from './measure.ts';

const INTERVAL = 1_000;
/** Changes a second that are tried, one after another, until the watchers do not keep up. */
const STEPS = [25, 50, 100, 200, 300, 400, 600, 800];
/** Part of what is due that must arrive in the measured time: what is on its way at its ends is neither lost nor late. */
const KEPT_UP = 0.98;
/** Messages to each stream of the floor. */
const FLOOR_ROUNDS = 2_000;

interface Step {
  readonly changes: number;
  readonly messages: number;
  readonly bytes: number;
  readonly part: number;
  readonly micros: number;
  readonly p99: number;
}

export const watch: Benchmark = {
  name: 'watch',
  about: 'the most changes that many watchers keep up with, beside bare streams that carry as many bytes',
  async run(scale) {
    const tiny = scale.tiny === true;
    const interval = scale.interval ?? INTERVAL;
    const hosts = scale.hosts ?? (tiny ? 3 : 1_000);
    const watchers = scale.watchers ?? (tiny ? 2 : 200);
    const seconds = scale.seconds ?? (tiny ? 1 : 10);
    await using attesting = await Attesting.start({ hosts, interval }, scale);
    const steps = [
      ...STEPS.map((changes) => Math.round((changes * interval) / 1000)).filter((step) => step < hosts),
      hosts,
    ];
    const first = steps[0] ?? hosts;
    await attesting.connect(0, first);
    scale.say(`${first} hosts without changes`);
    const still = await attesting.measure(seconds);
    // What the rounds themselves cost is not the watchers' share.
    const roundMicros = (still.cpuMillis * 1000) / still.report.rounds;
    await attesting.generator.command('openWatchers', { count: watchers });
    let [kept, tried]: (Step | undefined)[] = [];
    for (const [index, step] of steps.entries()) {
      if (index > 0) await attesting.connect(steps[index - 1], step);
      await attesting.generator.command('setChanging', { changing: true });
      tried = await measureStep(attesting, { seconds, watchers, roundMicros });
      scale.say(
        `${step} hosts: ${Math.round(tried.changes)} changes/s, ${Math.round(tried.part * 100)} % told in time`,
      );
      if (tried.part < KEPT_UP) break;
      kept = tried;
    }
    // Where even the first step was too much, its figures say by how much.
    const best = kept ?? tried;
    if (best === undefined) throw new TypeError('no step was measured');
    const floor = await bareFlow(
      { streams: watchers, bytes: Math.round(best.bytes / Math.max(1, best.messages)), tiny },
      scale,
    );
    return [
      { name: `changes that ${watchers} watchers keep up with`, value: kept?.changes ?? 0, unit: '/s' },
      { name: 'of all that were due then', value: 100 * best.part, unit: '%' },
      {
        name: 'messages to watchers then',
        value: best.messages,
        unit: '/s',
        floor: { name: 'bare streams at full speed', value: floor.perSecond },
      },
      {
        name: 'server CPU of a message to a watcher then',
        value: best.micros,
        unit: 'us',
        floor: { name: 'bare stream message', value: floor.micros },
      },
      { name: 'challenge to result then, p99', value: best.p99, unit: 'ms' },
    ];
  },
};

async function measureStep(
  attesting: Attesting,
  {
    seconds,
    watchers,
    roundMicros,
  }: { readonly seconds: number; readonly watchers: number; readonly roundMicros: number },
): Promise<Step> {
  await attesting.measure(Math.min(5, seconds));
  await attesting.generator.command('takeMessages', {});
  const { report, ...measured } = await attesting.measure(seconds);
  const { messages, bytes } = await attesting.generator.command('takeMessages', {});
  checkUndisturbed(report);
  return {
    changes: report.rounds / measured.seconds,
    messages: messages / measured.seconds,
    bytes: bytes / measured.seconds,
    part: messages / (report.rounds * watchers),
    micros: (measured.cpuMillis * 1000 - roundMicros * report.rounds) / messages,
    p99: report.p99,
  };
}

/** Messages on many bare streams, as fast as they go: server CPU of one, microseconds, and how many in a second. */
async function bareFlow(
  { streams, bytes, tiny }: { readonly streams: number; readonly bytes: number; readonly tiny?: boolean | undefined },
  { say }: Scale,
): Promise<{ readonly micros: number; readonly perSecond: number }> {
  say(`${streams} bare streams with messages of ${bytes} bytes`);
  const rounds = tiny === true ? 100 : FLOOR_ROUNDS;
  await using server = await BareServer.start(bytes);
  await using generator = new LoadGenerator();
  await generator.command('open', { fleetFile: '', port: server.port });
  await generator.command('openBare', {
    path: '/bare.Bare/Flow',
    caller: server.caller,
    sizes: [64],
    from: 0,
    to: streams,
    perSecond: 400,
  });
  await server.flow(Math.ceil(rounds / 10));
  const cpu = cpuMillis(server.pid);
  const began = performance.now();
  await server.flow(rounds);
  const micros = ((cpuMillis(server.pid) - cpu) * 1000) / (rounds * streams);
  return { micros, perSecond: (rounds * streams * 1000) / (performance.now() - began) };
}
