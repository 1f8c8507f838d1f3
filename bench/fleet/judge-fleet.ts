/** Leaves a fleet in its store as rounds leave it: every host booted with Secure Boot and was judged by the policy in force. */
import { hash } from 'node:crypto';

import { checkBootOfList } from '../../server/attestation/boot-of-list.ts';
import type { RuntimeServices } from '../../server/attestation/runtime-services.ts';
import { appraise, verdictDigest } from '../../server/policy/appraise.ts';
import type { RuntimeEvidence } from '../../server/policy/appraise-runtime.ts';
import { judgeOf, readPolicies } from '../../server/policy/policy-snapshot.ts';
import type { PolicySnapshot } from '../../server/policy/policy-snapshot.ts';
import { runtimeRulesOf } from '../../server/policy/policy.ts';
import { makeState } from '../../server/policy/runtime-state.ts';
import { EMPTY_TALLY } from '../../server/policy/runtime-tally.ts';
import type { HostRecord, LogPart } from '../../server/store/records.ts';
import type { RoundInput, Store } from '../../server/store/store.ts';
import type { KnownBoot } from '../../server/verifier/boot-cache.ts';
import { passed } from '../../server/verifier/finding.ts';
import { followList, LIST_SLICE } from '../../server/verifier/follow-list.ts';
import type { ProvenPcrValues } from '../../tpm/crypto/pcr.ts';
import { EMPTY_CHECKPOINT, formatCheckpoint } from '../../tpm/ima/checkpoint.ts';
import { TPM_ALG_SHA256 } from '../../tpm/structures/constants.ts';
import { bootedTpm, bootLog, proveBootOf, SECURE_BOOT } from '../../test/support/booted-machine.ts';
import { FACTS } from '../../test/support/evidence-builder.ts';
import { digestField, extendAll, makeList } from '../../test/tpm/ima/list-builder.ts';
import type { EntryPlan } from '../../test/tpm/ima/list-builder.ts';

const BATCH = 100;
const IMA_PCR = 10;
const VALIDITY = 24 * 3_600_000;
const VERIFIED = ['quote', 'clock', 'pcr-selection', 'pcr-digest'];

export interface JudgedFleet {
  readonly store: Store;
  readonly hosts: number;
  readonly runtimes: RuntimeServices;
  /** Entries of a host's list of run-time measurements behind its boot_aggregate; null where no list is kept. */
  readonly filesOf: ((host: number) => readonly EntryPlan[]) | null;
}

/** What of a round the lists of run-time measurements decide. */
interface ListRound {
  readonly evidence: RuntimeEvidence;
  readonly logs: readonly LogPart[];
  readonly runtime: NonNullable<RoundInput['runtime']>;
}

export async function judgeFleet({ store, hosts, runtimes, filesOf }: JudgedFleet): Promise<void> {
  const log = bootLog(SECURE_BOOT);
  const boot = proveBootOf(bootedTpm(SECURE_BOOT), [log]);
  const policies = await readPolicies(store);
  let after = '';
  for (let judged = 0; judged < hosts; judged += BATCH) {
    const page = await store.listHosts({ limit: BATCH, after }, { states: [], matchLabels: {}, scope: {} });
    const rounds: RoundInput[] = [];
    for (const [index, host] of page.items.entries()) {
      const list =
        filesOf === null ? null : await listRound(runtimes, { host, boot, policies }, filesOf(judged + index));
      const round = roundOf(store, host, { policies, boot, list });
      rounds.push({ ...round, logs: [{ kind: 'boot', offset: 0, data: log.data }, ...(list?.logs ?? [])] });
    }
    const committed = await store.commitRounds(rounds);
    if (committed.some(({ outcome }) => outcome === 'fenced')) throw new Error('a round of the benchmark is fenced');
    after = page.next ?? '';
  }
}

function roundOf(
  store: Store,
  host: HostRecord,
  known: { readonly policies: PolicySnapshot; readonly boot: KnownBoot; readonly list: ListRound | null },
): Omit<RoundInput, 'logs'> {
  const { policies, boot, list } = known;
  const verdict = verdictOn(host, known);
  if (verdict.status !== 'affirming') throw new Error(`a host of the benchmark is ${verdict.status}`);
  const banks = boot.record.pcrs.map(({ algorithm, values }) => ({ algorithm, pcrs: values.map(([pcr]) => pcr) }));
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
    unreadable: [],
    boot: boot.record,
    ...(list === null ? {} : { runtime: list.runtime }),
  };
}

function verdictOn(
  host: HostRecord,
  {
    policies,
    boot,
    list,
  }: { readonly policies: PolicySnapshot; readonly boot: KnownBoot; readonly list: ListRound | null },
): RoundInput['verdict'] {
  const { resetCount, restartCount } = host.clock;
  return appraise({
    applicable: judgeOf(policies, host),
    epochs: policies.epochs,
    findings: VERIFIED.map((id) => passed(id, '')),
    pcrs: null,
    boot: boot.outcome,
    runtime: list?.evidence ?? null,
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

async function listRound(
  runtimes: RuntimeServices,
  { host, boot, policies }: { readonly host: HostRecord; readonly boot: KnownBoot; readonly policies: PolicySnapshot },
  files: readonly EntryPlan[],
): Promise<ListRound> {
  const plans = [bootAggregate(boot), ...files];
  const data = makeList(plans);
  // The value stands for a quote's, whose verification other figures have.
  const value = extendAll(plans, 'sha256', 32);
  const bytes = async function* slices(offset: number): AsyncGenerator<Buffer> {
    for (let at = offset; at < data.length; at += LIST_SLICE) yield data.subarray(at, at + LIST_SLICE);
  };
  const followed = await followList({
    pcrs: new Map([[TPM_ALG_SHA256, new Map([[IMA_PCR, value]])]]) as unknown as ProvenPcrValues,
    banks: [TPM_ALG_SHA256],
    indices: [IMA_PCR],
    from: EMPTY_CHECKPOINT,
    bytes,
    breathe: runtimes.breathe,
  });
  const applicable = judgeOf(policies, host);
  const rules = applicable.kind === 'policy' ? runtimeRulesOf(applicable.policy) : null;
  if (followed.kind !== 'proven' || applicable.kind !== 'policy' || rules === null)
    throw new Error('the list of the benchmark is not judged');
  const outcome = await runtimes.judges.of(applicable, rules);
  if (outcome.kind === 'missing') throw new Error(`the benchmark has no ${outcome.names.join(', ')}`);
  const { checkpoint } = followed.list;
  const tally = await runtimes.tally(followed.list, { bytes, before: EMPTY_TALLY, judge: outcome.judge });
  const { resetCount, restartCount } = host.clock;
  const state = makeState({
    resetCount,
    restartCount,
    checkpoint: formatCheckpoint(checkpoint),
    pcrs: [IMA_PCR],
    judge: outcome.judge.digest,
    tally,
    former: {},
    replaced: false,
  });
  const begun = checkBootOfList(tally.bootAggregate, boot);
  return {
    evidence: { kind: 'proven', tally, entries: checkpoint.entries, boot: begun },
    logs: [{ kind: 'ima', offset: 0, data }],
    runtime: { expected: 0, body: JSON.stringify(state) },
  };
}

/** Over PCR 0 to 9 of the sha256 bank, as kernels since 5.8 compute it. */
function bootAggregate({ record }: KnownBoot): EntryPlan {
  const values = record.pcrs.find(({ algorithm }) => algorithm === TPM_ALG_SHA256)?.values ?? [];
  const firmware = values.flatMap(([pcr, value]) => (pcr < IMA_PCR ? [Buffer.from(value, 'hex')] : []));
  const digest = hash('sha256', Buffer.concat(firmware), 'buffer');
  return {
    template: 'ima-sig',
    fields: [digestField('sha256', digest), Buffer.from('boot_aggregate\0'), Buffer.alloc(0)],
  };
}
