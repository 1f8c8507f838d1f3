import { Attesting } from './attesting.ts';
import { BareServer } from './bare/bare-server.ts';
import { settling } from './benchmark.ts';
import type { Benchmark, Scale } from './benchmark.ts';
import { LoadGenerator } from './child.ts';
import { settledKilobytes } from './measure.ts';

const HOUR = 3_600_000;
const GOAL_KILOBYTES = 20;
const PACE = 400;
/** Bytes of what an agent sends before it waits: hello and evidence. */
const SENT = [64, 850];
/** Size of an attestation result on the wire. */
const MESSAGE_BYTES = 1_700;

/** Memory of a server with as many streams open as are measured, then with all: what is made once, and what grows at first, is in both. */
interface Grown {
  readonly perStream: number;
  readonly total: number;
}

export const idle: Benchmark = {
  name: 'idle',
  about: 'memory of an idle Attest stream beside a bare grpc-js stream',
  async run(scale) {
    const streams = scale.hosts ?? (scale.tiny === true ? 8 : 2_000);
    const bare = await bareStreams(streams, scale);
    const assay = await attestStreams(streams, scale);
    return [
      {
        name: 'RSS of an idle Attest stream',
        value: assay.perStream,
        unit: 'kB',
        floor: { name: 'bare grpc-js TLS stream', value: bare.perStream },
        over: 'difference',
        goal: GOAL_KILOBYTES,
      },
      { name: `RSS of the service with ${2 * streams} streams`, value: assay.total / 1024, unit: 'MB' },
    ];
  },
};

async function attestStreams(streams: number, scale: Scale): Promise<Grown> {
  await using attesting = await Attesting.start({ hosts: 2 * streams, interval: HOUR }, scale);
  return await grown(streams, {
    settle: settling(scale),
    pid: attesting.service.pid,
    open: (from, to) => attesting.connect(from, to),
  });
}

async function bareStreams(streams: number, scale: Scale): Promise<Grown> {
  scale.say(`opening ${2 * streams} bare streams`);
  await using server = await BareServer.start(MESSAGE_BYTES);
  await using generator = new LoadGenerator();
  await generator.command('open', { fleetFile: '', port: server.port });
  return await grown(streams, {
    settle: settling(scale),
    pid: server.pid,
    open: async (from, to) => {
      const { caller } = server;
      await generator.command('openBare', { path: '/bare.Bare/Hold', caller, sizes: SENT, from, to, perSecond: PACE });
    },
  });
}

async function grown(
  streams: number,
  {
    pid,
    open,
    settle,
  }: {
    readonly pid: number;
    readonly open: (from: number, to: number) => Promise<void>;
    readonly settle: ReturnType<typeof settling>;
  },
): Promise<Grown> {
  await open(0, streams);
  const before = await settledKilobytes(pid, settle);
  await open(streams, 2 * streams);
  const total = await settledKilobytes(pid, settle);
  return { perStream: (total - before) / streams, total };
}
