import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';

import { expect, it } from 'vitest';

import type { AssayClient } from '../../client/sdk/client.ts';
import type { Profile } from '../../client/sdk/profile.ts';
import type { AttestationResult, TrustStatus as StatusWord } from '../../client/sdk/resources.ts';
import { RpcError } from '../../proto/rpc-error.ts';
import { ENGINE_VERSION } from '../../server/policy/appraise.ts';
import type { ResultFilter } from '../../server/store/filters.ts';
import { openSqliteStore } from '../../server/store/sqlite.ts';
import { commit, enrolled, round } from '../server/store/fixtures.ts';
import { policy } from '../support/deployment.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { putPolicy } from '../support/test-service.ts';
import { CrashingService } from './crashing-service.ts';
import { checkWatch } from './model/check-watch.ts';
import type { Heard } from './model/check-watch.ts';
import { readHistory } from './model/history.ts';
import { SERVICE_POINTS } from './plan.ts';
import { Watcher } from './watcher.ts';

const CHANGES = 1_000;
/** Of each kind: whenever it is, and at a point of a commit or an answer. */
const KILLS = 6;
/** Changes after which a watcher loses its stream as well. */
const INTERRUPTED_AFTER = 50;
/** For how long at the most it stays away then, milliseconds: verdicts end meanwhile. */
const AWAY = 3_000;
/** Callers that change hosts at the same time. */
const OPERATORS = 3;
const ZONES = ['a', 'b', 'c'];
const HOSTS = Array.from({ length: 9 }, (_, index) => `h-${'a'.repeat(25)}${'bcdefghij'[index]}`);

const ALL: ResultFilter = { hostIds: [], statuses: [], policyIds: [], matchLabels: {}, scope: {} };
const FILTERS: readonly Partial<ResultFilter>[] = [
  {},
  {},
  { statuses: ['affirming'] },
  { statuses: ['none'] },
  { statuses: ['contraindicated', 'none'] },
  { hostIds: HOSTS.slice(0, 1) },
  { hostIds: HOSTS.slice(2, 6), statuses: ['affirming'] },
  ...ZONES.map((zone) => ({ matchLabels: { zone } })),
  { matchLabels: { zone: 'a', tier: '1' } },
  { matchLabels: { zone: 'mars' } },
  ...ZONES.map((zone) => ({ scope: { zone } })),
  { scope: { zone: 'a' }, statuses: ['affirming'] },
  { scope: { zone: 'b' }, matchLabels: { tier: '2' } },
  { scope: { zone: 'c' }, hostIds: HOSTS.slice(0, 4) },
  { scope: { zone: 'a' }, matchLabels: { zone: 'b' } },
  { scope: { zone: 'b' }, statuses: ['none', 'contraindicated'] },
];

/** How long the verdicts of the hosts hold, milliseconds: most end while the service is killed and watchers are away. */
const VALIDITIES = [600_000, 600_000, 4_000, 8_000, 12_000, 16_000, 20_000, 600_000, 600_000];
/** Those whose verdicts end before the policy changes, which takes every other verdict away. */
const BRIEF = HOSTS.slice(2, 5);
/** Changes after which that is. */
const POLICY_CHANGE = 600;

/** Nine hosts that are affirmed, in a store that nobody serves yet. */
async function furnish(service: CrashingService): Promise<void> {
  const store = await openSqliteStore({
    directory: service.data,
    wallClock: Date.now,
    monotonic: () => performance.now(),
    random: (size) => randomBytes(size),
  });
  // Else the service would drop these verdicts, as those of another release.
  await store.judgeBy(ENGINE_VERSION);
  await putPolicy(store);
  for (const [index, id] of HOSTS.entries()) {
    await enrolled(store, id.slice('h-'.length));
    const validity = VALIDITIES[index] ?? 0;
    expect(await commit(store, await round(store, id, { validity }))).toMatchObject({ outcome: 'changed' });
  }
  await store.close();
}

interface OperatorsOptions {
  readonly random: SeededRandom;
  /** Called after each change. */
  readonly tell: () => void;
  /** The policy is not changed before. */
  readonly over: Promise<void>;
}

/** Changes labels, and now and then what trust rests on, until so many changes are acknowledged. */
class Operators {
  acknowledged = 0;
  readonly #service: CrashingService;
  readonly #options: OperatorsOptions;
  /** What is done once besides, after so many changes. */
  readonly #due: { readonly after: number; readonly act: (client: AssayClient) => Promise<unknown> }[] = [
    ...HOSTS.slice(0, 2).map((host, index) => ({
      after: 300 + index,
      act: (client: AssayClient) => client.hosts.revoke(host, 'stolen'),
    })),
    { after: POLICY_CHANGE, act: (client) => client.policies.apply(policy('base', { description: 'changed' })) },
  ];
  readonly faults: string[] = [];

  constructor(service: CrashingService, options: OperatorsOptions) {
    this.#service = service;
    this.#options = options;
  }

  async run(): Promise<void> {
    await Promise.all(Array.from({ length: OPERATORS }, () => this.#operate()));
  }

  async #operate(): Promise<void> {
    while (this.acknowledged < CHANGES) {
      const client = await this.#service.clientWhenUp();
      try {
        while (this.acknowledged < CHANGES) {
          if (this.acknowledged >= POLICY_CHANGE) await this.#options.over;
          await this.#act(client);
          this.acknowledged += 1;
          this.#options.tell();
        }
      } catch (error) {
        // A change that was under way when the service died may have been made, or not.
        if (!(error instanceof RpcError) || error.code !== 'UNAVAILABLE') this.faults.push(String(error));
      } finally {
        client.close();
      }
    }
  }

  async #act(client: AssayClient): Promise<void> {
    const { random } = this.#options;
    const [due] = this.#due;
    if (due !== undefined && this.acknowledged >= due.after) {
      await due.act(client);
      if (this.#due[0] === due) this.#due.shift();
      return;
    }
    const labels = { zone: random.pick(ZONES), tier: String(1 + random.below(3)), turn: String(this.acknowledged) };
    await client.hosts.update(random.pick(HOSTS), { labels });
  }
}

/** What a watcher believes at the end: the revision of each host that it was told of and not told to forget. */
function believed(heard: readonly Heard[]): ReadonlyMap<string, number> {
  const present = new Map<string, number>();
  for (const each of heard) {
    if (each.kind === 'initial' || each.kind === 'change') present.set(each.result.hostId, each.result.revision);
    else if (each.kind === 'removal') present.delete(each.hostId);
  }
  return present;
}

/** Resolves when a watcher has heard that the verdicts of these hosts are over. */
async function untilOver({ heard }: Watcher, hosts: readonly string[]): Promise<void> {
  const isOver = (host: string): boolean =>
    heard.some((each) => 'result' in each && each.result.hostId === host && each.result.status === 'none');
  while (!hosts.every(isOver)) await delay(50);
}

/** What the watchers have heard once each has heard all that there is. */
async function heardByAll(watchers: readonly Watcher[]): Promise<readonly (readonly Heard[])[]> {
  await Promise.all(watchers.map((watcher) => watcher.catchUp()));
  return watchers.map(({ heard }) => [...heard]);
}

/** The revisions behind which watchers stand that have heard this. */
function standing(all: readonly (readonly Heard[])[]): readonly (number | null)[] {
  return [...new Set(all.map((heard) => heard.at(-1)?.revision ?? null))];
}

async function listed(client: AssayClient, filter: ResultFilter): Promise<ReadonlyMap<string, number>> {
  const statuses = filter.statuses.map((status) => status.toUpperCase() as StatusWord);
  const results: AttestationResult[] = [];
  for await (const result of client.results.list({
    hosts: filter.hostIds,
    statuses,
    matchLabels: filter.matchLabels,
  }))
    results.push(result);
  return new Map(results.map(({ host, revision }) => [host.slice('hosts/'.length), Number(revision)]));
}

it('twenty watchers of different filters and scopes hear each of 1,000 changes once, over kills of the service, and end with what a list says', async () => {
  const seed = Number(process.env['ASSAY_CRASH_SEED'] ?? Math.floor(Math.random() * 1_000_000));
  const random = new SeededRandom(seed);
  await using service = await CrashingService.init();
  await furnish(service);
  await service.serve();
  const readers = new Map<string, Profile>();
  for (const zone of ZONES) readers.set(zone, await service.issueReader(`zone-${zone}`, { zone }));
  const profileOf = ({ scope }: ResultFilter): Profile | undefined => readers.get(scope['zone'] ?? '');
  const watchers = FILTERS.map((part, index) => {
    const filter = { ...ALL, ...part };
    const connect = () => service.clientWhenUp(profileOf(filter));
    return new Watcher({ name: `${index} ${JSON.stringify(part)}`, filter, connect });
  });
  expect(watchers).toHaveLength(20);
  const watching = watchers.map((watcher) => watcher.run());
  const [everything] = watchers;
  if (everything === undefined) throw new TypeError('nobody watches');
  const operators = new Operators(service, {
    random,
    tell: () => {
      if (operators.acknowledged % INTERRUPTED_AFTER === 0) random.pick(watchers).interrupt(random.below(AWAY));
    },
    over: untilOver(everything, BRIEF),
  });
  const operating = operators.run();
  for (let kill = 0; kill < KILLS; kill += 1) {
    // Spread over the changes: each process lives for some of them.
    while (operators.acknowledged < (kill * CHANGES) / (KILLS + 1)) await delay(10);
    await service.child.kill();
    const crash = { point: random.pick(SERVICE_POINTS), count: 30 + random.below(200), delay: random.below(20) / 10 };
    await service.serve({ crash });
    await service.child.goneWithin(4_000);
    await service.child.kill();
    await service.serve();
  }
  await operating;
  // Whatever still runs out is written when it does: lists and watchers are compared where nothing came between.
  const lists: ReadonlyMap<string, number>[] = [];
  let before: readonly (readonly Heard[])[];
  let all = await heardByAll(watchers);
  do {
    before = all;
    for (const [index, { filter }] of watchers.entries()) {
      const client = await service.client(profileOf(filter));
      lists[index] = await listed(client, filter);
      client.close();
    }
    all = await heardByAll(watchers);
  } while (standing([...before, ...all]).length > 1);
  const revision = standing(all)[0] ?? 0;
  for (const watcher of watchers) watcher.stop();
  await Promise.all(watching);
  await service.child.kill('SIGTERM');

  const whole = await readHistory(service.data);
  expect(revision, `seed ${seed}`).toBeGreaterThanOrEqual(CHANGES);
  const history = { ...whole, revision, changes: whole.changes.slice(0, revision) };
  expect(operators.faults).toEqual([]);
  const watches = watchers.map(({ name, filter }, index) => ({ name, filter, heard: all[index] ?? [] }));
  const faults = watchers.flatMap((watcher) => watcher.faults);
  expect([...faults, ...watches.flatMap((watch) => checkWatch(history, watch))], `seed ${seed}`).toEqual([]);
  for (const [index, { name, heard }] of watches.entries()) {
    expect(watchers[index]?.streams).toBeGreaterThan(KILLS);
    expect(believed(heard), `seed ${seed}, watcher ${name}`).toEqual(lists[index]);
  }
  // They were about something: verdicts ended among the changes, hosts came into filters and scopes, and left them.
  const expiries = history.changes.filter(({ cause }) => cause === 'expired');
  expect(expiries.length).toBeGreaterThan(1);
  const heard = all.flat();
  for (const kind of ['change', 'removal'] as const)
    expect(heard.filter((each) => each.kind === kind).length).toBeGreaterThan(CHANGES);
}, 600_000);
