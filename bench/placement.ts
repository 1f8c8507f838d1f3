import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { PlacementFeed } from '../server/placement/placement-feed.ts';
import { readBriefly } from '../server/placement/read-chosen.ts';
import { selectHosts } from '../server/placement/select-hosts.ts';
import type { SelectionRequest } from '../server/placement/select-hosts.ts';
import { Turns } from '../server/placement/turns.ts';
import { ChangeFeed } from '../server/result/feed.ts';
import { openSqliteStore } from '../server/store/sqlite.ts';
import type { Store } from '../server/store/store.ts';
import { PLACEMENT_START } from '../server/store/placement-store.ts';
import type { PlacementRecord } from '../server/store/records.ts';
import type { Benchmark } from './benchmark.ts';
import type { Figure } from './figure.ts';
import { cloneHosts } from './fleet/clone-hosts.ts';
import { median, percentile } from './measure.ts';

/** Milliseconds that SelectHosts may take over this fleet, p99. */
const WANTED = 5;

const ONE = { name: 'the goal', value: 1 };

const ANY: SelectionRequest = {
  requirements: {
    minimumTier: 'affirming',
    policyId: '',
    minimumPolicyVersion: 0,
    maximumAge: null,
    matchLabels: {},
    excluded: { hostIds: new Set(), nodeNames: new Set(), labels: [] },
  },
  scope: {},
  count: 1,
  spreadBy: '',
  order: 'freshest',
  explain: 0,
};

const asks = (change: Partial<SelectionRequest['requirements']>): SelectionRequest['requirements'] => ({
  ...ANY.requirements,
  ...change,
});

const SELECTIONS: readonly { readonly name: string; readonly request: SelectionRequest }[] = [
  { name: 'one host of any label', request: ANY },
  {
    name: 'one host by policy, age, two labels and a scope',
    request: {
      ...ANY,
      scope: { tenant: 't3' },
      requirements: asks({
        policyId: 'base',
        minimumPolicyVersion: 1,
        maximumAge: 3_600_000,
        matchLabels: { zone: 'z1', rack: 'r7' },
      }),
    },
  },
  {
    name: '10 of a third, spread over 40 racks',
    request: { ...ANY, count: 10, spreadBy: 'rack', scope: { zone: 'z1' } },
  },
  { name: '100 of any label, spread over 40 racks', request: { ...ANY, count: 100, spreadBy: 'rack' } },
  {
    name: 'one host, and why nearly all others were refused',
    request: { ...ANY, explain: 20, requirements: asks({ matchLabels: { rack: 'r7' } }) },
  },
];

export const placement: Benchmark = {
  name: 'placement',
  about: 'SelectHosts over a large fleet: index, choice, and what the store says of the chosen',
  async run(scale) {
    const tiny = scale.tiny === true;
    const hosts = tiny ? 50 : (scale.hosts ?? 100_000);
    const calls = tiny ? 3 : 1_000;
    const directory = mkdtempSync(join(tmpdir(), 'assay-bench-placement-'));
    const open = (): Promise<Store> =>
      openSqliteStore({
        directory: join(directory, 'store'),
        wallClock: Date.now,
        monotonic: () => performance.now(),
        random: (size) => randomBytes(size),
      });
    try {
      scale.say(`making ${hosts} hosts`);
      await cloneHosts(join(directory, 'store'), { open, hosts });
      const store = await open();
      const feed = new ChangeFeed({ store, pollInterval: 500, onError: fail });
      await feed.start();
      const placements = new PlacementFeed({ store, feed, onError: fail });
      const began = performance.now();
      placements.start();
      const turns = new Turns(() => performance.now());
      await untilFresh(placements);
      const figures: Figure[] = [
        { name: `reading ${hosts} hosts into the index`, value: performance.now() - began, unit: 'ms' },
      ];
      const scan = await scanMillis(store, calls);
      const floor = (of: 'p50' | 'p99') => ({ name: `${of} of a scan of a sorted array`, value: scan[of] });
      for (const { name, request } of SELECTIONS) {
        scale.say(name);
        const millis: number[] = [];
        for (let call = 0; call < (request.explain > 0 ? Math.min(calls, 100) : calls); call += 1) {
          // On a machine that has no time the index is late; whoever asks then comes back.
          await untilFresh(placements);
          const posted = performance.now();
          const { hosts: found } = await selectHosts({ store, placements, turns }, request, readBriefly(store));
          millis.push(performance.now() - posted);
          if (found.length !== Math.min(request.count, hosts) && !tiny)
            throw new Error(`${found.length} hosts for ${name}`);
        }
        figures.push(
          { name: `${name}: p50`, value: median(millis), unit: 'ms', floor: floor('p50') },
          { name: `${name}: p99`, value: percentile(millis, 99), unit: 'ms', floor: floor('p99') },
          {
            name: `${name}: p99 of ${WANTED} ms`,
            value: percentile(millis, 99) / WANTED,
            unit: '',
            floor: ONE,
            // Explanations look at every host by intent.
            ...(request.explain > 0 ? {} : { goal: 1 }),
          },
        );
      }
      await placements.close();
      feed.close();
      await store.close();
      return figures;
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  },
};

function fail(error: unknown): void {
  throw error;
}

async function untilFresh(placements: PlacementFeed): Promise<void> {
  for (;;) {
    try {
      placements.freshIndex();
      return;
    } catch {
      await delay(5);
    }
  }
}

/** The least that anybody does without an index: one pass over the hosts in order, with a look at status, time and two labels. */
async function scanMillis(store: Store, calls: number): Promise<{ readonly p50: number; readonly p99: number }> {
  const sorted: PlacementRecord[] = [];
  let position = PLACEMENT_START;
  for (;;) {
    const page = await store.placementsSince(position, 500);
    sorted.push(...page.present);
    ({ position } = page);
    if (page.complete) break;
  }
  sorted.sort((a, b) => b.challengeTime - a.challengeTime);
  const samples: number[] = [];
  let found = 0;
  for (let call = 0; call < Math.min(calls, 200); call += 1) {
    const began = performance.now();
    const now = store.now();
    for (const { status, validUntil, labels } of sorted) {
      if (status === 'affirming' && (validUntil ?? 0) > now && labels['zone'] === 'z1' && labels['rack'] === 'r7')
        found += 1;
    }
    samples.push(performance.now() - began);
  }
  if (sorted.length > 1_000 && found === 0) throw new Error('the scan found nothing');
  return { p50: median(samples), p99: percentile(samples, 99) };
}
