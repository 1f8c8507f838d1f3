import { createHash } from 'node:crypto';
import type { AkRecord, EkRecord, HostRecord, PolicyRecord, Verdict } from '../../../server/store/records.ts';
import type { KeyringKeyRecord, ReferenceEntryRecord } from '../../../server/store/reference-store.ts';
import type { EnrollInput, RoundInput, Store } from '../../../server/store/store.ts';

/** Makers of valid input for a store; each test changes what it is about. */

export const OPERATOR = { actor: 'operators/ada', scope: {} };
export const NO_FILTER = { hostIds: [], statuses: [], policyIds: [], matchLabels: {}, scope: {} };
export const MINUTE = 60_000;
const VALIDITY = 10 * MINUTE;

export function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

export function ek(name: string, certificate = ''): EkRecord {
  return {
    fingerprint: digest(`ek ${name}`),
    publicArea: '0001',
    algorithm: 'RSA-2048',
    certificate,
    chain: [],
    certified: certificate !== '',
    manufacturer: 'IBM',
    model: 'swtpm',
    deviations: [],
  };
}

export function ak(name: string): AkRecord {
  return {
    name: `000b${digest(`ak ${name}`)}`,
    qualifiedName: `000b${digest(`qn ${name}`)}`,
    publicArea: '0001',
    certificate: 'aabb',
  };
}

/** An enrolment of a new host `h-NAME` with one EK. */
export async function enrollment(store: Store, name: string, change: Partial<EnrollInput> = {}): Promise<EnrollInput> {
  return {
    actor: `agent hosts/h-${name}`,
    enrollmentId: digest(`${name} ${Math.random()}`),
    completeBefore: store.now() + MINUTE,
    forgetAfter: store.now() + 2 * MINUTE,
    hostId: `h-${name}`,
    eks: [ek(name, '3082')],
    ak: ak(name),
    tlsKeySha256: digest(`tls ${name}`),
    callerHostId: '',
    admission: 'certificate',
    state: 'active',
    claimed: { hostname: name },
    clock: { resetCount: 1, restartCount: 0, clock: '1000', safe: true },
    banks: [{ algorithm: 0x000b, pcrs: [0, 1, 2] }],
    banksProven: true,
    logs: [],
    unreadable: [],
    maxPendingHosts: 1000,
    expected: null,
    epochs: await store.epochs(),
    ...change,
  };
}

/** Another enrolment of a host that is there. */
export async function enrollAgain(store: Store, host: HostRecord, change: Partial<EnrollInput>): Promise<EnrollInput> {
  const input = await enrollment(store, host.id.slice(2));
  return { ...input, eks: host.eks, ak: host.ak, expected: { hostId: host.id, version: host.version }, ...change };
}

export async function enrolled(store: Store, name: string, change: Partial<EnrollInput> = {}): Promise<HostRecord> {
  const outcome = await store.enroll(await enrollment(store, name, change));
  if (outcome.outcome !== 'created') throw new Error(`enrolment of ${name} ended ${outcome.outcome}`);
  return outcome.host;
}

export function verdict(host: HostRecord, change: Partial<Verdict> = {}): Verdict {
  return {
    status: 'affirming',
    vector: { instanceIdentity: 2, configuration: 2, executables: 3, hardware: 2 },
    checks: [
      { id: 'quote', outcome: 'passed', reason: 'OK', observed: '', expected: '', message: 'the quote verifies' },
    ],
    policyId: 'base',
    policyVersion: 1,
    inputDigest: digest('input'),
    endorsementVersion: 1,
    akName: host.ak.name,
    resetCount: host.clock.resetCount,
    restartCount: host.clock.restartCount,
    ...change,
  };
}

/** A judged round of a host as it is now: affirming, on stream 7, valid ten minutes. */
export async function round(store: Store, hostId: string, change: Partial<RoundInput> = {}): Promise<RoundInput> {
  const host = await store.getHost(hostId);
  if (host === null) throw new Error(`no host ${hostId}`);
  const judged = change.verdict ?? verdict(host);
  return {
    hostId,
    fence: {
      version: host.version,
      round: host.round,
      akGeneration: host.akGeneration,
      epochs: await store.epochs(),
    },
    streamEpoch: 7,
    verdict: judged,
    verdictDigest: digest(JSON.stringify(judged)),
    evidenceDigest: digest(`evidence ${host.round}`),
    challengeTime: store.now(),
    validity: VALIDITY,
    clock: host.clock,
    banks: host.banks,
    banksProven: host.banksProven,
    claimed: host.claimed,
    findings: [],
    tlsKeySha256: host.tlsKeySha256,
    nextTlsKeySha256: '',
    logs: [],
    unreadable: [],
    ...change,
  };
}

/** Commits one round and returns what became of it. */
export async function commit(
  store: Store,
  input: RoundInput,
): Promise<Awaited<ReturnType<Store['commitRounds']>>[number]> {
  const [outcome] = await store.commitRounds([input]);
  if (outcome === undefined) throw new Error('no outcome');
  return outcome;
}

/** An enrolled host with an affirming result. */
export async function affirmed(store: Store, name: string, change: Partial<EnrollInput> = {}): Promise<HostRecord> {
  const host = await enrolled(store, name, change);
  const outcome = await commit(store, await round(store, host.id));
  if (outcome.outcome !== 'changed') throw new Error(`round of ${name} ended ${outcome.outcome}`);
  return { ...host, ...outcome.moved };
}

export function policy(
  id: string,
  attachment: Partial<PolicyRecord['attachment']> = {},
  references: readonly string[] = [],
): Pick<PolicyRecord, 'id' | 'attachment' | 'references' | 'body'> {
  const all = { matchLabels: {}, allHosts: false, precedence: 0, ...attachment };
  return { id, attachment: all, references, body: `{"id":"${id}"}` };
}

/** Reason codes of a host's present result. */
export async function reasons(store: Store, hostId: string): Promise<readonly string[]> {
  const result = await store.getResult(hostId);
  return (result?.checks ?? []).filter((check) => check.outcome !== 'passed').map((check) => check.reason);
}

/** A file of a reference set. */
export function entry(name: string, path = `/usr/bin/${name}`): ReferenceEntryRecord {
  return { algorithm: 'sha256', digest: digest(name), path };
}

/** Makes a version of a set that holds these entries, or these too. */
export async function putSet(
  store: Store,
  id: string,
  entries: readonly ReferenceEntryRecord[],
  from: 'nothing' | 'newest' = 'nothing',
): ReturnType<Store['commitReferenceDraft']> {
  const draft = await store.openReferenceDraft(id, { from, expected: 'any' });
  await store.addReferenceEntries(draft, entries);
  return store.commitReferenceDraft(draft, { ...OPERATOR, detail: '' });
}

/** A key of a keyring. */
export function key(name: string): KeyringKeyRecord {
  return {
    fingerprint: digest(`key ${name}`),
    keyIds: [digest(name).slice(0, 8)],
    algorithm: 'EC-P-256',
    subject: `CN=${name}`,
    notBefore: 1,
    notAfter: 2,
    der: '3082',
  };
}
