import type { RpcError } from '../../proto/rpc-error.ts';

/** What grpc-js writes round the reason why there is no connection. */
const NO_CONNECTION = /^No connection established\. Last error: (?:Error: )?(.*?)\.? *Resolution note: .*$/s;

/** What node:tls says of a certificate that does not have the name by which the service was called. */
const OTHER_NAME =
  /Hostname\/IP does not match certificate's altnames: (?:Host|IP): (?<called>\S+?)\.? is not in the cert's (?:altnames|list): (?<names>.*)$/s;

/** The message of a failed call without the words that the libraries put round it. */
export function plainMessage(error: Pick<RpcError, 'message'>): string {
  const message = NO_CONNECTION.exec(error.message)?.[1] ?? error.message;
  const { called, names } = OTHER_NAME.exec(message)?.groups ?? {};
  return called === undefined
    ? message
    : `the certificate of the service is not for ${called}, but for ${names || 'other names'}`;
}
