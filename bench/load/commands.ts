/** What the benchmark asks of the load generator, a process of its own: a request and an answer each. */
export interface Commands {
  /** Reads the fleet. */
  readonly open: { readonly request: { readonly fleetFile: string; readonly port: number }; readonly answer: null };
  /** Opens the Attest streams of hosts `from` to `to`; answers when each has had a result. */
  readonly connectAgents: {
    readonly request: { readonly from: number; readonly to: number; readonly perSecond: number };
    readonly answer: { readonly seconds: number };
  };
  /** Every round from now on is a change, or none is. */
  readonly setChanging: { readonly request: { readonly changing: boolean }; readonly answer: null };
  /** Rounds since the last report. */
  readonly report: { readonly request: Record<string, never>; readonly answer: Report };
  /** Answers when every agent has had a result since `markAll`; how long each one took from then. */
  readonly markAll: { readonly request: Record<string, never>; readonly answer: null };
  readonly awaitAll: { readonly request: { readonly timeoutSeconds: number }; readonly answer: Report };
  /** Opens bare streams that send messages of `sizes` bytes, each after the answer to the one before; answers when each has had the last. */
  readonly openBare: {
    readonly request: {
      readonly path: string;
      readonly caller: Caller;
      readonly sizes: readonly number[];
      readonly from: number;
      readonly to: number;
      readonly perSecond: number;
    };
    readonly answer: { readonly seconds: number };
  };
  /** Sends a message of so many bytes on each bare stream at each interval from now on; spread over the interval. */
  readonly pulse: { readonly request: { readonly bytes: number; readonly interval: number }; readonly answer: null };
  /** Opens watches as the identity of the fleet; answers when each has seen its first bookmark. */
  readonly openWatchers: { readonly request: { readonly count: number }; readonly answer: null };
  /** Messages and bytes that bare streams and watches have got since the last call. */
  readonly takeMessages: {
    readonly request: Record<string, never>;
    readonly answer: { readonly messages: number; readonly bytes: number };
  };
}

/** Of a TLS client, PEM. */
export interface Caller {
  readonly key: string;
  readonly certificate: string;
}

export interface Report {
  readonly rounds: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** Reason of each lost stream or refused call, with its count. */
  readonly errors: Readonly<Record<string, number>>;
}

export type CommandName = keyof Commands;
