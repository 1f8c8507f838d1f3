import { Attesting, checkUndisturbed } from './attesting.ts';
import { settling } from './benchmark.ts';
import type { Benchmark } from './benchmark.ts';
import { settledKilobytes } from './measure.ts';

type Measured = Awaited<ReturnType<Attesting['measure']>>;

const SAMPLES = 4;

export const crowd: Benchmark = {
  name: 'crowd',
  about: 'many hosts at an interval of 10 s for a while: latency, CPU, flat memory',
  async run(scale) {
    const hosts = scale.hosts ?? (scale.tiny === true ? 5 : 2_000);
    const interval = scale.interval ?? (scale.tiny === true ? 1_000 : 10_000);
    const seconds = scale.seconds ?? (scale.tiny === true ? 2 : 60);
    await using attesting = await Attesting.start({ hosts, interval }, scale);
    await attesting.connect();
    // As long as a part, so that the rounds are spread and the heap is as large as it gets between two collections.
    await attesting.measure(Math.max(interval / 1000, seconds / SAMPLES));
    const { pid } = attesting.service;
    const first = { rss: await settledKilobytes(pid, settling(scale)), heap: attesting.service.heapKilobytes };
    // Collecting the garbage of many hosts stops the service for a while, and what waited meanwhile comes all at once.
    await attesting.measure(interval / 1000);
    const measured: Measured[] = [];
    for (let sample = 0; sample < SAMPLES; sample += 1) {
      scale.say(`${hosts} hosts, part ${sample + 1} of ${SAMPLES}`);
      const part = await attesting.measure(seconds / SAMPLES);
      checkUndisturbed(part.report);
      measured.push(part);
    }
    const last = { rss: await settledKilobytes(pid, settling(scale)), heap: attesting.service.heapKilobytes };
    const total = (value: (part: Measured) => number): number => measured.reduce((sum, part) => sum + value(part), 0);
    return [
      { name: 'rounds', value: total(({ report }) => report.rounds) / total((part) => part.seconds), unit: '/s' },
      { name: 'challenge to result, p50', value: total(({ report }) => report.p50) / SAMPLES, unit: 'ms' },
      {
        name: 'challenge to result, p99 of the worst part',
        value: Math.max(...measured.map(({ report }) => report.p99)),
        unit: 'ms',
      },
      {
        name: 'server CPU',
        value: total((part) => part.cpuMillis) / total((part) => part.seconds) / 10,
        unit: '% of a core',
      },
      {
        name: 'JavaScript heap at the end',
        value: last.heap / 1024,
        unit: 'MB',
        floor: { name: 'at the start', value: first.heap / 1024 },
        goal: 1.05,
      },
      {
        name: 'RSS at the end',
        value: last.rss / 1024,
        unit: 'MB',
        floor: { name: 'at the start', value: first.rss / 1024 },
      },
    ];
  },
};
