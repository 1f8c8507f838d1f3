import { resolvePolicy } from '../store/attachment.ts';
import type { PolicyRecord } from '../store/records.ts';
import type { ReferenceVersion } from '../store/reference-store.ts';
import type { Store } from '../store/store.ts';
import type { ApplicablePolicy } from './appraise.ts';
import type { TrustPolicy } from './policy.ts';

interface Snapshot {
  readonly epoch: number;
  readonly records: readonly PolicyRecord[];
  readonly parsed: ReadonlyMap<string, TrustPolicy>;
  readonly references: readonly ReferenceVersion[];
}

/** Which policy judges a host. The policies are read and parsed once per epoch. */
export class PolicyResolver {
  readonly #store: Pick<Store, 'allPolicies'>;
  #snapshot: Promise<Snapshot> | null = null;

  constructor(store: Pick<Store, 'allPolicies'>) {
    this.#store = store;
  }

  /**
   * The answer may be older than the store: whatever is committed on it is fenced by `epoch`. A fenced caller calls
   * {@link refresh} and asks again.
   */
  async resolve(host: {
    readonly labels: Readonly<Record<string, string>>;
    readonly trustPolicy: string;
  }): Promise<{ readonly applicable: ApplicablePolicy; readonly epoch: number }> {
    this.#snapshot ??= this.#read();
    const { epoch, records, parsed, references } = await this.#snapshot;
    const resolved = resolvePolicy(host, records);
    if (resolved.kind !== 'policy') return { applicable: resolved, epoch };
    const policy = parsed.get(resolved.policy.id);
    if (policy === undefined) throw new TypeError('a policy of the snapshot was not parsed');
    const { version, references: named } = resolved.policy;
    const versions = references.filter(({ name }) => named.includes(name));
    return { applicable: { kind: 'policy', policy, version, references: versions }, epoch };
  }

  /** Forgets what was read. */
  refresh(): void {
    this.#snapshot = null;
  }

  async #read(): Promise<Snapshot> {
    try {
      const { epochs, policies, references } = await this.#store.allPolicies();
      // The body was written from this very shape; the store gives back what it was given.
      const parsed = new Map(policies.map(({ id, body }) => [id, JSON.parse(body) as TrustPolicy]));
      return { epoch: epochs.policy, records: policies, parsed, references };
    } catch (error) {
      this.#snapshot = null;
      throw error;
    }
  }
}
