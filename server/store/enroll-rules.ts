import type { ClockRecord, EkRecord, HostRecord, PendingAkRecord } from './records.ts';
import type { EnrollInput, EnrollOutcome, Epochs } from './store.ts';

/** What a proven enrolment meets in the store, read in its transaction. */
export interface EnrollFacts {
  /** The enrolment id was completed before. */
  readonly used: boolean;
  readonly epochs: Epochs;
  /** One of the EKs is banned. */
  readonly banned: boolean;
  /** Hosts that hold any of the EKs. */
  readonly ekOwners: readonly string[];
  /** Hosts that have the AK, or wait for approval to have it. */
  readonly akOwners: readonly string[];
  /** The one host that holds the EKs; null when none or several do. */
  readonly host: HostRecord | null;
  /** A host has the id that a new one would get. */
  readonly idTaken: boolean;
  /** Hosts that wait for approval. */
  readonly pendingHosts: () => number;
  /** The store's clock in the transaction. */
  readonly now: number;
}

type Refusal = Exclude<EnrollOutcome, { readonly host: HostRecord }>['outcome'];

export type EnrollDecision =
  | { readonly act: 'refuse'; readonly outcome: Refusal }
  | { readonly act: 'create' }
  /** Same AK; or another AK that takes effect; or another AK that waits for approval. */
  | { readonly act: 'refresh' | 'replace' | 'hold'; readonly host: HostRecord };

/** What an enrolment comes to; docs/protocol.md, enrolling again. */
export function decideEnrollment(input: EnrollInput, facts: EnrollFacts): EnrollDecision {
  // Later the id would be forgotten, and what it was used for could be done twice.
  if (facts.now >= input.completeBefore) return refuse('expired');
  if (facts.used) return refuse('already_used');
  const { policy, endorsement } = facts.epochs;
  if (input.epochs.policy !== policy || input.epochs.endorsement !== endorsement) return refuse('fenced');
  if (facts.banned) return refuse('banned');
  if (facts.ekOwners.length > 1) return refuse('ek_conflict');
  if (facts.akOwners.some((owner) => owner !== facts.host?.id)) return refuse('ak_conflict');
  const { host } = facts;
  if (host?.id !== input.expected?.hostId || host?.version !== input.expected?.version) return refuse('fenced');
  if (host === null) {
    if (facts.idTaken) return refuse('ek_conflict');
    const full = input.state === 'pending' && facts.pendingHosts() >= input.maxPendingHosts;
    return full ? refuse('too_many_pending') : { act: 'create' };
  }
  if (host.ak.name === input.ak.name) return { act: 'refresh', host };
  // Who holds the host's TLS key, now and not when the call began, is its agent. A host that waits has no trust to take over.
  const present = [host.tlsKeySha256, host.nextTlsKeySha256].includes(input.tlsKeySha256);
  const own = (input.callerHostId === host.id && present) || host.state === 'pending';
  return { act: own ? 'replace' : 'hold', host };
}

function refuse(outcome: Refusal): EnrollDecision {
  return { act: 'refuse', outcome };
}

/** Where the counts of a deleted host ended. */
export type FormerHost = Pick<HostRecord, 'version' | 'akGeneration'>;

/** A host; after a deleted one of its id the counts go on, so that nothing that was of the former one fits the new one. */
export function newHost(input: EnrollInput, now: number, former: FormerHost | null): HostRecord {
  return {
    id: input.hostId,
    state: input.state,
    nodeName: '',
    labels: {},
    trustPolicy: '',
    eks: input.eks,
    ak: input.ak,
    akGeneration: (former?.akGeneration ?? 0) + 1,
    pendingAk: null,
    tlsKeySha256: input.tlsKeySha256,
    nextTlsKeySha256: '',
    admission: input.admission,
    claimed: input.claimed,
    createTime: now,
    enrollTime: now,
    findings: [],
    version: (former?.version ?? 0) + 1,
    round: 0,
    streamEpoch: 0,
    connected: false,
    clock: input.clock,
    banks: input.banks,
    banksProven: provenBanks(input.state, input.banksProven),
    torn: 0,
  };
}

/** Of a host that waits nothing is kept: what counts as unproven is asked for with every log. */
function provenBanks(state: HostRecord['state'], proven: boolean): boolean {
  return state !== 'pending' && proven;
}

/**
 * The same EK and AK again, so that a lost answer is harmless: new certificates, and the verdict stays. A host that still waits
 * and would be admitted without an operator today is so admitted. The clock is left to the rounds, which compare it.
 */
export function refreshedHost(host: HostRecord, input: EnrollInput, now: number): HostRecord {
  return {
    ...host,
    state: host.state === 'pending' ? input.state : host.state,
    banksProven: host.banksProven && !isOtherBoot(host.clock, input.clock),
    eks: joinEks(input.eks, host.eks),
    ak: { ...input.ak, certificate: input.ak.certificate === '' ? host.ak.certificate : input.ak.certificate },
    tlsKeySha256: input.tlsKeySha256,
    nextTlsKeySha256: '',
    admission: admissionAfter(host, input),
    claimed: input.claimed,
    enrollTime: now,
    version: host.version + 1,
  };
}

/** A new AK waits; of the host itself only that changes. The latest one waits, others are forgotten. */
export function holdAk(host: HostRecord, input: EnrollInput, now: number): HostRecord {
  const { ak, eks, tlsKeySha256, clock, banks, banksProven } = input;
  return {
    ...host,
    pendingAk: { ak, eks, tlsKeySha256, clock, banks, banksProven, enrollTime: now },
    version: host.version + 1,
  };
}

/** A new AK that takes effect. A host that still waits had no trust that anybody would have to be told of. */
export function replacedHost(host: HostRecord, input: EnrollInput, now: number): HostRecord {
  const { ak, eks, tlsKeySha256, clock, banks, banksProven } = input;
  const state = host.state === 'pending' ? input.state : host.state;
  const proven = provenBanks(state, banksProven);
  return {
    ...takeAk(host, { ak, eks, tlsKeySha256, clock, banks, banksProven: proven, enrollTime: now }),
    ...(host.state === 'pending' ? { state, findings: [] } : {}),
    admission: admissionAfter(host, input),
    claimed: input.claimed,
  };
}

/**
 * The host with another AK. What the former AK attested is gone: clock, banks, rounds and streams start anew, and of the findings
 * only the one about the replacement stands.
 */
export function takeAk(host: HostRecord, next: PendingAkRecord): HostRecord {
  return {
    ...host,
    eks: joinEks(next.eks, host.eks),
    ak: next.ak,
    akGeneration: host.akGeneration + 1,
    pendingAk: null,
    tlsKeySha256: next.tlsKeySha256,
    nextTlsKeySha256: '',
    enrollTime: next.enrollTime,
    findings: ['AK_REPLACED'],
    version: host.version + 1,
    round: 0,
    streamEpoch: 0,
    connected: false,
    clock: next.clock,
    banks: next.banks,
    banksProven: next.banksProven,
    torn: 0,
  };
}

/** Proven EKs first, the AK's parent at their head; those of before stay the host's. */
function joinEks(proven: readonly EkRecord[], before: readonly EkRecord[]): readonly EkRecord[] {
  const fingerprints = new Set(proven.map((ek) => ek.fingerprint));
  return [...proven, ...before.filter((ek) => !fingerprints.has(ek.fingerprint))];
}

type BootCounts = Pick<ClockRecord, 'resetCount' | 'restartCount'>;

/**
 * Whether the TPM was reset between two clocks. Another restartCount alone may be a resume, which keeps the PCRs (TPM 2.0 Part 1
 * §12.2.4, Part 3 §9.3): the boot goes on, and what was found of it stands.
 */
export function isReset(before: BootCounts, after: BootCounts): boolean {
  return after.resetCount !== before.resetCount;
}

/** Whether a clock is of another boot, or of another side of a suspend, than the one before. */
export function isOtherBoot(before: BootCounts, after: BootCounts): boolean {
  return after.resetCount !== before.resetCount || after.restartCount !== before.restartCount;
}

/** No host loses its admission by enrolling again. */
function admissionAfter(host: HostRecord, input: EnrollInput): HostRecord['admission'] {
  return input.state === 'active' ? input.admission : host.admission;
}
