/** The agent's end of a stream of continuous attestation, in memory, and what it needs around it. */
import { attestHost } from '../../server/attestation/session.ts';
import type {
  AgentMessage,
  Challenge,
  RoundEvidence,
  ServiceMessage,
  StreamOptions,
} from '../../server/attestation/messages.ts';
import type { HostRecord, ResultRecord } from '../../server/store/records.ts';
import { answerChallenge, chunksOf } from './evidence-builder.ts';
import type { RoundOptions, TlsKey } from './evidence-builder.ts';
import { SoftwareTpm } from './software-tpm.ts';
import type { SoftwareAk } from './software-tpm.ts';
import { enroll } from './test-service.ts';
import type { EnrollOptions, House } from './test-service.ts';

/** An enrolled host with its TPM. */
export interface Machine {
  readonly tpm: SoftwareTpm;
  readonly ak: SoftwareAk;
  readonly id: string;
  readonly tls: TlsKey;
  readonly host: HostRecord;
}

export async function enrollMachine(
  house: House,
  options: EnrollOptions & { readonly tpm?: SoftwareTpm } = {},
): Promise<Machine> {
  const tpm = options.tpm ?? new SoftwareTpm();
  const ak = tpm.createAk();
  const { host, tls } = await enroll(house, tpm, ak, options);
  await caughtUp(house);
  return { tpm, ak, tls, host, id: host.id };
}

/** Waits until the feed has told everything that is in the store. */
export async function caughtUp({ store, feed }: Pick<House, 'store' | 'feed'>): Promise<void> {
  const { revision } = await store.heads();
  feed.hint();
  await feed.wait(revision - 1, { timeout: PATIENCE, signal: new AbortController().signal });
}

export interface StreamChange {
  readonly hostId?: string;
  readonly tlsKeySha256?: string;
  readonly expires?: number;
  /** What is said at first; null says nothing. */
  readonly hello?: AgentMessage | null;
  /** Counters that the hello names in place of the TPM's own. */
  readonly boot?: { readonly resetCount: number; readonly restartCount: number };
}

export type Answer = Partial<RoundOptions>;
type Kind = ServiceMessage['kind'];
type Of<K extends Kind> = Extract<ServiceMessage, { readonly kind: K }>;

/** Ends a wait for what never comes, milliseconds: far more than anything takes on a machine that is busy. */
const PATIENCE = 60_000;

export class StreamAgent implements AsyncDisposable {
  readonly draining = new AbortController();
  readonly #machine: Machine;
  readonly #incoming = new Queue<ServiceMessage>();
  readonly #outgoing = new Queue<AgentMessage>();
  readonly #end: Promise<Error | null>;
  readonly #options: { readonly hostId: string; readonly tlsKeySha256: string };

  constructor(house: House, machine: Machine, change: StreamChange = {}) {
    this.#machine = machine;
    const hostId = change.hostId ?? machine.id;
    const tlsKeySha256 = change.tlsKeySha256 ?? machine.tls.sha256.toString('hex');
    this.#options = { hostId, tlsKeySha256 };
    const { resetCount, restartCount } = machine.tpm.clockInfo;
    const hello: AgentMessage = {
      kind: 'hello',
      akName: machine.ak.name.toString('hex'),
      boot: change.boot ?? { resetCount, restartCount },
    };
    if (change.hello !== null) this.send(change.hello ?? hello);
    this.#end = this.#attest(house, {
      caller: { hostId, tlsKeySha256, expires: change.expires ?? house.store.now() + 86_400_000 },
      messages: this.#outgoing,
      send: (message) => Promise.resolve(this.#incoming.push(message)),
      draining: this.draining.signal,
    });
  }

  send(message: AgentMessage): void {
    this.#outgoing.push(message);
  }

  /** The next message of the service, of whatever kind. */
  async next(what = 'message'): Promise<ServiceMessage> {
    const message = await this.#incoming.take(`a ${what}`);
    if (message === null) throw (await this.#end) ?? new Error(`the stream ended where a ${what} was due`);
    return message;
  }

  /** The next message of the service, which must be of this kind. */
  async expect<K extends Kind>(kind: K): Promise<Of<K>> {
    const message = await this.next(kind);
    if (message.kind !== kind) throw new Error(`a ${kind} was due, not ${JSON.stringify(message)}`);
    return message as Of<K>;
  }

  async challenge(): Promise<Challenge> {
    return (await this.expect('challenge')).challenge;
  }

  /** Evidence as an honest agent makes it. */
  evidence(challenge: Challenge, answer: Answer = {}): RoundEvidence {
    return answerChallenge(this.#machine.tpm, this.#machine.ak, challenge, { ...this.#options, ...answer });
  }

  /** Answers a challenge, logs included. */
  answer(challenge: Challenge, answer: Answer = {}): void {
    this.send({ kind: 'evidence', evidence: this.evidence(challenge, answer) });
    for (const log of answer.logs ?? []) for (const chunk of chunksOf(log)) this.send({ kind: 'chunk', chunk });
  }

  /** One round: challenge, evidence, result. */
  async round(answer: Answer = {}): Promise<ResultRecord> {
    this.answer(await this.challenge(), answer);
    return (await this.expect('result')).result;
  }

  /** What the stream ended with: null when in good order. Messages that nobody took are let go. */
  async ended(): Promise<(Error & { readonly code?: unknown }) | null> {
    return within(this.#end, 'the end of the stream');
  }

  /** The agent goes away. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#outgoing.close();
    await this.#end;
  }

  async #attest({ services }: House, options: StreamOptions): Promise<Error | null> {
    try {
      await attestHost(services, options);
      return null;
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    } finally {
      this.#incoming.close();
    }
  }
}

/** Messages that wait for whoever takes them. */
class Queue<T> implements AsyncIterable<T> {
  readonly #items: T[] = [];
  #closed = false;
  #arrived: () => void = () => undefined;

  push(item: T): void {
    this.#items.push(item);
    this.#arrived();
  }

  close(): void {
    this.#closed = true;
    this.#arrived();
  }

  /** Null at the end. */
  async take(what: string): Promise<T | null> {
    return within(this.#take(), what);
  }

  async #take(): Promise<T | null> {
    while (this.#items.length === 0 && !this.#closed) {
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
      });
    }
    return this.#items.shift() ?? null;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (let item = await this.#take(); item !== null; item = await this.#take()) yield item;
  }
}

async function within<T>(waiting: Promise<T>, what: string): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`still no ${what}`)), PATIENCE);
  try {
    return await Promise.race([waiting, promise]);
  } finally {
    clearTimeout(timer);
  }
}
