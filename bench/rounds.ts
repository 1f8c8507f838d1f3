import { setTimeout as delay } from 'node:timers/promises';

import { Attesting, checkUndisturbed } from './attesting.ts';
import type { Benchmark, Scale } from './benchmark.ts';
import { BareServer } from './bare/bare-server.ts';
import { LoadGenerator } from './child.ts';
import { p256VerificationMicros } from './floors.ts';
import { cpuMillis } from './measure.ts';

/** Shortest interval that a policy may ask for: each stream then brings a round a second. */
const INTERVAL = 1_000;
const GOAL = 2.5;
/** What a round sends: evidence with eight PCRs up, and down a confirmation and, before it, a challenge. */
const EVIDENCE_BYTES = 850;
const CONFIRMATION_BYTES = 100;
const PACE = 400;
/** Of each stream. */
const WARM_UP_ROUNDS = 5;
const MAX_WARM_UP_PARTS = 6;

export const rounds: Benchmark = {
  name: 'rounds',
  about: 'server CPU of one confirming round over gRPC and TLS, durable',
  async run(scale) {
    const hosts = scale.hosts ?? (scale.tiny === true ? 5 : 2_000);
    const seconds = scale.seconds ?? (scale.tiny === true ? 1 : 20);
    const bare = await bareRounds({ streams: hosts, seconds }, scale);
    const floors = [p256VerificationMicros()];
    await using attesting = await Attesting.start({ hosts, interval: scale.interval ?? INTERVAL }, scale);
    await attesting.connect();
    scale.say(`${hosts} streams are open; warming up`);
    await warmUp(attesting, seconds);
    scale.say(`measuring for ${seconds} s`);
    const measured = await attesting.measure(seconds);
    checkUndisturbed(measured.report);
    const { report } = measured;
    floors.push(p256VerificationMicros());
    const floor = (floors[0] ?? 0) / 2 + (floors[1] ?? 0) / 2;
    return [
      {
        name: 'server CPU of a round',
        value: (measured.cpuMillis * 1000) / report.rounds,
        unit: 'us',
        floor: { name: 'P-256 verification', value: floor },
        goal: GOAL,
      },
      { name: 'of which a bare grpc-js stream takes, same messages', value: bare, unit: 'us' },
      { name: 'rounds', value: report.rounds / measured.seconds, unit: '/s' },
      { name: 'server CPU in use', value: measured.cpuMillis / measured.seconds / 10, unit: '% of a core' },
      { name: 'challenge to result, p50', value: report.p50, unit: 'ms' },
      { name: 'challenge to result, p99', value: report.p99, unit: 'ms' },
    ];
  },
};

/** The first rounds compile the code that is measured afterwards: some for each stream, however busy the machine is. */
async function warmUp(attesting: Attesting, seconds: number): Promise<void> {
  const part = Math.min(10, seconds);
  let rounds = 0;
  for (let parts = 0; parts < MAX_WARM_UP_PARTS && rounds < WARM_UP_ROUNDS * attesting.hosts; parts += 1) {
    const { report } = await attesting.measure(part);
    rounds += report.rounds;
  }
}

/** Server CPU of the messages of one round on bare streams, as many and at the same pace, microseconds. */
async function bareRounds(
  { streams, seconds }: { readonly streams: number; readonly seconds: number },
  { say }: Scale,
): Promise<number> {
  say(`${streams} bare streams with the messages of a round`);
  await using server = await BareServer.start(CONFIRMATION_BYTES);
  await using generator = new LoadGenerator();
  await generator.command('open', { fleetFile: '', port: server.port });
  await generator.command('openBare', {
    path: '/bare.Bare/Round',
    caller: server.caller,
    sizes: [64],
    from: 0,
    to: streams,
    perSecond: PACE,
  });
  await generator.command('pulse', { bytes: EVIDENCE_BYTES, interval: INTERVAL });
  await delay(Math.min(3, seconds) * 1000);
  await generator.command('takeMessages', {});
  const cpu = cpuMillis(server.pid);
  await delay(Math.min(10, seconds) * 1000);
  const used = cpuMillis(server.pid) - cpu;
  const { messages } = await generator.command('takeMessages', {});
  return (used * 1000) / (messages / 2);
}
