import { hash } from 'node:crypto';

import { attestationBinding, bankProofBinding, factsDigest } from '../../proto/transcript.ts';
import type { ClaimedFacts } from '../../proto/transcript.ts';
import type { ApplicablePolicy, AppraisalInput } from '../policy/appraise.ts';
import { appraisalInputDigest, verdictDigest } from '../policy/appraise.ts';
import type { BootEvidence } from '../policy/appraise-boot.ts';
import type { Appraiser, Judgement } from '../policy/appraiser.ts';
import type { HostFacts } from '../policy/expression-claims.ts';
import { NO_POLICY_QUOTE } from '../policy/policy.ts';
import type { SharedParts } from '../policy/shared-parts.ts';
import type { QuoteRequirements } from '../policy/policy.ts';
import { isOtherBoot, isReset } from '../store/enroll-rules.ts';
import type {
  AkRecord,
  BankRecord,
  ClockRecord,
  HostRecord,
  LogKind,
  LogPart,
  LogState,
  Verdict,
} from '../store/records.ts';
import type { Epochs, RoundInput } from '../store/store.ts';
import type { KnownBoot } from '../verifier/boot-cache.ts';
import { checkClock } from '../verifier/check-clock.ts';
import { unevaluated } from '../verifier/finding.ts';
import type { VerifiedQuote } from '../verifier/verify-quote.ts';
import { verifyEvidence } from '../verifier/verify-evidence.ts';
import type { EvidenceOutcome, VerifiedEvidence } from '../verifier/verify-evidence.ts';
import type { KeptKey } from './kept-key.ts';
import type { Challenge, RoundEvidence } from './messages.ts';
import { bootChange, bootEvidence, standsAgainst } from './round-boot.ts';
import type { KnownRuntime } from './known-runtime.ts';
import type { RuntimeProof } from './round-runtime.ts';

/** What rounds need of a host. Certificates are large, and looked at only when it becomes known. */
export type RoundHost = Omit<HostRecord, 'eks' | 'pendingAk' | 'ak'> & { readonly ak: Pick<AkRecord, 'name'> };

/** Everything that a round is judged from, besides the evidence. */
export interface RoundContext {
  readonly host: RoundHost;
  readonly ak: KeptKey;
  readonly challenge: Challenge;
  /** Of this host alone. */
  readonly appraiser: Appraiser;
  readonly applicable: ApplicablePolicy;
  readonly endorsed: boolean;
  /** For expressions. */
  readonly facts: HostFacts;
  /** What an issuer of its EK certificates revoked, for people; null where nothing is. */
  readonly revoked: string | null;
  /** When the endorsement ends by itself; null where it does not. */
  readonly endorsementEnds: number | null;
  readonly epochs: Epochs;
  /** Of the TLS key under which the evidence came; hex. */
  readonly tlsKeySha256: string;
  readonly streamEpoch: number;
  /** What the host proved of its present boot before; null when nothing. */
  readonly boot: KnownBoot | null;
  readonly runtime: KnownRuntime;
  /** What is kept of its logs. */
  readonly logs: readonly LogState[];
}

/** What a proven round is, before its logs are there. */
export type JudgedRound = Omit<RoundInput, 'logs' | 'unreadable'> & {
  /** Kinds of logs that stay as they are in the store: what stands against the host is judged from them. */
  readonly keptLogs: readonly LogKind[];
};

const BOOT_LOGS: readonly LogKind[] = ['boot', 'userspace'];

/** Its banks are those of many hosts, and held once. */
export function roundHostOf(
  { eks: _eks, pendingAk: _pendingAk, ak, ...host }: HostRecord,
  parts: SharedParts,
): RoundHost {
  return { ...host, ak: { name: ak.name }, banks: parts.data(host.banks) };
}

/** How the host is asked: by its policy, or by the defaults where none judges it. */
export function quoteRequirementsOf(applicable: ApplicablePolicy): QuoteRequirements {
  return applicable.kind === 'policy' ? applicable.policy.quote : NO_POLICY_QUOTE;
}

/** Verifies evidence, before a log is taken. Throws EvidenceError for what is not proven to be the host's. */
export function proveRound(context: RoundContext, evidence: RoundEvidence): EvidenceOutcome {
  const { host, challenge } = context;
  const extraData = attestationBinding({
    nonce: challenge.nonce,
    hostId: host.id,
    tlsKeySha256: Buffer.from(context.tlsKeySha256, 'hex'),
    facts: factsDigest(evidence.facts, evidence.newTlsPublicKey),
  });
  return verifyEvidence(evidence, {
    ak: context.ak.key,
    extraData,
    bankExtraData: challenge.selection === 'all' ? bankProofBinding(extraData) : Buffer.alloc(0),
    selection: challenge.selection,
    lastClock: { ...host.clock, clock: BigInt(host.clock.clock) },
  });
}

/**
 * Judges proven evidence. `proven` is what this very round proved of the boot: every bank and the logs; null where it was not asked
 * for them, or does not prove it.
 */
export function judgeRound(
  context: RoundContext,
  evidence: RoundEvidence,
  proof: {
    readonly verified: VerifiedEvidence;
    readonly proven: KnownBoot | null;
    readonly runtime: RuntimeProof;
  },
): JudgedRound {
  const { verified, proven, runtime } = proof;
  const { host, challenge } = context;
  const { clockInfo } = verified.quote;
  const regressed = verified.findings.some(({ reason }) => reason === 'CLOCK_REGRESSED');
  const rebooted = isOtherBoot(host.clock, clockInfo);
  const asked = challenge.selection === 'all';
  const known = knownBanks(host, verified, { asked, rebooted });
  const lie = standingLie(context, clockInfo);
  const boot = lie ?? bootEvidence(context, verified, proven);
  const appraised = context.appraiser.judge({
    ...appraisalInput(context, verified),
    boot,
    runtime: runtime.evidence,
    banks: new Set(known.banks.map(({ algorithm }) => algorithm)),
    banksProven: known.banksProven,
  });
  const partial = rebooted && !asked && !regressed;
  // A part of another boot is no way to trust. Of a boot that goes on after a resume, what speaks against the host stands.
  const stands = !isReset(host.clock, clockInfo) && appraised.verdict.status === 'contraindicated';
  const { verdict, digest } = partial && !stands ? judgementOf(resetVerdict(context, verified.quote)) : appraised;
  return {
    hostId: host.id,
    fence: { version: host.version, round: host.round, akGeneration: host.akGeneration, epochs: context.epochs },
    streamEpoch: context.streamEpoch,
    verdict,
    verdictDigest: digest,
    evidenceDigest: hash('sha256', Buffer.concat([evidence.attest, evidence.signature]), 'hex'),
    challengeTime: challenge.time,
    validity: validityOf(context),
    // The mark never goes back: a clone that once was behind stays behind.
    clock: regressed ? host.clock : clockRecord(verified.quote),
    banksProven: known.banksProven,
    // What is as it was is not written again.
    ...(known.banks === host.banks ? {} : { banks: known.banks }),
    ...(claimsAs(host.claimed, evidence.facts) ? {} : { claimed: { ...evidence.facts } }),
    findings: regressed ? ['CLOCK_REGRESSED'] : [],
    tlsKeySha256: context.tlsKeySha256,
    nextTlsKeySha256: evidence.newTlsPublicKey.length === 0 ? '' : hash('sha256', evidence.newTlsPublicKey, 'hex'),
    ...(lie === null ? bootChange(challenge, { proven, boot, regressed, rebooted }) : {}),
    ...(runtime.change === undefined ? {} : { runtime: runtime.change }),
    keptLogs: lie === null ? [] : BOOT_LOGS,
  };
}

/** The log that was found false since the last reset; null where there is none. */
function standingLie({ host, boot }: RoundContext, clockInfo: VerifiedQuote['clockInfo']): BootEvidence | null {
  return !isReset(host.clock, clockInfo) && standsAgainst(boot) ? boot.outcome : null;
}

function claimsAs(before: HostRecord['claimed'], now: ClaimedFacts): boolean {
  const entries = Object.entries(now);
  return entries.length === Object.keys(before).length && entries.every(([name, value]) => before[name] === value);
}

function judgementOf(verdict: Verdict): Judgement {
  return { verdict, digest: verdictDigest(verdict) };
}

/** No verdict outlives the certificate that it rests on. */
function validityOf({ applicable, challenge, endorsed, endorsementEnds }: RoundContext): number {
  const { validity } = quoteRequirementsOf(applicable);
  return endorsed && endorsementEnds !== null ? Math.min(validity, endorsementEnds - challenge.time) : validity;
}

function appraisalInput(
  context: RoundContext,
  verified: VerifiedEvidence,
): Omit<AppraisalInput, 'banks' | 'banksProven' | 'boot' | 'runtime'> {
  const { host, applicable, epochs, endorsed, facts, revoked } = context;
  const { firmwareVersion, clockInfo } = verified.quote;
  const { resetCount, restartCount } = clockInfo;
  return {
    applicable,
    epochs,
    findings: verified.findings,
    pcrs: verified.pcrs,
    endorsed,
    revoked,
    standing: host.findings,
    akName: host.ak.name,
    firmwareVersion,
    resetCount,
    restartCount,
    facts,
  };
}

/** Which banks are known to be active after this round: its own where it was asked for them, else those from before. */
function knownBanks(
  host: RoundHost,
  verified: VerifiedEvidence,
  { asked, rebooted }: { readonly asked: boolean; readonly rebooted: boolean },
): { readonly banks: readonly BankRecord[]; readonly banksProven: boolean } {
  if (asked) {
    return {
      banks: verified.banks.map(({ hash, pcrs }) => ({ algorithm: hash, pcrs })),
      banksProven: verified.banksProven,
    };
  }
  return { banks: host.banks, banksProven: host.banksProven && !rebooted };
}

/** The TPM was reset or resumed since the last round: trust falls at once, and the next challenge asks for everything. */
function resetVerdict({ host, applicable, epochs }: RoundContext, quote: VerifiedQuote): Verdict {
  const { resetCount, restartCount } = quote.clockInfo;
  const policy = applicable.kind === 'policy' ? applicable : null;
  const check = unevaluated('boot', {
    reason: 'TPM_RESET',
    observed: `reset ${resetCount}, restart ${restartCount}`,
    expected: `reset ${host.clock.resetCount}, restart ${host.clock.restartCount}`,
    message: 'The host was rebooted or resumed. What it booted is being asked for.',
  });
  return {
    status: 'none',
    vector: { instanceIdentity: 0, configuration: 0, executables: 0, hardware: 0 },
    checks: [check],
    policyId: policy?.policy.id ?? '',
    policyVersion: policy?.version ?? 0,
    inputDigest: appraisalInputDigest(applicable, epochs),
    endorsementVersion: epochs.endorsement,
    akName: host.ak.name,
    resetCount,
    restartCount,
  };
}

/**
 * What torn evidence comes to. A quote of a later boot is evidence of the reboot all the same; else, three times in a row, nothing
 * can be said of what does not fit together.
 */
export function tornRound(context: RoundContext, quote: VerifiedQuote): RoundInput {
  const { host, challenge, applicable } = context;
  const rebooted = isLaterBoot(host, quote);
  const verdict = rebooted ? resetVerdict(context, quote) : tornVerdict(context, quote);
  return {
    hostId: host.id,
    fence: { version: host.version, round: host.round, akGeneration: host.akGeneration, epochs: context.epochs },
    streamEpoch: context.streamEpoch,
    verdict,
    verdictDigest: verdictDigest(verdict),
    evidenceDigest: '',
    challengeTime: challenge.time,
    validity: quoteRequirementsOf(applicable).validity,
    clock: rebooted ? clockRecord(quote) : host.clock,
    banksProven: false,
    findings: [],
    tlsKeySha256: context.tlsKeySha256,
    nextTlsKeySha256: '',
    logs: [],
    unreadable: [],
    ...(rebooted && standingLie(context, quote.clockInfo) === null ? { boot: null } : {}),
  };
}

/** Whether a quote is of another boot than the host is known by, and not of one before. */
export function isLaterBoot(host: RoundHost, { clockInfo }: VerifiedQuote): boolean {
  const last = { ...host.clock, clock: BigInt(host.clock.clock) };
  return isOtherBoot(host.clock, clockInfo) && checkClock(clockInfo, last).outcome === 'passed';
}

function tornVerdict(context: RoundContext, quote: VerifiedQuote): Verdict {
  const { resetCount, restartCount } = context.host.clock;
  const check = unevaluated('pcr-digest', {
    reason: 'EVIDENCE_TORN',
    observed: 'pcr values that are not the quoted ones, three times in a row',
    expected: 'the values that the tpm signed',
    message: 'The PCR values that the host sends are not those that its TPM signed.',
  });
  return { ...resetVerdict(context, quote), checks: [check], resetCount, restartCount };
}

function clockRecord({ clockInfo }: VerifiedQuote): ClockRecord {
  const { clock, resetCount, restartCount, safe } = clockInfo;
  return { clock: String(clock), resetCount, restartCount, safe };
}

/** A round with the logs that came with it; a list that explains nothing is not kept. */
export function withLogs(
  { keptLogs, ...round }: JudgedRound,
  parts: readonly LogPart[],
  { evidence, runtime }: { readonly evidence: RoundEvidence; readonly runtime: RuntimeProof },
): RoundInput {
  const left: readonly LogKind[] = runtime.torn ? [...keptLogs, 'ima'] : keptLogs;
  const unreadable = evidence.logs
    .filter((log) => log.unreadable !== '')
    .map((log) => ({ kind: log.kind, reason: log.unreadable }));
  return { ...round, logs: parts.filter(({ kind }) => !left.includes(kind)), unreadable };
}
