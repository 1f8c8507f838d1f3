import { Channel } from '../../proto/client.ts';
import type { CallOptions } from '../../proto/client.ts';
import { parseAddress } from './profile.ts';

/** What every call needs from outside. */
export interface ConnectOptions {
  /** HOST:PORT */
  readonly server: string;
  /** Certificate of the service's CA, X.509 DER. */
  readonly authority: Buffer;
  /** Client certificate, X.509 DER. */
  readonly certificate: Buffer;
  /** PKCS#8 PEM. */
  readonly key: string;
  readonly now: () => Date;
  /** From 0 to 1. */
  readonly random: () => number;
}

/** What a single call may have. */
export interface CallSettings {
  readonly signal?: AbortSignal;
  /** Default 30 s. */
  readonly timeoutMillis?: number;
}

/** Messages up to so large are received. */
const MAX_RECEIVE_BYTES = 16 * 1024 * 1024;
const DEFAULT_TIMEOUT_MS = 30_000;

/** One connection with the clock that its deadlines are made of. */
export class Connection {
  readonly channel: Channel;
  readonly #now: () => Date;

  constructor(options: ConnectOptions) {
    const { server, authority, certificate, key, now } = options;
    const identity = { certificateChain: [certificate], privateKey: key };
    const trust = { kind: 'service', authorities: [authority], now } as const;
    this.channel = new Channel({ ...parseAddress(server), trust, identity, maxReceiveBytes: MAX_RECEIVE_BYTES });
    this.#now = now;
  }

  /** Deadline and signal of a call that is not a stream. */
  call(settings: CallSettings = {}): CallOptions {
    const deadline = this.#now().getTime() + (settings.timeoutMillis ?? DEFAULT_TIMEOUT_MS);
    return settings.signal === undefined ? { deadline } : { deadline, signal: settings.signal };
  }

  close(): void {
    this.channel.close();
  }
}
