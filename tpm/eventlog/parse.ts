/** TCG event logs as firmware leaves them: crypto-agile (PFP 1.06 §10.2) and SHA-1 (EFI Protocol 1.22 §3). */
import { CodecError } from '../codec/codec-error.ts';
import { HASH_ALGORITHMS, TPM_ALG_SHA1, algorithmName } from '../structures/constants.ts';
import { FindingList } from './finding.ts';
import type { EventLogCode, EventLogFinding, EventLogPlace } from './finding.ts';
import { LittleEndianReader } from './little-endian.ts';
import { MAX_BANKS, readSpecId } from './spec-id.ts';
import type { LogBank, SpecId } from './spec-id.ts';

/** The largest log that is read: real ones have 3 to 200 kB. */
export const MAX_LOG_BYTES = 16 * 1024 * 1024;
/** The most events that are read: real logs have 20 to 5,000. */
export const MAX_LOG_EVENTS = 65_536;
/** PCRs that firmware can extend; the highest index that an extended event may name is 23 (PFP §3.3). */
const HIGHEST_PCR = 23;

export const EV_NO_ACTION = 0x0000_0003;

export interface LogEvent {
  /** Position in the log; the Spec ID event of a crypto-agile log is 0. */
  readonly index: number;
  /** Bytes from the start of the log. */
  readonly offset: number;
  readonly pcr: number;
  readonly type: number;
  /** In the order of the log's banks. The Spec ID event, which is extended nowhere, has none. */
  readonly digests: readonly (Buffer | undefined)[];
  /** As logged: nothing says that it is what was measured. */
  readonly data: Buffer;
}

/** What could be read, and what was wrong. All bytes are views into the input. */
export interface EventLog {
  readonly format: 'crypto-agile' | 'sha1';
  readonly banks: readonly LogBank[];
  readonly specId: SpecId | undefined;
  readonly events: readonly LogEvent[];
  /** Was the log read to its end? If not, the findings say why and where. */
  readonly complete: boolean;
  readonly findings: readonly EventLogFinding[];
}

const SHA1_BANK: LogBank = { alg: TPM_ALG_SHA1, size: 20, replayable: true };
const SPEC_ID_EVENT03 = Buffer.from('Spec ID Event03\0', 'latin1');

/**
 * Reads a log, of at most `maxEvents`. Never throws for its content: what does not parse ends the reading, as a finding with its
 * offset.
 */
export function parseEventLog(bytes: Uint8Array, maxEvents = MAX_LOG_EVENTS): EventLog {
  const log = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return new EventLogParser(log, maxEvents).parse();
}

class EventLogParser {
  readonly #log: Buffer;
  readonly #reader: LittleEndianReader;
  readonly #findings = new FindingList();
  readonly #events: LogEvent[] = [];
  #banks: readonly LogBank[] = [SHA1_BANK];
  #specId: SpecId | undefined;
  readonly #padding: number;

  readonly #maxEvents: number;

  constructor(log: Buffer, maxEvents: number) {
    this.#log = log;
    this.#maxEvents = maxEvents;
    this.#reader = new LittleEndianReader(log);
    this.#padding = startOfPadding(log);
  }

  parse(): EventLog {
    const complete = this.#readAll();
    if (complete && this.#events.every(({ type }) => type === EV_NO_ACTION)) {
      this.#find('LOG_WITHOUT_MEASUREMENTS', {}, 'the log holds no measurement');
    }
    return {
      format: this.#specId === undefined ? 'sha1' : 'crypto-agile',
      banks: this.#banks,
      specId: this.#specId,
      events: this.#events,
      complete,
      findings: this.#findings.list(),
    };
  }

  #readAll(): boolean {
    if (this.#padding === 0) return this.#stop('LOG_EMPTY', {}, 'the log is empty');
    if (this.#log.length > MAX_LOG_BYTES) {
      return this.#stop(
        'LOG_TOO_LARGE',
        {},
        `the log has ${this.#log.length} bytes, at most ${MAX_LOG_BYTES} are read`,
      );
    }
    while (this.#reader.remaining > 0) {
      const { offset } = this.#reader;
      const index = this.#events.length;
      if (offset >= this.#padding) {
        this.#find('LOG_PADDING', { offset }, `${this.#reader.remaining} bytes of padding follow the last event`);
        return true;
      }
      if (index >= this.#maxEvents) {
        return this.#stop('LOG_TOO_MANY_EVENTS', { offset }, `more than ${this.#maxEvents} events`);
      }
      try {
        const event = this.#specId === undefined ? this.#readSha1Event(index) : this.#readEvent(index, this.#specId);
        this.#events.push(event);
        if (index === 0 && !this.#readHeader(event)) return false;
        this.#checkPcr(event);
      } catch (error) {
        if (!(error instanceof CodecError)) throw error;
        const code = error.code === 'TRUNCATED' ? 'EVENT_TRUNCATED' : 'EVENT_MALFORMED';
        return this.#stop(code, { event: index, offset: error.offset }, `event ${index}: ${error.message}`);
      }
    }
    return true;
  }

  /** TCG_PCClientPCREvent: the form of every event in a SHA-1 log, and of the first one in any log. */
  #readSha1Event(index: number): LogEvent {
    const reader = this.#reader;
    const { offset } = reader;
    const pcr = reader.u32();
    const type = reader.u32();
    const digest = reader.bytes(SHA1_BANK.size);
    return { index, offset, pcr, type, digests: [digest], data: reader.bytes(reader.u32()) };
  }

  /** The first event says whether those after it are crypto-agile. Returns false where the log cannot be read on. */
  #readHeader(event: LogEvent): boolean {
    if (event.type !== EV_NO_ACTION || !event.data.subarray(0, SPEC_ID_EVENT03.length).equals(SPEC_ID_EVENT03)) {
      return true;
    }
    const place = { event: 0, offset: event.offset };
    try {
      const { specId, overrun } = readSpecId(event.data, this.#log.subarray(this.#reader.offset));
      this.#specId = specId;
      this.#banks = specId.banks;
      this.#events[0] = { ...event, digests: [] };
      if (overrun > 0) {
        this.#reader.bytes(overrun);
        const message = `${overrun} bytes of vendor information lie beyond the Spec ID event`;
        this.#find('SPEC_ID_VENDOR_INFO', place, message);
      }
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      return this.#stop('SPEC_ID_MALFORMED', place, `Spec ID event: ${error.message}`);
    }
    if (event.pcr !== 0 || !isZero(event.digests[0])) {
      return this.#stop('SPEC_ID_MALFORMED', place, 'Spec ID event: pcr or digest is not zero');
    }
    for (const { alg, size, replayable } of this.#banks) {
      if (replayable) continue;
      this.#find(
        'BANK_UNSUPPORTED',
        { ...place, bank: alg },
        `${algorithmName(alg)} with digests of ${size} bytes is no hash that can be replayed`,
      );
    }
    return true;
  }

  /** TCG_PCR_EVENT2. */
  #readEvent(index: number, specId: SpecId): LogEvent {
    const reader = this.#reader;
    const { offset } = reader;
    const pcr = reader.u32();
    const type = reader.u32();
    const countOffset = reader.offset;
    const count = reader.u32();
    if (count > MAX_BANKS) throw new CodecError('COUNT_EXCEEDED', countOffset, `${count} digests exceed ${MAX_BANKS}`);
    const digests = this.#readDigests({ index, offset, pcr, count, banks: specId.banks });
    const event = { index, offset, pcr, type, digests, data: reader.bytes(reader.u32()) };
    if (type === EV_NO_ACTION && !digests.every((digest) => digest === undefined || isZero(digest))) {
      this.#find('NO_ACTION_DIGEST', { event: index, pcr }, 'an event that is not extended has a digest');
    }
    return event;
  }

  #readDigests(event: {
    readonly index: number;
    readonly offset: number;
    readonly pcr: number;
    readonly count: number;
    readonly banks: readonly LogBank[];
  }): readonly (Buffer | undefined)[] {
    const { index, offset, pcr, count, banks } = event;
    const digests: (Buffer | undefined)[] = banks.map(() => undefined);
    for (let number = 0; number < count; number++) {
      const at = this.#reader.offset;
      const alg = this.#reader.u16();
      const place = { event: index, pcr, bank: alg, offset: at };
      // Nearly always the digests stand in the order of the header.
      const bank = banks[number]?.alg === alg ? number : banks.findIndex((candidate) => candidate.alg === alg);
      const declared = banks[bank];
      const size = declared?.size ?? HASH_ALGORITHMS.get(alg)?.size;
      if (size === undefined) {
        throw new CodecError('UNKNOWN_SELECTOR', at, `digest of the undeclared algorithm ${algorithmName(alg)}`);
      }
      const digest = this.#reader.bytes(size);
      if (declared === undefined) {
        this.#find('EVENT_DIGEST_UNDECLARED', place, `the log's header does not declare ${algorithmName(alg)}`);
      } else if (digests[bank] !== undefined) {
        this.#find('EVENT_DIGEST_REPEATED', place, `two ${algorithmName(alg)} digests in one event`);
      } else {
        digests[bank] = digest;
      }
    }
    banks.forEach(({ alg }, bank) => {
      if (digests[bank] !== undefined) return;
      const place = { event: index, pcr, bank: alg, offset };
      this.#find(
        'EVENT_DIGEST_MISSING',
        place,
        `no ${algorithmName(alg)} digest, although the header declares the bank`,
      );
    });
    return digests;
  }

  /** Windows logs its trust points as EV_NO_ACTION of PCR 0xFFFFFFFF; they are extended nowhere. */
  #checkPcr({ index, offset, pcr, type }: LogEvent): void {
    if (pcr <= HIGHEST_PCR || type === EV_NO_ACTION) return;
    this.#find('EVENT_PCR_INVALID', { event: index, pcr, offset }, `there is no pcr ${pcr}`);
  }

  #find(code: EventLogCode, place: EventLogPlace, message: string): void {
    this.#findings.add(code, place, message);
  }

  #stop(code: EventLogCode, place: EventLogPlace, message: string): false {
    this.#find(code, place, message);
    return false;
  }
}

/** Where the trailing run of 0xFF (CCEL areas) or of 0x00 bytes begins: an event that would start in it is none. */
function startOfPadding(log: Buffer): number {
  const filler = log.at(-1);
  if (filler !== 0xff && filler !== 0x00) return log.length;
  let start = log.length;
  while (start > 0 && log[start - 1] === filler) start--;
  return start;
}

function isZero(bytes: Buffer | undefined): boolean {
  return bytes?.every((byte) => byte === 0) ?? false;
}
