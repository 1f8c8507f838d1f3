/** A candidate policy over a whole fleet: what the simulation of it costs, host by host. */
import { hash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { RuntimeServices } from '../server/attestation/runtime-services.ts';
import { simulate } from '../server/attestation/simulate.ts';
import { Endorsements } from '../server/endorsement/endorsements.ts';
import { loadServiceKeys } from '../server/identity/service-keys.ts';
import type { TrustPolicy } from '../server/policy/policy.ts';
import { openSqliteStore } from '../server/store/sqlite.ts';
import type { Store } from '../server/store/store.ts';
import { BootCache } from '../server/verifier/boot-cache.ts';
import { NO_RULES, SIGNERS } from '../test/support/booted-machine.ts';
import { makePolicy } from '../test/support/make-policy.ts';
import { FILES, importFiles, NO_RUNTIME_RULES } from '../test/support/runtime-policy.ts';
import { OPERATOR, SERVER_NAMES } from '../test/support/test-service.ts';
import { TEST_DEPLOYMENT } from '../test/support/tls.ts';
import { digestField, hashedData } from '../test/tpm/ima/list-builder.ts';
import type { EntryPlan } from '../test/tpm/ima/list-builder.ts';
import type { Benchmark } from './benchmark.ts';
import type { Figure } from './figure.ts';
import { judgeFleet } from './fleet/judge-fleet.ts';
import { makeFleet } from './fleet/make-fleet.ts';
import { bareHashing, p256VerificationMicros } from './floors.ts';
import { microsPerCall } from './measure.ts';

const LIST_ENTRIES = 2_000;
/** A list of 2,000 entries says of a host, in an order of its own, which of these it ran. */
const KNOWN_FILES = 4_000;

export const simulation: Benchmark = {
  name: 'simulation',
  about:
    'candidate policies over a fleet whose hosts all booted with Secure Boot and sent lists of run-time measurements',
  async run(scale) {
    const tiny = scale.tiny === true;
    const hosts = tiny ? 5 : (scale.hosts ?? 1_000);
    const repeat = tiny ? { rounds: 1, count: 10 } : {};
    const software = new Software(tiny ? 20 : KNOWN_FILES);
    const entries = tiny ? 10 : LIST_ENTRIES;
    const directory = mkdtempSync(join(tmpdir(), 'assay-bench-simulation-'));
    const store = await openSqliteStore({
      directory: join(directory, 'store'),
      wallClock: () => Date.now(),
      monotonic: () => performance.now(),
      random: (size) => randomBytes(size),
      deployment: TEST_DEPLOYMENT,
    });
    try {
      const root = { version: 1, secret: randomBytes(32) };
      const random = (size: number): Buffer => randomBytes(size);
      const { authority } = await loadServiceKeys({ store, root, random, serverNames: SERVER_NAMES });
      scale.say(`enrolling ${hosts} hosts`);
      await makeFleet(store, authority, { hosts, interval: 3_600_000 });
      await importFiles(store, software.names);
      const inForce = runtimePolicy('contraindicated');
      const attachment = { matchLabels: {}, allHosts: true, precedence: 0 };
      await store.putPolicy(
        { id: inForce.id, attachment, body: JSON.stringify(inForce), references: ['referenceSets/base'] },
        { ...OPERATOR, expected: 'any' },
      );
      scale.say(`judging ${hosts} lists of ${entries} entries`);
      const runtimes = new RuntimeServices(store);
      const filesOf = (host: number): readonly EntryPlan[] => software.listOf(host, entries - 1);
      await judgeFleet({ store, hosts, runtimes, filesOf });
      const list = filesOf(0).map(hashedData);
      const sample = { rounds: tiny ? 1 : 7, count: 1 };
      return [
        ...(await measure(store, hosts, {
          candidate: bootPolicy(),
          name: 'boot rules',
          floor: { name: 'P-256 verification', value: p256VerificationMicros(repeat) },
        })),
        ...(await measure(store, hosts, {
          candidate: runtimePolicy('warning'),
          name: `run-time rules over lists of ${entries} entries`,
          floor: { name: 'bare hashing', value: microsPerCall(() => void bareHashing(list), sample) },
        })),
      ];
    } finally {
      await store.close();
      rmSync(directory, { recursive: true, force: true });
    }
  },
};

interface Candidate {
  readonly candidate: TrustPolicy;
  readonly name: string;
  readonly floor: NonNullable<Figure['floor']>;
}

async function measure(store: Store, hosts: number, { candidate, name, floor }: Candidate): Promise<readonly Figure[]> {
  const services = {
    store,
    endorsements: new Endorsements(store),
    boots: new BootCache(),
    runtimes: new RuntimeServices(store),
  };
  const request = {
    change: { kind: 'apply', policy: candidate },
    substitutes: [],
    hostIds: [],
    matchLabels: {},
    scope: {},
    signal: new AbortController().signal,
  } as const;
  const run = async (): Promise<number> => {
    let judged = 0;
    for await (const event of simulate(services, request)) {
      if (event.kind === 'host' && event.outcome.kind !== 'unknown') judged += 1;
    }
    return judged;
  };
  // The service has been running for a while, and knows its boots and files.
  await run();
  const before = process.cpuUsage();
  const start = performance.now();
  const judged = await run();
  const seconds = (performance.now() - start) / 1_000;
  const { user, system } = process.cpuUsage(before);
  if (judged !== hosts) throw new Error(`the simulation judged ${judged} of ${hosts} hosts`);
  return [
    { name: `simulate ${name} over ${hosts} hosts, CPU a host`, value: (user + system) / hosts, unit: 'us', floor },
    { name: 'the same, whole', value: seconds, unit: 's' },
  ];
}

function bootPolicy(): TrustPolicy {
  return makePolicy({
    id: 'bench',
    pcrRules: [],
    boot: {
      ...NO_RULES,
      secureBoot: { severity: undefined, message: '' },
      allowedSigners: { severity: undefined, message: '', certificates: [...SIGNERS] },
    },
  });
}

/** Another choice for files that are not known is another judge: every list is followed and judged anew. */
function runtimePolicy(unknown: 'contraindicated' | 'warning'): TrustPolicy {
  const files = { ...FILES, referenceSets: ['referenceSets/base'], unknown };
  return makePolicy({ id: 'bench', pcrRules: [], runtime: { ...NO_RUNTIME_RULES, files } });
}

/** What the hosts of the fleet may run. */
class Software {
  readonly names: readonly string[];
  readonly #plans: readonly EntryPlan[];

  constructor(files: number) {
    this.names = Array.from({ length: files }, (_, index) => `usr/bin/tool-${index}`);
    this.#plans = this.names.map((name) => ({
      template: 'ima-sig',
      fields: [digestField('sha256', hash('sha256', name, 'buffer')), Buffer.from(`/${name}\0`), Buffer.alloc(0)],
    }));
  }

  /** Every host has a stride and a start of its own. */
  listOf(host: number, entries: number): readonly EntryPlan[] {
    const { length } = this.#plans;
    const plans = Array.from({ length: entries }, (_, index) => this.#plans[(host * 7 + index * 3) % length]);
    return plans.filter((plan) => plan !== undefined);
  }
}
