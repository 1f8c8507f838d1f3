import { ImaKeyring, readImaKey } from '../../tpm/ima/keyring.ts';
import type { ImaKey, TrySignature } from '../../tpm/ima/keyring.ts';
import { DigestSet } from '../reference/digest-set.ts';
import type { ReferenceVersion } from '../store/reference-store.ts';
import { StoreError } from '../store/store.ts';
import type { Store } from '../store/store.ts';
import type { ApplicablePolicy } from './appraise.ts';
import { makeJudge } from './judge-entry.ts';
import type { FileDigests, RuntimeJudge } from './judge-entry.ts';
import type { FileRule, RuntimeRules } from './runtime-rules.ts';
import { judgeDigest } from './runtime-state.ts';

/** Judges that are kept: as many as policies are in use at once, with some of before. */
const MAX_JUDGES = 32;
/** Sets that are kept beside those that judges hold: a set of 500,000 SHA-256 digests is 16 MB. */
const MAX_SETS = 16;

/** A judge, or the sets and keyrings that it lacks. */
export type JudgeOutcome =
  | { readonly kind: 'ready'; readonly judge: RuntimeJudge }
  | { readonly kind: 'missing'; readonly names: readonly string[] };

type ReferenceReader = Pick<Store, 'readReferenceDigests' | 'getKeyring'>;
type Judged = ApplicablePolicy & { readonly kind: 'policy' };

/** Sets, keyrings and rules are read and parsed once for each version, and shared by all hosts. */
export class RuntimeJudges {
  readonly #store: ReferenceReader;
  readonly #try: TrySignature;
  readonly #judges = new Map<string, Promise<JudgeOutcome>>();
  readonly #sets = new Map<string, Promise<DigestSet | null>>();
  /** What the judges that are kept rest on. */
  readonly #named = new Map<string, readonly ReferenceVersion[]>();

  constructor(store: ReferenceReader, trySignature: TrySignature) {
    this.#store = store;
    this.#try = trySignature;
  }

  of({ references }: Judged, rules: RuntimeRules): Promise<JudgeOutcome> {
    const digest = judgeDigest(rules, references);
    if (!this.#judges.has(digest)) {
      this.#dropFormer(references);
      this.#named.set(digest, references);
    }
    return remember(this.#judges, digest, {
      limit: MAX_JUDGES,
      load: () => this.#make(digest, rules, references),
      isWhole: ({ kind }) => kind === 'ready',
    });
  }

  /** Each version of a large set that changes often would stay in memory; what is judged by a former one is fenced. */
  #dropFormer(references: readonly ReferenceVersion[]): void {
    const newest = new Map(references.map(({ name, version }) => [name, version]));
    const isFormer = ({ name, version }: ReferenceVersion): boolean => version < (newest.get(name) ?? 0);
    for (const [digest, named] of this.#named) {
      if (named.some(isFormer)) this.#judges.delete(digest);
      if (!this.#judges.has(digest)) this.#named.delete(digest);
    }
    for (const key of this.#sets.keys()) {
      const [id = '', version = ''] = key.split('/');
      if (isFormer({ name: `referenceSets/${id}`, version: Number(version) })) this.#sets.delete(key);
    }
  }

  async #make(digest: string, rules: RuntimeRules, references: readonly ReferenceVersion[]): Promise<JudgeOutcome> {
    const { referenceSets = [], keyrings = [] }: Partial<FileRule> = rules.files ?? {};
    const versions = new Map(references.map(({ name, version }) => [name, version]));
    const sets = await Promise.all(referenceSets.map((name) => this.#set(name, versions.get(name))));
    const keys = await Promise.all(keyrings.map((name) => this.#keys(name, versions.get(name))));
    const missing = [
      ...referenceSets.filter((_, index) => sets[index] === null),
      ...keyrings.filter((_, index) => keys[index] === null),
    ];
    if (missing.length > 0) return { kind: 'missing', names: missing };
    const found = {
      sets: sets.filter((set) => set !== null),
      keyring: new ImaKeyring(
        keys.flatMap((list) => list ?? []),
        this.#try,
      ),
    };
    return { kind: 'ready', judge: makeJudge(digest, rules, found) };
  }

  async #set(name: string, version: number | undefined): Promise<FileDigests | null> {
    if (version === undefined) return null;
    const id = name.slice('referenceSets/'.length);
    const load = (): Promise<DigestSet | null> => orMissing(DigestSet.load(this.#store, { id, version }));
    const set = await remember(this.#sets, `${id}/${version}`, {
      limit: MAX_SETS,
      load,
      isWhole: (loaded) => loaded !== null,
    });
    return set === null ? null : { name, has: (algorithm, digest) => set.has(algorithm, digest) };
  }

  async #keys(name: string, version: number | undefined): Promise<readonly ImaKey[] | null> {
    if (version === undefined) return null;
    const keyring = await this.#store.getKeyring(name.slice('keyrings/'.length), version);
    return keyring === null ? null : keyring.keys.map(({ der }) => readImaKey(Buffer.from(der, 'hex')));
  }
}

async function orMissing<T>(loading: Promise<T>): Promise<T | null> {
  try {
    return await loading;
  } catch (error) {
    if (error instanceof StoreError && error.code === 'not_found') return null;
    throw error;
  }
}

/** Bounded; what was not asked for longest goes first. What failed or lacks something is not kept: it may be there next time. */
function remember<T>(
  known: Map<string, Promise<T>>,
  key: string,
  options: {
    readonly limit: number;
    readonly load: () => Promise<T>;
    readonly isWhole: (value: T) => boolean;
  },
): Promise<T> {
  const present = known.get(key) ?? options.load();
  known.delete(key);
  known.set(key, present);
  const forget = (): void => {
    if (known.get(key) === present) known.delete(key);
  };
  present.then((value) => void (options.isWhole(value) || forget()), forget);
  if (known.size > options.limit) {
    const [oldest] = known.keys();
    if (oldest !== undefined) known.delete(oldest);
  }
  return present;
}
