import type { HostRecord } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import type { ApplicablePolicy } from './appraise.ts';
import { judgeOf, readPolicies } from './policy-snapshot.ts';
import type { PolicySnapshot } from './policy-snapshot.ts';

/** Which policy judges a host. The policies are read and parsed once per epoch. */
export class PolicyResolver {
  readonly #store: Pick<Store, 'allPolicies' | 'epochs'>;
  #snapshot: Promise<PolicySnapshot> | null = null;

  constructor(store: Pick<Store, 'allPolicies' | 'epochs'>) {
    this.#store = store;
  }

  /**
   * The answer may be older than the store: whatever is committed on it is fenced by `epoch`. A fenced caller calls
   * {@link refresh} and asks again.
   */
  async resolve(
    host: Pick<HostRecord, 'labels' | 'trustPolicy'>,
  ): Promise<{ readonly applicable: ApplicablePolicy; readonly epoch: number }> {
    this.#snapshot ??= this.#read();
    const snapshot = await this.#snapshot;
    return { applicable: judgeOf(snapshot, host), epoch: snapshot.epochs.policy };
  }

  /** Forgets what the store has other policies than: for whoever is not told when these change. */
  async catchUp(): Promise<void> {
    if (this.#snapshot === null) return;
    const { policy } = await this.#store.epochs();
    const known = await this.#snapshot;
    if (known !== null && known.epochs.policy !== policy) this.#snapshot = null;
  }

  /** Forgets what was read. */
  refresh(): void {
    this.#snapshot = null;
  }

  async #read(): Promise<PolicySnapshot> {
    try {
      return await readPolicies(this.#store);
    } catch (error) {
      this.#snapshot = null;
      throw error;
    }
  }
}
