import { Worker } from 'node:worker_threads';
import { type ClockSource, StoreClock } from './clock.ts';
import { FaultLog } from './fault-log.ts';
import { copyLogs, RoundMessages } from './round-messages.ts';
import type { OpenInput } from './sqlite/open.ts';
import type { OperationMethods, OperationName } from './sqlite/operations.ts';
import { LAPSE_BATCH } from './sqlite/host-changes.ts';
import { SqliteReader } from './sqlite-reader.ts';
import { COMPACT_BATCH } from './sqlite/results.ts';
import { type Actor, type EnrollInput, type RoundInput, type RoundOutcome, type Store, StoreError } from './store.ts';
import { WorkerLink } from './worker-link.ts';

export interface SqliteStoreOptions extends ClockSource {
  /** Made, with mode 0700, when it is missing. One process at a time has it open. */
  readonly directory: string;
  readonly random: (size: number) => Uint8Array;
  /** Name of the deployment, taken when the store is made; a random one without it. */
  readonly deployment?: string;
  /** Largest size of the database file, bytes: writes beyond it fail as `full`. Default: what the disk holds. */
  readonly maxBytes?: number;
  /** Hears what an operator should know: the wall clock was behind, the store failed. */
  readonly log?: (level: 'warn' | 'error', message: string, facts: Readonly<Record<string, string | number>>) => void;
  /** The store has failed for good: every call fails from now on. */
  readonly onFailure?: (error: StoreError) => void;
}

interface Started {
  readonly incarnation: string;
  readonly deployment: string;
  readonly clockMark: number;
}

/**
 * Opens the embedded store, or makes it. Throws StoreError: locked, newer_schema, read_only, full, corrupt or failed, each before
 * anything of the store is changed.
 */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const input: OpenInput = {
    directory: options.directory,
    incarnation: Buffer.from(options.random(16)).toString('hex'),
    deployment: options.deployment ?? `d-${Buffer.from(options.random(8)).toString('hex')}`,
    wallClock: Math.floor(options.wallClock()),
    maxBytes: options.maxBytes ?? 0,
  };
  // The emitted package holds .js where a checkout holds .ts.
  const file = import.meta.url.endsWith('.ts') ? './sqlite-worker.ts' : './sqlite-worker.js';
  const code = new URL(file, import.meta.url);
  const worker = new Worker(code, { workerData: input, name: 'store' });
  const faults = new FaultLog(
    (error) => options.log?.('error', error.message, { code: error.code }),
    options.monotonic,
  );
  let isOpen = false;
  const link = new WorkerLink(
    worker,
    (error) => {
      const cause = error.cause instanceof Error ? error.cause.message : '';
      options.log?.('error', error.message, { code: error.code, cause });
      options.onFailure?.(error);
    },
    // A store that does not open says why to whoever opens it.
    (error) => void (isOpen && faults.note(error)),
  );
  try {
    const started = (await link.started()) as Started;
    isOpen = true;
    const clock = new StoreClock(options, started.clockMark);
    const behind = clock.behind();
    if (behind > 0) options.log?.('warn', 'the wall clock is behind the clock of the store', { milliseconds: behind });
    const reader = new SqliteReader({
      directory: options.directory,
      worker: code,
      onFailure: (error) => options.log?.('error', error.message, { code: error.code }),
      onRefusal: (error) => faults.note(error),
    });
    return new SqliteStore({ link, reader, clock, started });
  } catch (error) {
    await link.end(new StoreError('closed', 'the store could not be opened', { cause: error }));
    throw error;
  }
}

class SqliteStore implements Store {
  readonly incarnation: string;
  readonly deployment: string;
  readonly #link: WorkerLink;
  readonly #reader: SqliteReader;
  readonly #clock: StoreClock;
  readonly #rounds = new RoundMessages();
  #closing: Promise<void> | null = null;

  constructor({
    link,
    reader,
    clock,
    started,
  }: {
    readonly link: WorkerLink;
    readonly reader: SqliteReader;
    readonly clock: StoreClock;
    readonly started: Started;
  }) {
    this.#link = link;
    this.#reader = reader;
    this.#clock = clock;
    this.incarnation = started.incarnation;
    this.deployment = started.deployment;
  }

  readonly getHost = this.#operation('getHost');
  readonly findHost = this.#operation('findHost');
  readonly listHosts = this.#operation('listHosts');
  readonly findByEks = this.#operation('findByEks');
  readonly updateHost = this.#operation('updateHost');
  readonly approveHost = this.#operation('approveHost');
  readonly revokeHost = this.#operation('revokeHost');
  readonly replaceHost = this.#operation('replaceHost');
  readonly deleteHost = this.#operation('deleteHost');
  readonly countTorn = this.#operation('countTorn');
  readonly streamLost = this.#operation('streamLost');
  readonly getResult = this.#operation('getResult');
  readonly findResult = this.#operation('findResult');
  readonly listResults = this.#operation('listResults');
  readonly listHistory = this.#operation('listHistory');
  readonly expireResults = this.#operation('expireResults');
  readonly changesSince = this.#operation('changesSince');
  readonly confirmationsSince = this.#operation('confirmationsSince');
  readonly heads = this.#operation('heads');
  readonly snapshot = this.#operation('snapshot');
  readonly resultTimes = this.#operation('resultTimes');
  readonly logStates = this.#operation('logStates');
  readonly getBoot = this.#operation('getBoot');
  readonly getRuntime = this.#operation('getRuntime');
  readonly readLog = this.#operation('readLog');
  readonly formerBoots = this.#operation('formerBoots');
  readonly readFormerLog = this.#operation('readFormerLog');
  readonly dueReappraisals = this.#operation('dueReappraisals');
  readonly reappraisalBases = this.#operation('reappraisalBases');
  readonly commitReappraisals = this.#operation('commitReappraisals');
  readonly epochs = this.#operation('epochs');
  readonly allPolicies = this.#operation('allPolicies');
  readonly getPolicy = this.#operation('getPolicy');
  readonly listPolicies = this.#operation('listPolicies');
  readonly putPolicy = this.#operation('putPolicy');
  readonly deletePolicy = this.#operation('deletePolicy');
  readonly judgeBy = this.#operation('judgeBy');
  readonly getReferenceSet = this.#operation('getReferenceSet');
  readonly listReferenceSets = this.#operation('listReferenceSets');
  readonly addReferenceEntries = this.#operation('addReferenceEntries');
  readonly listReferenceEntries = this.#operation('listReferenceEntries');
  readonly hasReferenceDigest = this.#operation('hasReferenceDigest');
  readonly readReferenceDigests = this.#operation('readReferenceDigests');
  readonly getKeyring = this.#operation('getKeyring');
  readonly listKeyrings = this.#operation('listKeyrings');
  readonly putKeyring = this.#operation('putKeyring');
  readonly removeKeyringKey = this.#operation('removeKeyringKey');
  readonly deleteKeyring = this.#operation('deleteKeyring');
  readonly allTrustAnchors = this.#operation('allTrustAnchors');
  readonly listTrustAnchors = this.#operation('listTrustAnchors');
  readonly getTrustAnchor = this.#operation('getTrustAnchor');
  readonly addTrustAnchors = this.#operation('addTrustAnchors');
  readonly removeTrustAnchor = this.#operation('removeTrustAnchor');
  readonly allRevocationLists = this.#operation('allRevocationLists');
  readonly listRevocationLists = this.#operation('listRevocationLists');
  readonly getRevocationList = this.#operation('getRevocationList');
  readonly addRevocationLists = this.#operation('addRevocationLists');
  readonly removeRevocationList = this.#operation('removeRevocationList');
  readonly findInventory = this.#operation('findInventory');
  readonly listInventory = this.#operation('listInventory');
  readonly putInventory = this.#operation('putInventory');
  readonly removeInventory = this.#operation('removeInventory');
  readonly listEndorsementChanges = this.#operation('listEndorsementChanges');
  readonly getIdentity = this.#operation('getIdentity');
  readonly listIdentities = this.#operation('listIdentities');
  readonly putIdentity = this.#operation('putIdentity');
  readonly revokeIdentity = this.#operation('revokeIdentity');
  readonly listKeys = this.#operation('listKeys');
  readonly addKey = this.#operation('addKey');
  readonly withdrawKey = this.#operation('withdrawKey');
  readonly listAudit = this.#operation('listAudit');

  now(): number {
    return this.#clock.now();
  }

  /** It looks at every host: the other calls do not wait for it. */
  async platform(...args: Parameters<Store['platform']>): ReturnType<Store['platform']> {
    // What was asked for before is written by then, and a store that has failed says so.
    await this.heads();
    return (await this.#reader.call('platform', args, this.now())) as Awaited<ReturnType<Store['platform']>>;
  }

  clockBehind(): number {
    return this.#clock.behind();
  }

  enroll(input: EnrollInput): ReturnType<Store['enroll']> {
    const { logs, transfer } = copyLogs(input.logs);
    return this.#call('enroll', [{ ...input, logs }], transfer);
  }

  async commitRounds(rounds: readonly RoundInput[]): Promise<readonly RoundOutcome[]> {
    const { batch, transfer } = this.#rounds.pack(rounds);
    return this.#rounds.outcomes(rounds, await this.#call('commitRounds', [batch], transfer));
  }

  async placementsSince(...args: Parameters<Store['placementsSince']>): ReturnType<Store['placementsSince']> {
    return JSON.parse(await this.#call('placementsSince', args)) as Awaited<ReturnType<Store['placementsSince']>>;
  }

  async openReferenceDraft(...args: Parameters<Store['openReferenceDraft']>): Promise<number> {
    const draft = await this.#call('openReferenceDraft', args);
    if (args[1].from === 'nothing') return draft;
    // A transaction for each batch: rounds pass between them.
    // oxlint-disable-next-line no-await-in-loop -- one batch after another is the point
    while ((await this.#call('copyReferenceEntries', [draft])) > 0);
    return draft;
  }

  async commitReferenceDraft(
    ...args: Parameters<Store['commitReferenceDraft']>
  ): ReturnType<Store['commitReferenceDraft']> {
    const committed = await this.#call('commitReferenceDraft', args);
    this.#sweep();
    return committed;
  }

  async dropReferenceDraft(draft: number): Promise<void> {
    await this.#call('dropReferenceDraft', [draft]);
    this.#sweep();
  }

  async withdrawReferenceDigests(
    ...args: Parameters<Store['withdrawReferenceDigests']>
  ): ReturnType<Store['withdrawReferenceDigests']> {
    const withdrawn = await this.#call('withdrawReferenceDigests', args);
    this.#sweep();
    return withdrawn;
  }

  async deleteReferenceSet(...args: Parameters<Store['deleteReferenceSet']>): Promise<void> {
    await this.#call('deleteReferenceSet', args);
    this.#sweep();
  }

  /** Nobody waits for it: what is left, also by a fault or an end, goes with the next compaction. */
  #sweep(): void {
    this.#sweepAll().catch(() => undefined);
  }

  async #sweepAll(): Promise<void> {
    // oxlint-disable-next-line no-await-in-loop -- one batch after another is the point
    while ((await this.#call('sweepReferenceEntries', [])) > 0);
  }

  async compact(before: number): Promise<number> {
    await this.#sweepAll();
    // A transaction for each batch: rounds pass between them.
    let dropped = 0;
    for (let boots = 1; boots > 0; dropped += boots) {
      // oxlint-disable-next-line no-await-in-loop -- one batch after another is the point
      boots = await this.#call('dropFormerBoots', [before]);
    }
    for (;;) {
      // oxlint-disable-next-line no-await-in-loop -- one batch after another is the point
      const batch = await this.#call('compact', [before]);
      dropped += batch;
      if (batch < COMPACT_BATCH) return dropped;
    }
  }

  async lapsePending(before: number, options: Actor): Promise<number> {
    let lapsed = 0;
    for (;;) {
      // oxlint-disable-next-line no-await-in-loop -- one batch after another is the point
      const batch = await this.#call('lapsePending', [before, options]);
      lapsed += batch;
      if (batch < LAPSE_BATCH) return lapsed;
    }
  }

  async acceptClock(options: Actor): Promise<void> {
    // The clock moves first, so that every call that is posted after this one carries the new time.
    const undo = this.#clock.acceptWallClock();
    try {
      await this.#call('acceptClock', [options]);
    } catch (error) {
      undo();
      throw error;
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      // The last that closes the database empties its journal.
      await this.#reader.close(this.now());
      await this.#link.call('close', [], this.now());
    } finally {
      await this.#link.end(new StoreError('closed', 'the store is closed'));
    }
  }

  #operation<Name extends OperationName>(
    name: Name,
  ): (...args: Parameters<OperationMethods[Name]>) => ReturnType<OperationMethods[Name]> {
    return (...args) => this.#call(name, args);
  }

  /** The worker's table of operations and this method are held to the same types. */
  #call<Name extends OperationName>(
    name: Name,
    args: Parameters<OperationMethods[Name]>,
    transfer: readonly ArrayBuffer[] = [],
  ): ReturnType<OperationMethods[Name]> {
    if (this.#closing !== null) {
      return Promise.reject(new StoreError('closed', 'the store is closed')) as ReturnType<OperationMethods[Name]>;
    }
    return this.#link.call(name, args, this.now(), transfer) as ReturnType<OperationMethods[Name]>;
  }
}
