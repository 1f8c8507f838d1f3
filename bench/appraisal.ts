/** What the verifier computes, in one process and without a network: multiples of a P-256 verification, or of bare hashing. */
import { readFileSync } from 'node:fs';

import { appraise } from '../server/policy/appraise.ts';
import type { ApplicablePolicy } from '../server/policy/appraise.ts';
import { appraiseExpressions } from '../server/policy/appraise-expressions.ts';
import { appraiseBoot } from '../server/policy/appraise-boot.ts';
import { resolveBootRules } from '../server/policy/boot-rules.ts';
import { Claims } from '../server/policy/claims.ts';
import type { BootRecord } from '../server/store/records.ts';
import { BootCache } from '../server/verifier/boot-cache.ts';
import { logsOf, recordBoot } from '../server/verifier/boot-record.ts';
import { verifyBoot } from '../server/verifier/verify-boot.ts';
import { verifyEvidence } from '../server/verifier/verify-evidence.ts';
import { verifyQuote } from '../server/verifier/verify-quote.ts';
import { NO_RULES, RULE } from '../test/support/booted-machine.ts';
import { FACTS, announce, demandOf, makeEvidence } from '../test/support/evidence-builder.ts';
import { conformancePath } from '../test/support/data.ts';
import { SoftwareTpm } from '../test/support/software-tpm.ts';
import { fileEntries, hashedData, makeList } from '../test/tpm/ima/list-builder.ts';
import { attestationBinding, factsDigest } from '../proto/transcript.ts';
import { readEventLog } from '../tpm/eventlog/read-event-log.ts';
import { replayImaList } from '../tpm/ima/replay.ts';
import { provePcrValues } from '../tpm/crypto/pcr.ts';
import { TPM_ALG_SHA256 } from '../tpm/structures/constants.ts';
import type { Benchmark } from './benchmark.ts';
import type { Figure } from './figure.ts';
import { bareHashing, p256VerificationMicros } from './floors.ts';
import { POLICY_PCRS } from './fleet/make-fleet.ts';
import { microsPerCall } from './measure.ts';

/** A real machine's, Secure Boot on, 99 events in the sha256 bank. */
const BOOT_LOG = ['keylime+keylime', 'test', 'data', 'create-mb-policy', 'binary_bios_measurements-secureboot'];
/** As a policy asks: some values, a walk over what booted, a list of arguments. */
const EXPRESSIONS = [
  'tpm.firmware_version >= 1 && tpm.restart_count < 9',
  'pcrs.sha256[0] != "" && pcrs.sha256[7] != "" && "sha256" in tpm.active_banks',
  'boot.secure_boot.mode == "enabled" && !boot.secure_boot.debug_mode && boot.secure_boot.used',
  'boot.authorities.all(a, a.size() == 64)',
  'boot.images.filter(i, i.pcr == 4).all(i, i.digests.exists(d, d.size() == 64 && !(d in ["aa", "bb", "cc", "dd"])))',
  'has(boot.sbat_level) || size(boot.images) > 0',
];
const IMA_ENTRIES = 5_000;
const IMA_PCR = 10;

export const appraisal: Benchmark = {
  name: 'appraisal',
  about: 'verification and appraisal alone: a round, a Secure Boot log, an IMA list',
  async run(scale) {
    const tiny = scale.tiny === true;
    const repeat = (count: number) => (tiny ? { rounds: 1, count: 1 } : { rounds: 7, count });
    const floor = { name: 'P-256 verification', value: p256VerificationMicros(tiny ? { rounds: 1, count: 10 } : {}) };
    const log = readFileSync(conformancePath(...BOOT_LOG));
    const { length: events } = readEventLog(log).log.events;
    const figures: Figure[] = [
      { name: 'verify and appraise one round', value: microsPerCall(roundOf(), repeat(1_000)), unit: 'us', floor },
      {
        name: `quote and Secure Boot log of ${events} events, uncached`,
        value: microsPerCall(bootOf(log), repeat(200)),
        unit: 'us',
        floor,
        goal: 4.5,
      },
      {
        name: 'first round of a boot that is known: bank proof, quote, rules',
        value: microsPerCall(await knownBootOf(log), repeat(200)),
        unit: 'us',
        floor,
      },
      {
        name: `${EXPRESSIONS.length} expressions of a policy over a verified boot, as each round asks them`,
        value: microsPerCall(expressionsOf(log), repeat(1_000)),
        unit: 'us',
        floor,
      },
      imaFigure(tiny ? 50 : IMA_ENTRIES, repeat(5)),
    ];
    return figures;
  },
};

/** One round as a stream judges it, the policy of the fleet and its eight PCRs. */
function roundOf(): () => void {
  const tpm = new SoftwareTpm();
  const ak = tpm.createAk();
  const selection = [{ hash: TPM_ALG_SHA256, pcrs: POLICY_PCRS }];
  const facts = factsDigest(FACTS);
  const nonce = Buffer.alloc(32, 1);
  const extraData = attestationBinding({ nonce, hostId: 'h-bench', tlsKeySha256: Buffer.alloc(32), facts });
  const evidence = { ...tpm.quote(ak, { extraData, selection }), pcrValues: tpm.read(selection), bankProof: null };
  const demand = demandOf(ak, extraData, { selection });
  const zero = '00'.repeat(32);
  const applicable: ApplicablePolicy = {
    kind: 'policy',
    version: 1,
    references: [],
    policy: {
      id: 'bench',
      description: '',
      selector: { matchLabels: {}, allHosts: true },
      precedence: 0,
      quote: {
        interval: 60_000,
        validity: 180_000,
        disconnectGrace: 60_000,
        allowUnprovenBanks: false,
        allowUnendorsed: false,
      },
      pcrRules: POLICY_PCRS.map((index) => ({
        bank: 'sha256',
        index,
        allowed: [zero],
        severity: 'contraindicated',
        message: '',
      })),
    },
  };
  return () => {
    const outcome = verifyEvidence(evidence, demand);
    if (outcome.kind !== 'verified') throw new Error('the evidence of the benchmark does not verify');
    const { pcrs, findings } = outcome.evidence;
    const { status } = appraise({
      applicable,
      epochs: { policy: 1, endorsement: 1 },
      findings,
      pcrs,
      boot: { kind: 'none' },
      runtime: null,
      banks: new Set([TPM_ALG_SHA256]),
      banksProven: true,
      endorsed: true,
      revoked: null,
      standing: [],
      akName: '',
      firmwareVersion: 1n,
      resetCount: 1,
      restartCount: 0,
      facts: null,
    });
    if (status !== 'affirming') throw new Error(`the round of the benchmark is ${status}`);
  };
}

/** A quote of the PCRs that a real log leads to is verified, the log read, checked and replayed against them. */
function bootOf(log: Buffer): () => void {
  const replayed = [...(readEventLog(log).replay.pcrs.get(TPM_ALG_SHA256) ?? [])];
  const selection = [{ hash: TPM_ALG_SHA256, pcrs: replayed.map(([index]) => index) }];
  const tpm = new SoftwareTpm();
  for (const [index, value] of replayed) tpm.pcrs.get(TPM_ALG_SHA256)?.set(index, value);
  const ak = tpm.createAk();
  const extraData = Buffer.alloc(32, 1);
  const quote = tpm.quote(ak, { extraData, selection });
  const values = tpm.read(selection);
  const { ak: known } = demandOf(ak, extraData);
  return () => {
    const { attested } = verifyQuote(known, quote, extraData);
    const pcrs = provePcrValues(attested, values, TPM_ALG_SHA256);
    const reading = readEventLog(log, { banks: [TPM_ALG_SHA256], pcrs });
    if (!reading.pcrs.every(({ outcome }) => outcome === 'explained')) throw new Error('the log does not replay');
  };
}

/** The first round after a reset, of a machine that booted as another did before: bank proof, quote, clock, boot and its rules. */
async function knownBootOf(log: Buffer): Promise<() => void> {
  const tpm = new SoftwareTpm();
  for (const [index, value] of readEventLog(log).replay.pcrs.get(TPM_ALG_SHA256) ?? []) {
    tpm.pcrs.get(TPM_ALG_SHA256)?.set(index, value);
  }
  const ak = tpm.createAk();
  const extraData = Buffer.alloc(32, 1);
  const evidence = makeEvidence(tpm, ak, extraData);
  const demand = demandOf(ak, extraData);
  const announced = [announce({ kind: 'boot', data: log })];
  const parts = [{ kind: 'boot', offset: 0, data: log }] as const;
  const boots = new BootCache();
  const rules = resolveBootRules({ ...NO_RULES, secureBoot: RULE });
  const verify = (): BootRecord => {
    const outcome = verifyEvidence(evidence, demand);
    const record = outcome.kind === 'verified' ? recordBoot(outcome.evidence, announced, parts) : null;
    if (record === null) throw new Error('the evidence of the benchmark does not verify');
    return record;
  };
  await boots.verify(verify(), () => logsOf(parts));
  return () => {
    const boot = boots.known(verify());
    if (boot?.outcome.kind !== 'verified') throw new Error('the boot of the benchmark is not known');
    const checks = appraiseBoot(boot.outcome, rules, new Claims());
    if (checks.some(({ outcome }) => outcome !== 'passed')) throw new Error('the boot of the benchmark is refused');
  };
}

/** The policy's expressions alone, compiled when its version was first used. */
function expressionsOf(log: Buffer): () => void {
  const pcrs = readEventLog(log).replay.pcrs.get(TPM_ALG_SHA256) ?? new Map<number, Buffer>();
  const tpm = new SoftwareTpm();
  for (const [index, value] of pcrs) tpm.pcrs.get(TPM_ALG_SHA256)?.set(index, value);
  const ak = tpm.createAk();
  const extraData = Buffer.alloc(32, 1);
  const outcome = verifyEvidence(makeEvidence(tpm, ak, extraData), demandOf(ak, extraData));
  if (outcome.kind !== 'verified') throw new Error('the evidence of the benchmark does not verify');
  const parts = [{ kind: 'boot', offset: 0, data: log }] as const;
  const record = recordBoot(outcome.evidence, [announce({ kind: 'boot', data: log })], parts);
  const boot = record === null ? null : verifyBoot(record, logsOf(parts));
  if (boot === null) throw new Error('the boot of the benchmark is not proven');
  const expressions = EXPRESSIONS.map((expression, index) => ({
    id: `e${index}`,
    expression,
    claim: 'configuration' as const,
    severity: 'contraindicated' as const,
    message: '',
  }));
  const sources = {
    facts: null,
    endorsed: true,
    revoked: null,
    firmwareVersion: 1n,
    resetCount: 1,
    restartCount: 0,
    banks: new Set([TPM_ALG_SHA256]),
    banksProven: true,
    pcrs: outcome.evidence.pcrs,
    boot,
    runtime: null,
  };
  return () => {
    const checks = appraiseExpressions({ expressions }, sources, new Claims());
    const other = checks.find((check) => check.outcome !== 'passed');
    if (other !== undefined) throw new Error(`an expression of the benchmark: ${other.reason} ${other.observed}`);
  };
}

/** The list is followed to the value of the sha256 bank. */
function imaFigure(entries: number, repeat: { readonly rounds: number; readonly count: number }): Figure {
  const plans = fileEntries(entries);
  const list = makeList(plans);
  const data = plans.map(hashedData);
  const target = new Map([[TPM_ALG_SHA256, new Map([[IMA_PCR, bareHashing(data)]])]]);
  const value = microsPerCall(() => {
    const outcome = replayImaList(list, { target });
    if (outcome.kind !== 'matched' || outcome.entries.length !== entries) throw new Error('the list does not replay');
  }, repeat);
  const floor = { name: 'bare hashing', value: microsPerCall(() => void bareHashing(data), repeat) };
  return { name: `IMA list of ${entries} entries`, value, unit: 'us', floor, goal: 1.5 };
}
