/** The rooms of the service put together over a real store in a temporary directory, without a network. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { enrollmentTranscript } from '../../proto/transcript.ts';
import { objectName } from '../../tpm/crypto/name.ts';
import { subjectPublicKeyInfo } from '../../tpm/crypto/public-key.ts';
import { TPM_ALG_RSA } from '../../tpm/structures/constants.ts';
import { Beats } from '../../server/attestation/beats.ts';
import { Gathering } from '../../server/attestation/gathering.ts';
import { WakeUps } from '../../server/attestation/wake-ups.ts';
import type { SingleRoundServices } from '../../server/attestation/single-round.ts';
import { parseCertificate } from '../../tpm/endorsement/certificate.ts';
import { HostLimits } from '../../server/attestation/host-limits.ts';
import { RuntimeServices } from '../../server/attestation/runtime-services.ts';
import { Endorsements } from '../../server/endorsement/endorsements.ts';
import { readRevocationLists } from '../../tpm/endorsement/revocation-lists.ts';
import { parseCertificateBundle } from '../../tpm/endorsement/certificate-bundle.ts';
import { EnrollmentBeginner } from '../../server/enrollment/begin.ts';
import type { BeginRequest, EnrollmentChallenge } from '../../server/enrollment/begin.ts';
import { EnrollmentLimits } from '../../server/enrollment/enrollment-limits.ts';
import { BootCache } from '../../server/verifier/boot-cache.ts';
import { LOG_POTS, LogBudget } from '../../server/verifier/log-budget.ts';
import { completeEnrollment } from '../../server/enrollment/complete.ts';
import type { CompleteContext, EnrolledHost } from '../../server/enrollment/complete.ts';
import type { EnrollmentProof } from '../../server/enrollment/prove.ts';
import { issueAkCertificate, issueClientCertificate } from '../../server/identity/ca.ts';
import { loadServiceKeys } from '../../server/identity/service-keys.ts';
import type { ServiceKeys } from '../../server/identity/service-keys.ts';
import type { SealingMaster } from '../../server/identity/seal.ts';
import { PolicyResolver } from '../../server/policy/policy-resolver.ts';
import { SharedParts } from '../../server/policy/shared-parts.ts';
import { attachmentOf } from '../../server/policy/attachment.ts';
import { referencesOf } from '../../server/policy/policy.ts';
import type { TrustPolicy } from '../../server/policy/policy.ts';
import { RoundCommitter } from '../../server/result/commit.ts';
import { ChangeFeed } from '../../server/result/feed.ts';
import type { Admission } from '../../server/store/records.ts';
import { revocationListRecord } from '../../server/rpc/revocation-lists.ts';
import { openSqliteStore } from '../../server/store/sqlite.ts';
import type { Store } from '../../server/store/store.ts';
import { FakeClock } from '../server/store/contract/harness.ts';
import { answerEnrollment, beginRequest, chunksOf, feedOf, makeTlsKey } from './evidence-builder.ts';
import type { ProofOptions, TlsKey } from './evidence-builder.ts';
import { makePolicy } from './make-policy.ts';
import type { PolicyDeviation } from './make-policy.ts';
import type { SoftwareAk, SoftwareTpm } from './software-tpm.ts';
import { ekExtensions, makeEk, makeIntermediate, makeRoot } from './test-ek-pki.ts';
import { ext } from './test-ca.ts';
import { TEST_DEPLOYMENT } from './tls.ts';

export const OPERATOR = { actor: 'identities/ada', scope: {} };
export const SERVER_NAMES: readonly string[] = ['localhost', '127.0.0.1'];
const random = (size: number): Buffer => randomBytes(size);

export interface House extends AsyncDisposable {
  readonly store: Store;
  readonly clock: FakeClock;
  readonly keys: { current: ServiceKeys };
  /** Seals the keys in the store. */
  readonly root: SealingMaster;
  readonly endorsements: Endorsements;
  readonly beginner: EnrollmentBeginner;
  readonly complete: CompleteContext;
  readonly services: SingleRoundServices;
  readonly feed: ChangeFeed;
  /** What the feed could not do. */
  readonly faults: unknown[];
}

export interface HouseOptions {
  readonly admission?: readonly Admission[];
  /** Id of the policy that every enrolment must satisfy. */
  readonly bootPolicy?: string;
  readonly maxPendingHosts?: number;
  /** Milliseconds; hints make the feed look at once. */
  readonly pollInterval?: number;
  /** The anchors of the test's EK PKI are imported unless told otherwise. */
  readonly anchors?: boolean;
  readonly clock?: FakeClock;
}

/** A store in a directory that goes with it. */
export async function openTestStore(
  clock = new FakeClock(),
): Promise<{ readonly store: Store; readonly close: () => Promise<void> }> {
  const parent = mkdtempSync(join(tmpdir(), 'assay-house-'));
  const store = await openSqliteStore({
    directory: join(parent, 'store'),
    wallClock: () => clock.wall,
    monotonic: () => clock.elapsed,
    random,
    deployment: TEST_DEPLOYMENT,
  });
  return {
    store,
    close: async () => {
      await store.close();
      rmSync(parent, { recursive: true, force: true });
    },
  };
}

export async function openHouse(options: HouseOptions = {}): Promise<House> {
  const { anchors = true, clock = new FakeClock() } = options;
  const { store, close } = await openTestStore(clock);
  if (anchors) await importAnchors(store);
  const root = { version: 1, secret: random(32) };
  const house = await furnish({ store, clock, root }, options);
  return {
    ...house,
    async [Symbol.asyncDispose]() {
      await house[Symbol.asyncDispose]();
      await close();
    },
  };
}

/** Another instance of the service over the same store, which outlives it: what two replicas share, and no more. */
export function openReplica(
  house: House,
  options: Pick<HouseOptions, 'admission' | 'pollInterval'> = {},
): Promise<House> {
  return furnish(house, options);
}

async function furnish(
  { store, clock, root }: Pick<House, 'store' | 'clock' | 'root'>,
  { admission = ['certificate'], pollInterval = 20, bootPolicy = '', maxPendingHosts = 1000 }: HouseOptions,
): Promise<House> {
  const keys = { current: await loadServiceKeys({ store, root, random, serverNames: SERVER_NAMES }) };
  const endorsements = new Endorsements(store);
  const faults: unknown[] = [];
  const feed = new ChangeFeed({ store, pollInterval, onError: (error) => faults.push(error) });
  await feed.start();
  const committer = new RoundCommitter(store, () => feed.hint());
  const issuing = () => ({ lifetimeSeconds: 86_400, now: new Date(store.now()), random });
  const issueHost = (host: string, publicKey: Buffer): Promise<Buffer> =>
    issueClientCertificate(keys.current.authority, { publicKey, subject: { host }, ...issuing() });
  const issueAk: CompleteContext['issueAkCertificate'] = (host, area) =>
    issueAkCertificate(keys.current.authority, { publicKey: subjectPublicKeyInfo(area), host, ...issuing() });
  const boots = new BootCache();
  return {
    store,
    clock,
    keys,
    root,
    endorsements,
    feed,
    faults,
    beginner: new EnrollmentBeginner({ endorsements, admission, keys, now: () => store.now(), random }),
    complete: {
      store,
      endorsements,
      admission,
      keys,
      limits: new EnrollmentLimits(() => store.now()),
      logBudgets: { admitted: new LogBudget(LOG_POTS.enrollments), pending: new LogBudget(LOG_POTS.strangers) },
      maxPendingHosts,
      boots,
      bootPolicy,
      issueClientCertificate: issueHost,
      issueAkCertificate: issueAk,
    },
    services: {
      store,
      committer,
      feed,
      policies: new PolicyResolver(store),
      endorsements,
      boots,
      runtimes: new RuntimeServices(store),
      wakeUps: new WakeUps(),
      gathering: new Gathering(),
      beats: new Beats(() => performance.now()),
      verdictParts: new SharedParts(),
      hostLimits: new HostLimits(() => store.now()),
      random,
      logBudget: new LogBudget(LOG_POTS.rounds),
      issueClientCertificate: issueHost,
      keys,
    },
    async [Symbol.asyncDispose]() {
      await committer.drain();
      feed.close();
    },
  };
}

export function importAnchors(store: Store): Promise<void> {
  return importCertificates(store, makeRoot(), makeIntermediate());
}

/** Imports CA certificates, those that signed themselves as anchors. */
export async function importCertificates(store: Store, ...files: readonly Buffer[]): Promise<void> {
  const records = files
    .map((file) => parseCertificateBundle(file))
    .flatMap(({ anchors, intermediates }) =>
      [...anchors, ...intermediates].map((each) => ({
        fingerprint: each.fingerprint,
        subject: each.subject.text,
        anchor: anchors.includes(each),
        notAfter: each.notAfter.getTime(),
        certificate: each.raw.toString('hex'),
      })),
    );
  await store.addTrustAnchors(records, OPERATOR);
}

/** Imports one revocation list as the service does; answers its fingerprint. */
export async function importRevocationList(store: Store, der: Buffer): Promise<string> {
  const anchors = await store.allTrustAnchors();
  const issuers = anchors.map(({ certificate }) => parseCertificate(Buffer.from(certificate, 'hex')));
  const lists = readRevocationLists(der, { issuers, now: new Date(store.now()) });
  await store.addRevocationLists(lists.map(revocationListRecord), OPERATOR);
  return sha256(der);
}

/** The certificate of an EK by the test's PKI. */
export function ekCertificate(tpm: SoftwareTpm, index = 0, change: Parameters<typeof makeEk>[0] = {}): Buffer {
  // keyEncipherment for RSA, keyAgreement for ECC.
  const usage = tpm.ek(index).publicArea.type === TPM_ALG_RSA ? 0x20 : 0x08;
  const extensions = ekExtensions({ keyUsage: ext.keyUsage(usage) });
  return makeEk({ spki: tpm.ekSpki(index), extensions, ...change });
}

export interface EnrollOptions extends Omit<ProofOptions, 'transcript'> {
  readonly tls?: TlsKey;
  /** A certificate for every EK when left out. */
  readonly certificates?: readonly (Buffer | undefined)[];
  readonly request?: (request: BeginRequest) => BeginRequest;
  /** What arrives in place of what was made. */
  readonly change?: (proof: EnrollmentProof) => EnrollmentProof;
  readonly callerHostId?: string;
  /** Completes under another TLS key. */
  readonly completeTls?: TlsKey;
}

export interface Begun {
  readonly challenge: EnrollmentChallenge;
  readonly transcript: Buffer;
  readonly tls: TlsKey;
}

export async function beginEnrollment(
  house: House,
  tpm: SoftwareTpm,
  ak: SoftwareAk,
  options: EnrollOptions = {},
): Promise<Begun> {
  const tls = options.tls ?? makeTlsKey();
  const certificates = options.certificates ?? tpm.eks.map((_, index) => ekCertificate(tpm, index));
  const request = beginRequest(tpm, ak, { tls, certificates });
  const challenge = await house.beginner.begin(options.request?.(request) ?? request);
  return { challenge, tls, transcript: transcriptOf(tpm, ak, challenge) };
}

/** The transcript as the agent computes it from its own values. */
export function transcriptOf(tpm: SoftwareTpm, ak: SoftwareAk, challenge: EnrollmentChallenge): Buffer {
  return enrollmentTranscript({
    ...challenge,
    ekNames: tpm.eks.map(({ publicArea }) => objectName(publicArea)),
    parentIndex: ak.parentIndex,
    akName: ak.name,
  });
}

export function finishEnrollment(
  house: House,
  proof: EnrollmentProof,
  options: Pick<EnrollOptions, 'logs' | 'callerHostId'> & { readonly tls: TlsKey },
): Promise<EnrolledHost> {
  return completeEnrollment(house.complete, {
    proof,
    caller: {
      tlsKeySha256: options.tls.sha256,
      tlsPublicKey: options.tls.spki,
      hostId: options.callerHostId ?? '',
    },
    nextChunk: feedOf((options.logs ?? []).flatMap((log) => chunksOf(log))),
  });
}

/** An enrolment from begin to end. */
export async function enroll(
  house: House,
  tpm: SoftwareTpm,
  ak: SoftwareAk,
  options: EnrollOptions = {},
): Promise<EnrolledHost & { readonly tls: TlsKey }> {
  const { challenge, transcript, tls } = await beginEnrollment(house, tpm, ak, options);
  const honest = answerEnrollment(tpm, ak, challenge, { ...options, transcript });
  const proof = options.change?.(honest) ?? honest;
  const enrolled = await finishEnrollment(house, proof, { ...options, tls: options.completeTls ?? tls });
  return { ...enrolled, tls };
}

/** Everything that the store tells, to be compared before and after. */
export async function dump(store: Store): Promise<unknown> {
  const page = { limit: 1000, after: '' };
  const hosts = (await store.listHosts(page, { states: [], matchLabels: {}, scope: {} })).items;
  return {
    hosts,
    results: (await store.listResults(page, { hostIds: [], statuses: [], policyIds: [], matchLabels: {}, scope: {} }))
      .items,
    logs: await Promise.all(hosts.map(({ id }) => store.logStates(id))),
    policies: await store.allPolicies(),
    referenceSets: (await store.listReferenceSets(page)).items,
    keyrings: (await store.listKeyrings(page)).items,
    anchors: await store.allTrustAnchors(),
    revocationLists: await store.allRevocationLists(),
    inventory: (await store.listInventory(page)).items,
    identities: (await store.listIdentities(page)).items,
    audit: await store.listAudit(0, 1000),
    heads: await store.heads(),
    epochs: await store.epochs(),
  };
}

/** Writes a policy for every host: PCR 7 of sha256 must be zero, unless told otherwise. */
export function putPolicy(store: Store, change: PolicyDeviation = {}): Promise<void> {
  return writePolicy(store, makePolicy(change));
}

export async function writePolicy(store: Store, policy: TrustPolicy): Promise<void> {
  const attachment = attachmentOf(policy);
  const references = referencesOf(policy);
  await store.putPolicy(
    { id: policy.id, attachment, references, body: JSON.stringify(policy) },
    { ...OPERATOR, expected: 'any' },
  );
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
