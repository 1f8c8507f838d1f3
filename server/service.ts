import { HealthRegistry } from '../proto/health.ts';
import { Listener } from '../proto/listener.ts';
import { makeReflection } from '../proto/reflection.ts';
import { RpcServer } from '../proto/rpc-server.ts';
import type { TlsIdentity } from '../proto/tls-identity.ts';
import { subjectPublicKeyInfo } from '../tpm/crypto/public-key.ts';
import type { Config } from './config.ts';
import { pooledRandom } from './attestation/random-pool.ts';
import { Reappraiser } from './attestation/reappraiser.ts';
import { Endorsements } from './endorsement/endorsements.ts';
import { EnrollmentBeginner } from './enrollment/begin.ts';
import { EnrollmentLimits } from './enrollment/enrollment-limits.ts';
import { Beats } from './attestation/beats.ts';
import { Gathering } from './attestation/gathering.ts';
import { WakeUps } from './attestation/wake-ups.ts';
import { Callers } from './identity/callers.ts';
import { issueAkCertificate, issueClientCertificate } from './identity/ca.ts';
import { loadServiceKeys } from './identity/service-keys.ts';
import type { KeyOptions, ServiceKeys } from './identity/service-keys.ts';
import { TokenKeys } from './identity/token-keys.ts';
import { PlacementFeed } from './placement/placement-feed.ts';
import { ENGINE_VERSION } from './policy/appraise.ts';
import { PolicyResolver } from './policy/policy-resolver.ts';
import { SharedParts } from './policy/shared-parts.ts';
import { HostLimits } from './attestation/host-limits.ts';
import { RuntimeServices } from './attestation/runtime-services.ts';
import { RoundCommitter } from './result/commit.ts';
import { ChangeFeed } from './result/feed.ts';
import { TokenIssuer } from './result/issue-token.ts';
import { Access } from './rpc/access.ts';
import { BootReporter } from './rpc/boot-reporter.ts';
import { translateError } from './rpc/errors.ts';
import { assayServices, MAX_RECEIVE_BYTES } from './rpc/services.ts';
import type { Store } from './store/store.ts';
import { BootCache } from './verifier/boot-cache.ts';
import { BootReplayer } from './verifier/boot-replayer.ts';
import { LOG_POTS, LogBudget } from './verifier/log-budget.ts';
import { watchClock } from './watch-clock.ts';
import { webDocuments } from './web/documents.ts';
import { WebServer } from './web/web-server.ts';

/** How soon what another replica wrote, and an expiry, is seen, milliseconds. */
const POLL_INTERVAL = 500;
/** How long open calls may take to end when the service stops, milliseconds. */
const DRAIN_GRACE = 5_000;
const UPKEEP_INTERVAL = 3_600_000;
/** What is not ready while the wall clock is far behind the store's. */
const CLOCKED = ['', 'assay.v1.PlacementService'];

/** Where the service reports to; pino's loggers fit. */
export interface ServiceLog {
  error(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  info(fields: object, message: string): void;
  debug(fields: object, message: string): void;
}

export interface ServiceOptions {
  readonly config: Config;
  readonly store: Store;
  readonly root: KeyOptions['root'];
  readonly random: (size: number) => Buffer;
  /** The machine's wall clock, milliseconds since 1970; everything but the deadlines of calls goes by the store's. */
  readonly wallClock: () => number;
  /** Milliseconds since some fixed moment of this process; never goes back. */
  readonly monotonic: () => number;
  readonly log: ServiceLog;
  /** Version of the program, for tokens. */
  readonly version: string;
}

export interface RunningService {
  readonly address: { readonly host: string; readonly port: number };
  /** Of the HTTPS listener; null where none is configured. */
  readonly webAddress: { readonly host: string; readonly port: number } | null;
  /** What agents pin. */
  readonly fingerprint: string;
  /** Ends streams, drains, writes what is in flight. The store stays open. */
  readonly stop: () => Promise<void>;
}

/** Puts the house together and opens its door. */
export async function startService(options: ServiceOptions): Promise<RunningService> {
  const { config, store, random, log } = options;
  const keyOptions: KeyOptions = { store, root: options.root, random, serverNames: config.serverNames };
  const keys: { current: ServiceKeys } = { current: await loadServiceKeys(keyOptions) };
  const { authority } = keys.current;
  const tokenKeys = await TokenKeys.load(keyOptions);
  const feed = new ChangeFeed({
    store,
    pollInterval: POLL_INTERVAL,
    onError: (error) => log.error({ err: error }, 'the change feed failed'),
  });
  const placements = new PlacementFeed({
    store,
    feed,
    onError: (error) => log.error({ err: error }, 'the placement index cannot be kept up to date'),
  });
  const committer = new RoundCommitter(store, () => feed.hint());
  const access = new Access(new Callers({ store, authorities: [authority.certificate] }), () => store.now());
  const bootReplayer = new BootReplayer();
  const parts = { keys, tokenKeys, access, feed, placements, committer, bootReplayer };
  const rooms = servicesOptions(options, parts);
  const services = assayServices(rooms);
  const reappraiser = new Reappraiser({
    services: rooms.services,
    onError: (error) => log.error({ err: error }, 'a host could not be judged anew'),
  });
  const health = new HealthRegistry();
  const bound = [
    ...services,
    health.service,
    ...(config.reflection ? [makeReflection([...services, health.service])] : []),
  ];
  const server = new RpcServer({
    services: bound,
    authorize: (context) => access.authorize(context),
    logger: log,
    now: options.wallClock,
    newRequestId: () => random(8).toString('hex'),
    translateError,
    maxReceiveBytesOf: MAX_RECEIVE_BYTES,
  });
  const identity = tlsIdentity(keys.current);
  const closeRooms = async (): Promise<void> => {
    feed.close();
    await placements.close();
    await bootReplayer[Symbol.asyncDispose]();
    await rooms.bootReporter[Symbol.asyncDispose]();
  };
  const dropped = await store.judgeBy(ENGINE_VERSION);
  if (dropped > 0) log.info({ verdicts: dropped }, 'this release judges anew what another one judged');
  await feed.start();
  const { maxConnectionsPerAddress } = config;
  placements.start();
  const listener = await Listener.open({
    server,
    identity,
    ...config.listen,
    maxConnectionsPerAddress,
    logger: log,
    now: options.wallClock,
  }).catch(async (error: unknown) => {
    await closeRooms();
    throw error;
  });
  const web = await openWeb(options, { identity, tokenKeys }).catch(async (error: unknown) => {
    await listener.drain(0);
    await closeRooms();
    throw error;
  });
  reappraiser.start();
  for (const { descriptor } of services) health.set(descriptor.typeName, 'serving');
  health.set('', 'serving');
  const clock = watchClock(store, ({ isBehind, milliseconds }) => {
    for (const name of CLOCKED) health.set(name, isBehind ? 'not_serving' : 'serving');
    if (isBehind) log.warn({ milliseconds }, 'the wall clock is behind the clock of the store: nothing is selected');
    else log.info({}, 'the wall clock has caught up with the clock of the store');
  });
  const upkeep = setInterval(
    () => void keepUp(options, { keyOptions, keys, listeners: [listener, ...(web === null ? [] : [web])] }),
    UPKEEP_INTERVAL,
  );
  return {
    address: listener.address(),
    webAddress: web?.address() ?? null,
    fingerprint: authority.fingerprint,
    stop: async () => {
      clearInterval(upkeep);
      clock[Symbol.dispose]();
      for (const { descriptor } of services) health.set(descriptor.typeName, 'not_serving');
      health.set('', 'not_serving');
      await Promise.all([listener.drain(DRAIN_GRACE), web?.close(DRAIN_GRACE), reappraiser.close()]);
      await committer.drain();
      await closeRooms();
    },
  };
}

/** The HTTPS listener, where the configuration has one. */
function openWeb(
  { config, log }: ServiceOptions,
  { identity, tokenKeys }: { readonly identity: TlsIdentity; readonly tokenKeys: TokenKeys },
): Promise<WebServer | null> {
  if (config.webListen === null) return Promise.resolve(null);
  return WebServer.open({ documents: webDocuments({ tokenKeys }), identity, ...config.webListen, logger: log });
}

interface Rooms {
  readonly keys: { readonly current: ServiceKeys };
  readonly tokenKeys: TokenKeys;
  readonly access: Access;
  readonly feed: ChangeFeed;
  readonly placements: PlacementFeed;
  readonly committer: RoundCommitter;
  readonly bootReplayer: BootReplayer;
}

function servicesOptions(
  { config, store, random, monotonic, version }: ServiceOptions,
  { keys, tokenKeys, access, feed, placements, committer, bootReplayer }: Rooms,
): Parameters<typeof assayServices>[0] {
  const endorsements = new Endorsements(store);
  const { authority } = keys.current;
  const issuing = () => ({ now: new Date(store.now()), random });
  const issueHostCertificate = (hostId: string, publicKey: Buffer): Promise<Buffer> =>
    issueClientCertificate(authority, {
      publicKey,
      subject: { host: hostId },
      lifetimeSeconds: config.agentCertificateLifetime,
      ...issuing(),
    });
  const issueAk: Parameters<typeof assayServices>[0]['issueAkCertificate'] = (hostId, publicArea) =>
    issueAkCertificate(authority, {
      publicKey: subjectPublicKeyInfo(publicArea),
      host: hostId,
      lifetimeSeconds: config.akCertificateLifetime,
      ...issuing(),
    });
  const enrollment = { endorsements, admission: config.admission, keys };
  const limits = new EnrollmentLimits(() => store.now());
  const boots = new BootCache(bootReplayer.replay);
  return {
    access,
    store,
    feed,
    keys,
    tokenKeys,
    tokens: new TokenIssuer({
      keys: tokenKeys,
      deployment: store.deployment,
      version,
      maxLifetime: config.maxTokenTtl * 1000,
      now: () => store.now(),
      clockBehind: () => store.clockBehind(),
      random,
    }),
    bootReporter: new BootReporter(),
    placements,
    authorityCertificate: authority.certificate,
    beginner: new EnrollmentBeginner({ ...enrollment, now: () => store.now(), random }),
    limits,
    complete: {
      ...enrollment,
      limits,
      logBudgets: { admitted: new LogBudget(LOG_POTS.enrollments), pending: new LogBudget(LOG_POTS.strangers) },
      maxPendingHosts: config.maxPendingHosts,
      boots,
      bootPolicy: config.admissionBootPolicy,
      store,
      issueClientCertificate: issueHostCertificate,
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
      beats: new Beats(monotonic),
      verdictParts: new SharedParts(),
      hostLimits: new HostLimits(() => store.now()),
      random: pooledRandom(random),
      logBudget: new LogBudget(LOG_POTS.rounds),
      issueClientCertificate: issueHostCertificate,
      keys,
    },
    issueAkCertificate: issueAk,
    issueIdentityCertificate: async (name, publicKey) => {
      const lifetimeSeconds = config.identityCertificateLifetime;
      const certificate = await issueClientCertificate(authority, {
        publicKey,
        subject: { name },
        lifetimeSeconds,
        ...issuing(),
      });
      return { certificate, expires: store.now() + lifetimeSeconds * 1000 };
    },
  };
}

/**
 * The hourly chores: certificates that are half through their life are renewed, changes past their retention dropped, and hosts that
 * nobody approved in time.
 */
async function keepUp(
  { config, store, log }: ServiceOptions,
  {
    keyOptions,
    keys,
    listeners,
  }: {
    readonly keyOptions: KeyOptions;
    readonly keys: { current: ServiceKeys };
    readonly listeners: readonly Pick<Listener, 'updateCredentials'>[];
  },
): Promise<void> {
  try {
    keys.current = await loadServiceKeys(keyOptions);
    for (const listener of listeners) listener.updateCredentials(tlsIdentity(keys.current));
    const dropped = await store.compact(store.now() - config.historyRetention * 1000);
    log.debug({ dropped }, 'old changes dropped');
    const lapsed = await store.lapsePending(store.now() - config.pendingHostLifetime * 1000, { actor: 'service' });
    if (lapsed > 0) log.info({ lapsed }, 'hosts that were not approved in time were deleted');
  } catch (error) {
    log.error({ err: error }, 'the hourly chores failed');
  }
}

function tlsIdentity({ serverTls, authority }: ServiceKeys): TlsIdentity {
  return {
    certificateChain: [serverTls.certificate, authority.certificate],
    privateKey: serverTls.key.export({ type: 'pkcs8', format: 'pem' }) as string,
  };
}
