import { CodecError } from '../../tpm/codec/codec-error.ts';
import { equalDigests } from '../../tpm/crypto/digest.ts';
import { pcrDigest } from '../../tpm/crypto/pcr.ts';
import type { PcrValues } from '../../tpm/crypto/pcr.ts';
import type { SignedAttest } from '../../tpm/device/attest.ts';
import type { PcrReading as DeviceReading } from '../../tpm/device/pcr.ts';
import { TpmError } from '../../tpm/device/tpm-error.ts';
import { decodeAttest } from '../../tpm/structures/attest.ts';
import { decodeSignature } from '../../tpm/structures/signature.ts';
import type { PcrReading } from '../../proto/transcript.ts';
import type { HostAk, HostTpm, QuoteRequest } from './host-tpm.ts';

/** How often one nonce is quoted at most. */
const MAX_QUOTES = 5;
/** The PCR that IMA extends at any time. */
const IMA_PCR = 10;

export interface QuotedPcrs {
  readonly quote: SignedAttest;
  /** In the order of the selection's banks, then by index. */
  readonly pcrValues: readonly PcrReading[];
}

/**
 * Quotes, then reads the PCR values that the quote covers. A PCR may move in between: then it quotes again over the same
 * nonce. A reading from before the second quote is as good as one from after it, as long as it makes the quoted digest. Where
 * nothing but PCR 10 moves, or PCRs never rest, the last quote goes out as it is and the service decides.
 */
export async function quotePcrs(
  tpm: Pick<HostTpm, 'readPcrs'>,
  ak: Pick<HostAk, 'quote'>,
  request: QuoteRequest,
): Promise<QuotedPcrs> {
  let before: readonly DeviceReading[] | undefined;
  for (let attempt = 1; ; attempt += 1) {
    const quote = await ak.quote(request);
    if (before !== undefined && makesDigest(quote, before)) return { quote, pcrValues: before.map(toReading) };
    const after = await tpm.readPcrs(request.selection);
    const settled = makesDigest(quote, after) || attempt === MAX_QUOTES;
    if (settled || (before !== undefined && onlyImaMoved(before, after))) {
      return { quote, pcrValues: after.map(toReading) };
    }
    before = after;
  }
}

/** Do these values make the pcrDigest of the quote? */
function makesDigest(quote: SignedAttest, readings: readonly DeviceReading[]): boolean {
  const { attest, signature } = readQuote(quote);
  if (attest.kind !== 'quote' || !('hash' in signature)) return false;
  const values = byBank(readings);
  const { pcrSelect, pcrDigest: quoted } = attest.attested;
  try {
    return equalDigests(pcrDigest(pcrSelect, values, signature.hash), quoted);
  } catch {
    // A selected PCR without a value: there is nothing to compare, and no use in trying again.
    return false;
  }
}

/** Throws TpmError LIBRARY_FAILURE for what no TPM answers. */
function readQuote(quote: SignedAttest) {
  try {
    return { attest: decodeAttest(quote.attest), signature: decodeSignature(quote.signature) };
  } catch (cause) {
    if (!(cause instanceof CodecError)) throw cause;
    throw new TpmError('LIBRARY_FAILURE', `the TPM's answer to a quote does not decode: ${cause.message}`, { cause });
  }
}

function byBank(readings: readonly DeviceReading[]): PcrValues {
  const banks = new Map<number, Map<number, Buffer>>();
  for (const { hash, index, value } of readings) {
    const bank = banks.get(hash) ?? new Map<number, Buffer>();
    banks.set(hash, bank.set(index, value));
  }
  return banks;
}

function onlyImaMoved(before: readonly DeviceReading[], after: readonly DeviceReading[]): boolean {
  const earlier = byBank(before);
  const moved = after.filter(({ hash, index, value }) => earlier.get(hash)?.get(index)?.equals(value) !== true);
  return moved.length > 0 && moved.every(({ index }) => index === IMA_PCR);
}

function toReading({ hash, index, value }: DeviceReading): PcrReading {
  return { algorithm: hash, index, digest: value };
}
