import type { RpcError } from '../../proto/rpc-error.ts';

/** What grpc-js writes round the reason why there is no connection. */
const NO_CONNECTION = /^No connection established\. Last error: (?:Error: )?(.*?)\.? *Resolution note: .*$/s;

/** The message of a failed call without the words that the gRPC library puts round it. */
export function plainMessage(error: Pick<RpcError, 'message'>): string {
  return NO_CONNECTION.exec(error.message)?.[1] ?? error.message;
}
