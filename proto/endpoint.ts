import { isIP, isIPv6 } from 'node:net';

/** Where a service listens. IPv6 addresses stand without brackets in `host`. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,62})(?:\.[a-z0-9][a-z0-9-]{0,62})*$/i;

/** Reads `HOST:PORT`, `ADDRESS:PORT` or `[ADDRESS]:PORT`; undefined for anything else. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+)):(\d{1,5})$/i.exec(text);
  if (!match) return undefined;
  const [, bracketed, plain = ''] = match;
  const port = Number(match[3]);
  if (port < 1 || port > 65_535) return undefined;
  if (bracketed !== undefined) return isIPv6(bracketed) ? { host: bracketed, port } : undefined;
  return HOST_NAME.test(plain) || isIP(plain) !== 0 ? { host: plain, port } : undefined;
}

/** The form that {@link parseEndpoint} reads. */
export function formatEndpoint({ host, port }: Endpoint): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}
