import { setImmediate } from 'node:timers/promises';

import { ImaKeyring, isVouchedFor, readImaKey } from '../../tpm/ima/keyring.ts';
import type { ImaEntry } from '../../tpm/ima/entry.ts';
import { EntryCache } from '../policy/entry-cache.ts';
import { judgeEntry } from '../policy/judge-entry.ts';
import type { JudgedEntry, RuntimeJudge } from '../policy/judge-entry.ts';
import { RuntimeJudges } from '../policy/runtime-judges.ts';
import { RuntimeTallier } from '../policy/runtime-tally.ts';
import { SignatureCache } from '../policy/signature-cache.ts';
import type { HostKeyRecord, RuntimeTally } from '../policy/runtime-tally.ts';
import type { Store } from '../store/store.ts';
import { readProven } from '../verifier/follow-list.ts';
import type { ListBytes, ProvenList } from '../verifier/follow-list.ts';
import { Turns } from './turns.ts';

/** Long lists that are followed at once: each keeps one read of the store and one slice in memory. */
const AT_ONCE = 4;
/** Bytes that most rounds read of a list at most, and how many such rounds are judged at once: long lists must not stop them. */
const SHORT = 256 * 1024;
const SHORT_AT_ONCE = 64;

/** What rounds of hosts share whose policies ask what ran. */
export class RuntimeServices {
  readonly store: Pick<Store, 'readLog'>;
  readonly signatures = new SignatureCache();
  readonly judges: RuntimeJudges;
  readonly #turns = new Turns(AT_ONCE);
  readonly #shortTurns = new Turns(SHORT_AT_ONCE);
  readonly breathe = (): Promise<void> => setImmediate();
  readonly #entries = new EntryCache();
  #verified = 0;

  constructor(store: Pick<Store, 'readLog' | 'readReferenceDigests' | 'getKeyring'>) {
    this.store = store;
    this.judges = new RuntimeJudges(store, this.signatures.try);
  }

  /** Resolves when so many bytes of the list of a host may be followed; disposal ends it. */
  takeTurn(hostId: string, bytes: number): Promise<Disposable> {
    return (bytes <= SHORT ? this.#shortTurns : this.#turns).take(hostId);
  }

  /** Judges the entries of a proven part, on top of what those before it came to. */
  async tally(
    list: ProvenList,
    options: { readonly bytes: ListBytes; readonly before: RuntimeTally; readonly judge: RuntimeJudge },
  ): Promise<RuntimeTally> {
    const { bytes, before, judge } = options;
    if (list.checkpoint.entries === list.from.entries) return before;
    const tallier = new RuntimeTallier(before);
    const hostKeys = new HostKeys(judge);
    for await (const entries of readProven(list, bytes)) {
      for (const entry of entries) {
        const before = this.#verified;
        tallier.add(entry, this.#judge(entry, hostKeys, tallier));
        // One signature of a large curve takes as long as a slice of what is known.
        if (this.#verified > before) await this.breathe();
      }
      await this.breathe();
    }
    return tallier.finish();
  }

  #judge(entry: ImaEntry, keys: HostKeys, { hostKeys, triesSignatures }: RuntimeTallier): JudgedEntry {
    const { judge } = keys;
    const trustHostKeys = judge.rules.files?.trustHostKeys === true;
    if (!triesSignatures) {
      const keyring = (trustHostKeys ? keys.keyringWith(hostKeys) : null) ?? judge.references.keyring;
      // Not what is kept of the entry: whether that is here must make no difference.
      return judgeEntry(entry, judge, keyring.untried);
    }
    const { misses } = this.#entries;
    const judged = this.#entries.judge(entry, judge);
    if (this.#entries.misses > misses) this.#countVerified(judged);
    if (!trustHostKeys || judged.signature !== 'unknownKey') return judged;
    // What keys of this host say holds for this host alone, and is not kept.
    const keyring = keys.keyringWith(hostKeys);
    return keyring === null ? judged : this.#countVerified(judgeEntry(entry, judge, keyring));
  }

  #countVerified(judged: JudgedEntry): JudgedEntry {
    if (judged.signature === 'valid' || judged.signature === 'invalid') this.#verified += 1;
    return judged;
  }
}

/** The keys of a policy with those that one host added; these only become more while its list is read. */
class HostKeys {
  readonly judge: RuntimeJudge;
  #count = 0;
  #keyring: ImaKeyring | null = null;

  constructor(judge: RuntimeJudge) {
    this.judge = judge;
  }

  /** Null where the host added none that counts. */
  keyringWith(hostKeys: readonly HostKeyRecord[]): ImaKeyring | null {
    if (hostKeys.length === this.#count) return this.#keyring;
    this.#count = hostKeys.length;
    const { keyring: known } = this.judge.references;
    const keys = hostKeys
      .filter(({ keyring, ofFirstKernel }) => keyring === TRUSTED_KEYRING && ofFirstKernel)
      .map(({ der }) => Buffer.from(der, 'base64'))
      // Whoever runs on the host as root can extend the PCR by a key that no kernel would take.
      .filter((der) => isVouchedFor(der, known))
      .map(readImaKey);
    this.#keyring = keys.length === 0 ? null : new ImaKeyring([...known.keys, ...keys], known.try);
    return this.#keyring;
  }
}

/**
 * The keyring that kernels verify file signatures with. Only keys that a built-in key vouches for come into it: one of the kernel that
 * the boot log tells of, for what another kernel has built in nobody knows; and that key must be one of the policy's.
 */
const TRUSTED_KEYRING = '.ima';
