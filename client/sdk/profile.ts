import { X509Certificate, createPrivateKey } from 'node:crypto';
import { parseEndpoint } from '../../proto/endpoint.ts';
import type { Endpoint } from '../../proto/endpoint.ts';
import { toPem } from '../../proto/tls-identity.ts';
import { SdkError } from './sdk-error.ts';

/** How to reach a service and as whom: what `assayd init` and `assay identity issue` write and `--profile` reads. */
export interface Profile {
  /** HOST:PORT */
  readonly server: string;
  /** Certificate of the service's CA, X.509 DER. */
  readonly authority: Buffer;
  /** Client certificate, X.509 DER. */
  readonly certificate: Buffer;
  /** PKCS#8 PEM. */
  readonly key: string;
}

const FIELDS = ['server', 'authority', 'certificate', 'key'] as const;

/** JSON of a profile; certificates and key in PEM. */
export function formatProfile(profile: Profile): string {
  const { server, authority, certificate, key } = profile;
  const document = { server, authority: toPem(authority), certificate: toPem(certificate), key };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

/** Throws {@link SdkError} `bad_profile`, which names the field. */
export function parseProfile(text: string): Profile {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw new SdkError('bad_profile', 'the profile is not JSON', { cause });
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw new SdkError('bad_profile', 'the profile is not a JSON object');
  }
  const fields = new Map<string, unknown>(Object.entries(document));
  for (const name of fields.keys()) {
    if (!FIELDS.some((known) => known === name))
      throw new SdkError('bad_profile', `the profile has an unknown field ${name}`);
  }
  const take = (name: (typeof FIELDS)[number]): string => {
    const value = fields.get(name);
    if (typeof value !== 'string' || value === '') throw new SdkError('bad_profile', `the profile has no ${name}`);
    return value;
  };
  const server = take('server');
  parseAddress(server);
  return {
    server,
    authority: certificateOf(take('authority'), 'authority'),
    certificate: certificateOf(take('certificate'), 'certificate'),
    key: keyOf(take('key')),
  };
}

/** HOST:PORT; an IPv6 address in brackets. Throws {@link SdkError} `bad_address`. */
export function parseAddress(server: string): Endpoint {
  const endpoint = parseEndpoint(server);
  if (endpoint === undefined) throw new SdkError('bad_address', `${JSON.stringify(server)} is not HOST:PORT`);
  return endpoint;
}

function certificateOf(pem: string, field: string): Buffer {
  try {
    return Buffer.from(new X509Certificate(pem).raw);
  } catch (cause) {
    throw new SdkError('bad_profile', `the profile's ${field} is not a certificate in PEM`, { cause });
  }
}

function keyOf(pem: string): string {
  try {
    createPrivateKey(pem);
  } catch {
    // The cause could quote the key.
    throw new SdkError('bad_profile', "the profile's key is not a private key in PEM");
  }
  return pem;
}
