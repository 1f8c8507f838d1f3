/**
 * Evidence whose PCR 10 went on between quote and reading, as IMA moves it at any time: the value that was quoted is one that a prefix
 * of the list leads to. What is found is proven by the quote's own digest, so that nothing here is believed.
 */
import { pcrDigest } from '../../tpm/crypto/pcr.ts';
import type { PcrValues } from '../../tpm/crypto/pcr.ts';
import { equalDigests, hashAlgorithm } from '../../tpm/crypto/digest.ts';
import { TpmCryptoError } from '../../tpm/crypto/crypto-error.ts';
import { EMPTY_CHECKPOINT, parseCheckpoint } from '../../tpm/ima/checkpoint.ts';
import type { ImaCheckpoint } from '../../tpm/ima/checkpoint.ts';
import { ImaListReader } from '../../tpm/ima/parse.ts';
import { extendByEntry, IMA_EXTEND_MODES, PcrChain, resetPcr } from '../../tpm/ima/pcr-chain.ts';
import { TPM_ALG_SHA1 } from '../../tpm/structures/constants.ts';
import { selectedBanks } from '../../tpm/structures/pcr-selection.ts';
import { IMA_PCR } from '../policy/select-pcrs.ts';
import { isDamaged } from '../store/damaged.ts';
import { isOtherBoot } from '../store/enroll-rules.ts';
import type { LogPart } from '../store/records.ts';
import { LIST_LIMITS } from '../verifier/follow-list.ts';
import type { ListBytes } from '../verifier/follow-list.ts';
import type { EvidenceOutcome } from '../verifier/verify-evidence.ts';
import type { VerifiedQuote } from '../verifier/verify-quote.ts';
import { listBytes } from './list-bytes.ts';
import type { RoundEvidence } from './messages.ts';
import { proveRound } from './round.ts';
import type { RoundContext } from './round.ts';
import type { RuntimeServices } from './runtime-services.ts';

/** Entries that are measured between quote and reading at the most: the last ones of the list are looked at. */
const LAST = 1024;
/** Prefixes that are tried between two breaths. */
const AT_A_TIME = 64;

/** Torn evidence with the value of PCR 10 that was quoted; torn as it was, where no prefix of the list gives that. */
export function settleMoved(
  services: RuntimeServices,
  context: RoundContext,
  { proof, ...round }: Omit<TornRound, 'quote'> & { readonly proof: EvidenceOutcome },
): EvidenceOutcome | Promise<EvidenceOutcome> {
  return proof.kind === 'torn' ? seekMoved(services, context, { proof, ...round }) : proof;
}

async function seekMoved(
  services: RuntimeServices,
  context: RoundContext,
  { proof, ...round }: Omit<TornRound, 'quote'> & { readonly proof: EvidenceOutcome & { readonly kind: 'torn' } },
): Promise<EvidenceOutcome> {
  const list = new MovedList(services, context, { ...round, quote: proof.quote });
  if (!list.isQuoted) return proof;
  using _turn = await services.takeTurn(context.host.id, list.bytesToRead);
  try {
    const pcrValues = await list.seek();
    return pcrValues === null ? proof : proveRound(context, { ...round.evidence, pcrValues });
  } catch (error) {
    // A damaged list is found, and asked for anew, in a round that is not torn.
    if (isDamaged(error)) return proof;
    throw error;
  }
}

interface TornRound {
  readonly evidence: RoundEvidence;
  readonly quote: VerifiedQuote;
  readonly logs: readonly LogPart[];
}

/** Values of PCR 10 after a prefix, for each bank those that are possible, one character a byte. */
type Prefix = readonly (readonly string[])[];

class MovedList {
  readonly #services: RuntimeServices;
  readonly #context: RoundContext;
  readonly #round: TornRound;
  /** Banks (TPM_ALG_ID) in which PCR 10 was quoted. */
  readonly #banks: readonly number[];
  readonly #part: LogPart | undefined;
  readonly #kept: number;
  readonly #from: ImaCheckpoint;

  constructor(services: RuntimeServices, context: RoundContext, round: TornRound) {
    this.#services = services;
    this.#context = context;
    this.#round = round;
    this.#banks = selectedBanks(round.quote.attested.pcrSelect).flatMap(({ hash, pcrs }) =>
      pcrs.includes(IMA_PCR) ? [hash] : [],
    );
    this.#part = round.logs.find(({ kind }) => kind === 'ima');
    const { state } = context.runtime;
    const gone = isOtherBoot(context.host.clock, round.quote.clockInfo) || this.#part?.offset === 0;
    this.#kept = gone ? 0 : (context.logs.find(({ kind }) => kind === 'ima')?.size ?? 0);
    const goesOn = !gone && state !== null && !state.replaced && !isOtherBoot(state, round.quote.clockInfo);
    const checkpoint = goesOn ? parseCheckpoint(state.checkpoint) : EMPTY_CHECKPOINT;
    const isWhole = this.#banks.every((alg) =>
      checkpoint.pcrs.some(({ bank, pcr }) => bank.alg === alg && pcr === IMA_PCR),
    );
    this.#from = isWhole && checkpoint.offset <= this.#kept ? checkpoint : EMPTY_CHECKPOINT;
  }

  get isQuoted(): boolean {
    return this.#banks.length > 0;
  }

  get bytesToRead(): number {
    return Math.max(0, this.#kept - this.#from.offset) + (this.#part?.data.byteLength ?? 0);
  }

  /** The values as they were quoted, by the last prefix that makes the quote's digest. */
  async seek(): Promise<PcrValues | null> {
    const prefixes = await this.#lastPrefixes();
    for (const [tried, prefix] of prefixes.toReversed().entries()) {
      const found = combine(prefix)
        .map((values) => this.#valuesWith(values))
        .find((values) => this.#isQuotedDigestOf(values));
      if (found !== undefined) return found;
      // oxlint-disable-next-line no-await-in-loop -- others run meanwhile
      if (tried % AT_A_TIME === AT_A_TIME - 1) await this.#services.breathe();
    }
    return null;
  }

  async #lastPrefixes(): Promise<readonly Prefix[]> {
    const banks = this.#banks.map((alg) => this.#chainsOf(alg));
    const chains = banks.flat();
    const prefixOf = (): Prefix => banks.map((own) => [...new Set(own.map(({ latin1 }) => latin1))]);
    let prefixes = [prefixOf()];
    const { layout, offset, entries } = this.#from;
    const reader = new ImaListReader({ layout, offset, index: entries, limits: LIST_LIMITS });
    for await (const slice of this.#bytes(offset)) {
      reader.push(slice);
      for (let entry = reader.next(); entry !== undefined; entry = reader.next()) {
        if (entry.pcr !== IMA_PCR) continue;
        extendByEntry(chains, entry);
        prefixes.push(prefixOf());
      }
      prefixes = prefixes.slice(-LAST);
      await this.#services.breathe();
    }
    return prefixes;
  }

  #chainsOf(alg: number): readonly PcrChain[] {
    const bank = hashAlgorithm(alg);
    const known = this.#from.pcrs.find((state) => state.bank.alg === alg && state.pcr === IMA_PCR);
    if (known !== undefined) return known.modes.map((mode) => new PcrChain(bank, mode, known.value));
    const modes = alg === TPM_ALG_SHA1 ? IMA_EXTEND_MODES.slice(0, 1) : IMA_EXTEND_MODES;
    return modes.map((mode) => new PcrChain(bank, mode, resetPcr(IMA_PCR, bank.size)));
  }

  readonly #bytes: ListBytes = (offset) =>
    listBytes(
      this.#services.store,
      { hostId: this.#context.host.id, kept: this.#kept, part: this.#part?.data ?? null },
      offset,
    );

  /** What was read, with these values of PCR 10, one for each of its banks. */
  #valuesWith(values: readonly string[]): PcrValues {
    const changed = new Map(this.#round.evidence.pcrValues);
    for (const [index, alg] of this.#banks.entries()) {
      changed.set(alg, new Map(changed.get(alg)).set(IMA_PCR, Buffer.from(values[index] ?? '', 'latin1')));
    }
    return changed;
  }

  #isQuotedDigestOf(values: PcrValues): boolean {
    const { pcrSelect, pcrDigest: quoted } = this.#round.quote.attested;
    try {
      return equalDigests(pcrDigest(pcrSelect, values, this.#context.ak.key.signingKey.hashAlg), quoted);
    } catch (error) {
      // A selected PCR without a value, or one of another size.
      if (error instanceof TpmCryptoError) return false;
      throw error;
    }
  }
}

/** One value of each bank, in every way. */
function combine(banks: Prefix): readonly (readonly string[])[] {
  return banks.reduce<readonly (readonly string[])[]>(
    (ways, values) => ways.flatMap((way) => values.map((value) => [...way, value])),
    [[]],
  );
}
