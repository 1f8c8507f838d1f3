/** A candidate policy over a whole fleet: what the simulation of it costs, host by host. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { RuntimeServices } from '../server/attestation/runtime-services.ts';
import { simulate } from '../server/attestation/simulate.ts';
import { Endorsements } from '../server/endorsement/endorsements.ts';
import { loadServiceKeys } from '../server/identity/service-keys.ts';
import { appraise, verdictDigest } from '../server/policy/appraise.ts';
import { judgeOf, readPolicies } from '../server/policy/policy-snapshot.ts';
import { openSqliteStore } from '../server/store/sqlite.ts';
import type { HostRecord } from '../server/store/records.ts';
import type { RoundInput, Store } from '../server/store/store.ts';
import { BootCache } from '../server/verifier/boot-cache.ts';
import { passed } from '../server/verifier/finding.ts';
import { bootedTpm, bootLog, proveBootOf, SECURE_BOOT, SIGNERS } from '../test/support/booted-machine.ts';
import { FACTS } from '../test/support/evidence-builder.ts';
import { makePolicy } from '../test/support/make-policy.ts';
import { SERVER_NAMES } from '../test/support/test-service.ts';
import { TEST_DEPLOYMENT } from '../test/support/tls.ts';
import type { Benchmark } from './benchmark.ts';
import type { Figure } from './figure.ts';
import { makeFleet } from './fleet/make-fleet.ts';
import { p256VerificationMicros } from './floors.ts';

const BATCH = 500;
const VALIDITY = 24 * 3_600_000;

export const simulation: Benchmark = {
  name: 'simulation',
  about: 'a candidate policy over a fleet whose hosts all booted with Secure Boot',
  async run(scale) {
    const tiny = scale.tiny === true;
    const hosts = tiny ? 5 : (scale.hosts ?? 1_000);
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
      await judgeAll(store, hosts);
      const floor = { name: 'P-256 verification', value: p256VerificationMicros(tiny ? { rounds: 1, count: 10 } : {}) };
      return await measure(store, hosts, floor);
    } finally {
      await store.close();
      rmSync(directory, { recursive: true, force: true });
    }
  },
};

async function measure(store: Store, hosts: number, floor: NonNullable<Figure['floor']>): Promise<readonly Figure[]> {
  const services = {
    store,
    endorsements: new Endorsements(store),
    boots: new BootCache(),
    runtimes: new RuntimeServices(store),
  };
  const policy = makePolicy({
    id: 'bench',
    pcrRules: [],
    boot: {
      secureBoot: { severity: undefined, message: '' },
      allowedSigners: { severity: undefined, message: '', certificates: [...SIGNERS] },
      forbiddenSigners: undefined,
      allowedImages: undefined,
      forbiddenImages: undefined,
      sbatLevel: undefined,
      commandLine: undefined,
    },
  });
  const request = { change: { kind: 'apply', policy }, hostIds: [], matchLabels: {}, scope: {} } as const;
  const run = async (): Promise<number> => {
    let judged = 0;
    for await (const event of simulate(services, { ...request, signal: new AbortController().signal })) {
      if (event.kind === 'host' && event.outcome.kind === 'assumed') judged += 1;
    }
    return judged;
  };
  // The service has been running for a while, and knows its boots.
  await run();
  const before = process.cpuUsage();
  const start = performance.now();
  const judged = await run();
  const seconds = (performance.now() - start) / 1_000;
  const { user, system } = process.cpuUsage(before);
  if (judged !== hosts) throw new Error(`the simulation judged ${judged} of ${hosts} hosts`);
  return [
    { name: `simulate over ${hosts} hosts, CPU a host`, value: (user + system) / hosts, unit: 'us', floor },
    { name: `simulate over ${hosts} hosts, whole`, value: seconds, unit: 's' },
  ];
}

/** A round of every host, as one that booted like the capture and is judged by the policy of the fleet. */
async function judgeAll(store: Store, hosts: number): Promise<void> {
  const log = bootLog(SECURE_BOOT);
  const { record, outcome } = proveBootOf(bootedTpm(SECURE_BOOT), [log]);
  const policies = await readPolicies(store);
  let after = '';
  for (let judged = 0; judged < hosts; judged += BATCH) {
    const page = await store.listHosts({ limit: BATCH, after }, { states: [], matchLabels: {}, scope: {} });
    const rounds = page.items.map((host): RoundInput => {
      const banks = record.pcrs.map(({ algorithm, values }) => ({ algorithm, pcrs: values.map(([pcr]) => pcr) }));
      const verdict = verdictOn(host, { policies, outcome });
      return {
        hostId: host.id,
        fence: { version: host.version, round: host.round, akGeneration: host.akGeneration, epochs: policies.epochs },
        streamEpoch: 1,
        verdict,
        verdictDigest: verdictDigest(verdict),
        evidenceDigest: '',
        challengeTime: store.now(),
        validity: VALIDITY,
        clock: host.clock,
        banks,
        banksProven: true,
        claimed: { ...FACTS },
        findings: [],
        tlsKeySha256: host.tlsKeySha256,
        nextTlsKeySha256: '',
        logs: [{ kind: 'boot', offset: 0, data: log.data }],
        unreadable: [],
        boot: record,
      };
    });
    const committed = await store.commitRounds(rounds);
    if (committed.some(({ outcome: became }) => became === 'fenced'))
      throw new Error('a round of the benchmark is fenced');
    after = page.next ?? '';
  }
}

function verdictOn(
  host: HostRecord,
  {
    policies,
    outcome,
  }: {
    readonly policies: Awaited<ReturnType<typeof readPolicies>>;
    readonly outcome: ReturnType<typeof proveBootOf>['outcome'];
  },
): RoundInput['verdict'] {
  const { resetCount, restartCount } = host.clock;
  return appraise({
    applicable: judgeOf(policies, host),
    epochs: policies.epochs,
    findings: ['quote', 'clock', 'pcr-selection', 'pcr-digest'].map((id) => passed(id, '')),
    pcrs: null,
    boot: outcome,
    runtime: null,
    banks: new Set(host.banks.map(({ algorithm }) => algorithm)),
    banksProven: true,
    endorsed: true,
    revoked: null,
    standing: [],
    akName: host.ak.name,
    firmwareVersion: 0n,
    facts: null,
    resetCount,
    restartCount,
  });
}
