/** `npm run bench`: measures on this machine, prints figures beside the floors of the same run. */
import { writeFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { parseArgs } from 'node:util';

import { formatFigures, relation } from './figure.ts';
import type { Benchmark, Scale } from './benchmark.ts';
import { benchmarks } from './benchmarks.ts';

const USAGE = `npm run bench -- [options] [benchmark ...]

Benchmarks, all of them where none is named:
${benchmarks.map(({ name, about }) => `  ${name.padEnd(10)} ${about}`).join('\n')}

Options:
  --hosts N        hosts, streams or agents
  --seconds N      how long to measure
  --interval MS    time between two rounds of a host
  --watchers N     watchers
  --tiny           the smallest run that goes through everything; its figures say nothing
  --profile DIR    write CPU profiles of the service there
  --json FILE      write the figures there, too
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    hosts: { type: 'string' },
    seconds: { type: 'string' },
    interval: { type: 'string' },
    watchers: { type: 'string' },
    tiny: { type: 'boolean' },
    profile: { type: 'string' },
    json: { type: 'string' },
    help: { type: 'boolean' },
  },
});

const unknown = positionals.filter((name) => !benchmarks.some((benchmark) => benchmark.name === name));
const numbers = [values.hosts, values.seconds, values.interval, values.watchers];
const badNumber = numbers.some((text) => text !== undefined && !/^[1-9][0-9]{0,6}$/.test(text));
if (values.help === true || unknown.length > 0 || badNumber) {
  process.stdout.write(USAGE);
  process.exitCode = values.help === true ? 0 : 2;
} else {
  await run(benchmarks.filter(({ name }) => positionals.length === 0 || positionals.includes(name)));
}

async function run(chosen: readonly Benchmark[]): Promise<void> {
  console.log(describeMachine());
  const scale: Scale = {
    hosts: numberOf(values.hosts),
    seconds: numberOf(values.seconds),
    interval: numberOf(values.interval),
    watchers: numberOf(values.watchers),
    tiny: values.tiny,
    profileDirectory: values.profile,
    say: (line) => console.log(`  ... ${line}`),
  };
  const all: Record<string, unknown> = {};
  for (const { name, about, run: measure } of chosen) {
    console.log(`\n${name}: ${about}`);
    const figures = await measure(scale);
    console.log(formatFigures(figures));
    console.log(
      `load average of the machine: ${loadavg()
        .map((load) => load.toFixed(1))
        .join(' ')}`,
    );
    all[name] = figures.map((figure) => ({ ...figure, relation: relation(figure) }));
  }
  if (values.json !== undefined)
    writeFileSync(values.json, `${JSON.stringify({ machine: describeMachine(), ...all }, null, 2)}\n`);
}

function numberOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Number(text);
}

function describeMachine(): string {
  const [first] = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${cpus().length} cores (${first?.model ?? 'unknown'}), ${memory} GiB, Node ${process.version}, OpenSSL ${process.versions.openssl}`;
}
