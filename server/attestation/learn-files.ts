import { readMeasurement, isFinding } from '../../tpm/ima/fields.ts';
import type { ImaDigest, ImaMeasurement } from '../../tpm/ima/fields.ts';
import type { ImaEntry } from '../../tpm/ima/entry.ts';
import { isProvenByMoreThanSha1, parseCheckpoint } from '../../tpm/ima/checkpoint.ts';
import { ImaKeyring } from '../../tpm/ima/keyring.ts';
import { ImaListReader } from '../../tpm/ima/parse.ts';
import { judgeEntry, makeJudge } from '../policy/judge-entry.ts';
import { NO_RUNTIME_RULES } from '../policy/runtime-rules.ts';
import { isReferenceAlgorithm, pathProblem } from '../reference/entry.ts';
import type { HostRecord, ResultRecord } from '../store/records.ts';
import { REFERENCE_ALGORITHMS } from '../store/reference-store.ts';
import type { ReferenceEntryRecord } from '../store/reference-store.ts';
import { LIST_LIMITS } from '../verifier/follow-list.ts';
import type { ListBytes } from '../verifier/follow-list.ts';
import { AttestationError } from './attestation-error.ts';
import { followKept, keptBytes } from './kept-list.ts';
import type { KeptRuntimeServices } from './kept-runtime.ts';
import { learnDoubts } from './learn-doubts.ts';
import { loadRuntime } from './known-runtime.ts';

export interface LearnRequest {
  readonly host: Pick<HostRecord, 'id' | 'clock'>;
  /** Its present result. */
  readonly result: Pick<ResultRecord, 'checks'>;
  /** Patterns of paths that are left out, each one that `pathPatternProblem` has nothing against. */
  readonly excludes: readonly string[];
  /** Whether somebody has looked at what speaks against the host, and learns from it all the same. */
  readonly despiteFindings: boolean;
}

export interface LearnedFiles {
  /** What is no reference value, a phrase each. */
  readonly notImported: readonly string[];
  /** Reasons of what speaks against the host. */
  readonly despite: readonly string[];
}

/**
 * The files that ran on a host since its boot, by the list that its rounds proved. `take` gets them as the list is read, before it
 * is proven that they are of it: what was taken counts only if this ends without an error. Throws RUNTIME_LIST_MISSING where nothing is
 * proven, or by SHA-1 alone, and HOST_HAS_FINDINGS before anything is taken.
 */
export async function learnFiles(
  { store, runtimes }: KeptRuntimeServices,
  { host, result, excludes, despiteFindings }: LearnRequest,
  take: (entries: readonly ReferenceEntryRecord[]) => Promise<void>,
): Promise<LearnedFiles> {
  const { state } = await loadRuntime(store, host.id);
  const { resetCount, restartCount } = host.clock;
  if (state === null || state.resetCount !== resetCount || state.restartCount !== restartCount) throw missing();
  const doubts = learnDoubts(result, state);
  if (doubts.length > 0 && !despiteFindings) throw doubtful(doubts);
  // Where no policy asks what ran, nobody says whether the list that is kept is of this boot and can be believed.
  if (doubts.length === 0 && !result.checks.some(({ id }) => id === 'runtime.list')) throw missing();
  const files = new MeasuredFiles(excludes);
  const bytes = keptBytes(runtimes, host.id, state);
  let reads = 0;
  const taking: ListBytes = async function* taken(offset) {
    // Another reading could find other bytes.
    if (reads++ > 0 || offset !== 0) return;
    const reader = new ImaListReader({ layout: parseCheckpoint(state.checkpoint).layout, limits: LIST_LIMITS });
    for await (const slice of bytes(0)) {
      reader.push(slice);
      const entries: ReferenceEntryRecord[] = [];
      for (let entry = reader.next(); entry !== undefined; entry = reader.next()) {
        const file = files.of(entry);
        if (file !== null) entries.push(file);
      }
      await take(entries);
      yield slice;
    }
  };
  const list = await followKept(runtimes, { hostId: host.id, state }, taking);
  if (list === null || list.checkpoint.entries === 0) throw missing();
  if (!isProvenByMoreThanSha1(list.checkpoint)) throw weak();
  return { notImported: files.left(), despite: doubts };
}

/** Which entries are files, and what is no reference value, counted. */
class MeasuredFiles {
  readonly #judge: ReturnType<typeof makeJudge>;
  readonly #left = new Map<string, number>();

  constructor(excludes: readonly string[]) {
    const rules = { ...NO_RUNTIME_RULES, files: { ...NO_FILES, excludes } };
    this.#judge = makeJudge('', rules, { sets: [], keyring: new ImaKeyring([]) });
  }

  of(entry: ImaEntry): ReferenceEntryRecord | null {
    const { kind, standing } = judgeEntry(entry, this.#judge);
    if (kind === 'aggregate') return null;
    if (kind !== 'file') return this.#leave(NAMES[kind]);
    if (standing === 'excluded') return this.#leave('excluded files');
    const measured = readMeasurement(entry);
    if (isFinding(measured)) return this.#leave(NAMES.unreadable);
    return this.#record(measured);
  }

  left(): readonly string[] {
    return [...this.#left].map(([what, count]) => `${what}: ${count}`);
  }

  #record({ name, digest }: ImaMeasurement): ReferenceEntryRecord | null {
    const { algorithm, value } = digest;
    if (digest.of === 'verity') return this.#leave('fs-verity digests');
    if (!isReferenceAlgorithm(algorithm) || !isWhole(digest)) return this.#leave('digests of another kind');
    if (pathProblem(name) !== null) return this.#leave('files whose names cannot be kept');
    return { algorithm, digest: value.toString('hex'), path: name };
  }

  #leave(what: string): null {
    this.#left.set(what, (this.#left.get(what) ?? 0) + 1);
    return null;
  }
}

const NAMES = { violation: 'violations', buffer: 'measured buffers', unreadable: 'unreadable entries' } as const;
const NO_FILES = {
  referenceSets: [],
  keyrings: [],
  requireSignature: false,
  trustHostKeys: false,
  unknown: 'ignore',
  message: '',
} as const;

/** An empty or short digest, such as of an entry that hashed nothing, stands for no content. */
function isWhole({ algorithm, value }: ImaDigest): boolean {
  return isReferenceAlgorithm(algorithm) && value.length === REFERENCE_ALGORITHMS[algorithm] && value.some(Boolean);
}

function doubtful(doubts: readonly string[]): AttestationError {
  return new AttestationError(
    'HOST_HAS_FINDINGS',
    `nothing is learned from a host that has findings, unless it is said that they were looked at: ${doubts.join(', ')}`,
  );
}

function missing(): AttestationError {
  return new AttestationError(
    'RUNTIME_LIST_MISSING',
    'no list of run-time measurements of this boot is proven: the policy of the host needs run-time rules, and a round since',
  );
}

function weak(): AttestationError {
  return new AttestationError(
    'RUNTIME_LIST_MISSING',
    'the list of run-time measurements is proven by SHA-1 alone, so that other files may be in it: switch the SHA-256 bank of the TPM on',
  );
}
