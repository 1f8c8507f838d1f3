/** One crash test: a service, machines, an operator and watchers, a number of kills, and the model held against the history. */
import { setTimeout as delay } from 'node:timers/promises';

import type { Profile } from '../../client/sdk/profile.ts';
import type { ResultFilter } from '../../server/store/filters.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { AgentProcess } from './agent-process.ts';
import { CrashingService } from './crashing-service.ts';
import { checkHistory } from './model/check-history.ts';
import { checkFiles } from './model/check-whole.ts';
import { readHistory } from './model/history.ts';
import { listFile } from './list-file.ts';
import { Machine } from './machine.ts';
import { Operator } from './operator.ts';
import { AGENT_POINTS, drawDeath, SERVICE_POINTS } from './plan.ts';
import type { Death } from './plan.ts';
import { recover } from './recover.ts';
import { trustTestAnchors } from './trust-test-anchors.ts';
import { Watcher } from './watcher.ts';

export interface CrashOptions {
  readonly kills: number;
  readonly seed: number;
  /** Hears how it goes. */
  readonly tell?: (text: string) => void;
}

export interface CrashReport {
  readonly problems: readonly string[];
  /** Kills by the point at which they came. */
  readonly kills: Readonly<Record<string, number>>;
  readonly revisions: number;
  readonly deeds: number;
  /** Deeds that were acknowledged, and deeds whose end nobody was told. */
  readonly acknowledged: number;
  readonly unknown: number;
  readonly told: number;
  readonly enrollments: number;
  readonly renewals: number;
  /** By cause and status. */
  readonly changes: Readonly<Record<string, number>>;
  /** By the name of the action. */
  readonly audited: Readonly<Record<string, number>>;
  readonly streams: number;
  readonly seconds: number;
}

const MACHINES = 4;
/** Labels by which hosts come into a scope and leave it. */
const ZONES = ['a', 'b'];
/** Of the kills, so many in a hundred hit the service; the others hit agents. */
const SERVICE_SHARE = 60;
/** How long the service is away now and then, milliseconds. */
const ABSENCE = 3_000;
/** A point that is not reached so long after a process is ready is not waited for, milliseconds. */
const PATIENCE = 6_000;

export async function runCrashTest({ kills, seed, tell = () => undefined }: CrashOptions): Promise<CrashReport> {
  const began = Date.now();
  await using service = await CrashingService.init([
    'admission: [certificate, approval]',
    'agent_certificate_lifetime: 10m',
  ]);
  await service.serve();
  await trustTestAnchors(service);
  const test = new CrashTest(service, seed, tell);
  await test.run(kills);
  const history = await readHistory(service.data);
  return test.report(history, (Date.now() - began) / 1_000);
}

class CrashTest {
  readonly #service: CrashingService;
  readonly #seed: number;
  readonly #tell: (text: string) => void;
  readonly #machines: readonly Machine[];
  readonly #agents: readonly AgentProcess[];
  readonly #operator: Operator;
  readonly #watchers: Watcher[];
  /** Who sees the hosts of one zone alone, by zone. */
  readonly #readers = new Map<string, Profile>();
  readonly #kills: Record<string, number> = {};
  readonly #problems: string[] = [];
  readonly #random: (what: number) => SeededRandom;
  #killing = true;

  constructor(service: CrashingService, seed: number, tell: (text: string) => void) {
    this.#service = service;
    this.#seed = seed;
    this.#tell = tell;
    // Each part draws from a source of its own: what one does must not depend on how fast another is.
    this.#random = (what) => new SeededRandom(seed * 16 + what);
    this.#machines = Array.from(
      { length: MACHINES },
      (_, index) =>
        new Machine(`m${index}`, { certified: index % 2 === 0, list: listFile(service.directory, `m${index}`) }),
    );
    const half = MACHINES / 2;
    this.#agents = [this.#machines.slice(0, half), this.#machines.slice(half)].map(
      (machines) => new AgentProcess(service, machines),
    );
    const hostIds = this.#machines.map(({ hostId }) => hostId);
    const connect = () => service.clientWhenUp();
    this.#operator = new Operator({ random: this.#random(0), hostIds, connect });
    const all = { hostIds: [], statuses: [], policyIds: [], matchLabels: {}, scope: {} };
    this.#watchers = [
      { name: 'all', filter: all },
      { name: 'affirming', filter: { ...all, statuses: ['affirming' as const] } },
      { name: 'zone a', filter: { ...all, matchLabels: { zone: 'a' } } },
      {
        name: 'two hosts',
        filter: { ...all, hostIds: hostIds.slice(0, 2), statuses: ['none' as const, 'contraindicated' as const] },
      },
    ].map((options) => new Watcher({ ...options, connect }));
    // They ask for everything, and see the hosts of their scope.
    const seeing = (scope: ResultFilter['scope'], filter: Partial<ResultFilter> = {}): Watcher =>
      new Watcher({
        name: `scope ${JSON.stringify({ ...scope, ...filter })}`,
        filter: { ...all, ...filter, scope },
        connect: () => service.clientWhenUp(this.#readers.get(scope['zone'] ?? '')),
      });
    for (const zone of ZONES) this.#watchers.push(seeing({ zone }));
    this.#watchers.push(seeing({ zone: 'a' }, { statuses: ['affirming'] }));
  }

  async run(kills: number): Promise<void> {
    const ofService = Math.round((kills * SERVICE_SHARE) / 100);
    const ofAgents = [Math.ceil((kills - ofService) / 2), Math.floor((kills - ofService) / 2)];
    await this.#operator.applyPolicy({ denies: false, validity: 3 });
    for (const zone of ZONES) this.#readers.set(zone, await this.#service.issueReader(`zone-${zone}`, { zone }));
    const watching = this.#watchers.map((watcher) => watcher.run());
    const acting = [this.#operate(), this.#interfere()];
    const killing = ofAgents.map((share, index) => this.#killAgents(index, share));
    await Promise.all([this.#killService(ofService), ...killing]);
    this.#killing = false;
    await Promise.all(acting);
    this.#problems.push(...(await recover({ operator: this.#operator, machines: this.#machines })));
    for (const agent of this.#agents) await agent.stop();
    for (const watcher of this.#watchers) await watcher.catchUp();
    for (const watcher of this.#watchers) watcher.stop();
    await Promise.all(watching);
    this.#operator.close();
    await this.#service.child.kill('SIGTERM');
  }

  report(history: Awaited<ReturnType<typeof readHistory>>, seconds: number): CrashReport {
    const enrollments = this.#agents.flatMap(({ enrollments: told }) => told);
    const told = [...this.#agents.flatMap(({ results }) => results), ...this.#operator.told];
    const { deeds } = this.#operator;
    const problems = checkHistory(history, {
      deeds,
      told,
      enrollments,
      watches: this.#watchers,
      ledgers: new Map(this.#machines.map(({ hostId, signed }) => [hostId, signed])),
    });
    const faults = [
      ...this.#operator.faults.map((text) => `operator: ${text}`),
      ...this.#watchers.flatMap(({ name, faults: each }) => each.map((text) => `watcher ${name}: ${text}`)),
    ];
    return {
      problems: [...this.#problems, ...faults, ...problems],
      kills: this.#kills,
      revisions: history.revision,
      deeds: deeds.length,
      acknowledged: deeds.filter(({ outcome }) => outcome === 'acknowledged').length,
      unknown: deeds.filter(({ outcome }) => outcome === 'unknown').length,
      told: told.length + this.#watchers.reduce((sum, { heard }) => sum + heard.length, 0),
      enrollments: enrollments.length,
      renewals: this.#agents.reduce((sum, { renewals }) => sum + renewals, 0),
      changes: countBy(history.changes.map(({ cause, result }) => `${cause}, ${result.status}`)),
      audited: countBy(history.audit.map(({ action }) => action)),
      streams: this.#watchers.reduce((sum, { streams }) => sum + streams, 0),
      seconds,
    };
  }

  async #killService(kills: number): Promise<void> {
    const random = this.#random(1);
    await this.#service.child.kill();
    for (let kill = 1; kill <= kills; kill++) {
      const death = drawDeath(random, SERVICE_POINTS);
      // Long enough for verdicts to run out meanwhile.
      if (random.below(8) === 0) await delay(ABSENCE);
      const ready = await this.#service.serve(death.kind === 'point' ? { crash: death.crash } : {});
      const { child } = this.#service;
      const reached = await this.#awaitDeath(child, death, ready);
      const copy = await this.#service.copyStore();
      this.#problems.push(...checkFiles(copy).map((text) => `after kill ${kill} of the service: ${text}`));
      await this.#service.removeCopy(copy);
      this.#count(`service, ${nameOf(death, reached)}`, `${kill} of ${kills}`);
    }
    if (!(await this.#service.serve())) this.#problems.push(`the service did not start: ${this.#service.child.output}`);
  }

  async #killAgents(index: number, kills: number): Promise<void> {
    const random = this.#random(2 + index);
    const agent = this.#agents[index];
    if (agent === undefined) return;
    for (let kill = 1; kill <= kills; kill++) {
      const death = drawDeath(random, AGENT_POINTS);
      if (random.below(6) === 0) await agent.loseDisk(random.below(MACHINES / 2));
      const child = agent.start(death.kind === 'point' ? death.crash : undefined);
      const reached = await this.#awaitDeath(child, death, await child.says('ready'));
      this.#count(`agents, ${nameOf(death, reached)}`, `${kill} of ${kills}`);
    }
    agent.start();
  }

  /** False where it had to be killed because it did not come to its point. */
  async #awaitDeath(child: AgentProcess['child'], death: Death, ready: boolean): Promise<boolean> {
    if (ready && death.kind === 'time') await delay(death.after);
    const reached = death.kind === 'time' || (await child.goneWithin(PATIENCE));
    await child.kill();
    if (child.end.signal !== 'SIGKILL') this.#problems.push(`ended by itself: ${child.output.slice(-2_000)}`);
    return reached;
  }

  #count(point: string, which: string): void {
    this.#kills[point] = (this.#kills[point] ?? 0) + 1;
    this.#tell(`seed ${this.#seed}: kill ${which}: ${point}`);
  }

  async #operate(): Promise<void> {
    while (this.#killing) {
      await this.#operator.act();
      await delay(40);
    }
  }

  /** What happens to machines and watchers. */
  async #interfere(): Promise<void> {
    const random = this.#random(4);
    while (this.#killing) {
      await delay(150 + random.below(400));
      const machine = random.pick(this.#machines);
      const choice = random.below(16);
      if (choice < 4) machine.reboot();
      else if (choice < 7) machine.tamper();
      else if (choice === 7) machine.clear();
      else if (choice < 10) random.pick(this.#watchers).interrupt();
      else if (choice < 15) machine.measure();
    }
  }
}

function nameOf(death: Death, reached: boolean): string {
  return death.kind === 'point' && reached ? death.crash.point : 'at a random time';
}

function countBy(names: readonly string[]): Readonly<Record<string, number>> {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return Object.fromEntries([...counts].sort());
}

/** For a person. */
export function describeReport({ kills, changes, audited, problems, ...counts }: CrashReport, seed: number): string {
  const total = Object.values(kills).reduce((sum, each) => sum + each, 0);
  const listed = (table: Readonly<Record<string, number>>): readonly string[] =>
    Object.entries(table).map(([what, count]) => `  ${what}: ${count}`);
  return [
    `seed ${seed}: ${total} kills`,
    ...listed(kills),
    'revisions:',
    ...listed(changes),
    'in the audit log:',
    ...listed(audited),
    ...Object.entries(counts).map(([what, count]) => `${what}: ${count}`),
    problems.length === 0 ? 'nothing was lost, and nothing looked better than it was' : `${problems.length} problems:`,
    ...problems.slice(0, 50).map((problem) => `  ${problem}`),
  ].join('\n');
}
