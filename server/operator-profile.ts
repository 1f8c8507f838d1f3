import { createHash, generateKeyPairSync } from 'node:crypto';

import { formatEndpoint } from '../proto/endpoint.ts';
import { toPem } from '../proto/tls-identity.ts';
import { ConfigError, isWritten, removePrivateFile, writePrivateFile } from './config.ts';
import type { Config } from './config.ts';
import { issueClientCertificate } from './identity/ca.ts';
import type { ServiceKeys } from './identity/service-keys.ts';
import type { Store } from './store/store.ts';

export interface ProfileOptions {
  readonly name: string;
  readonly config: Config;
  readonly store: Pick<Store, 'now' | 'putIdentity'>;
  readonly keys: ServiceKeys;
  readonly random: (size: number) => Buffer;
}

/**
 * Makes a key, has it certified and writes it with all that an operator needs: the file is the identity. A former key of this name
 * ends with it, so a file that is there already is refused before anything is changed, and the new one is on disk before the store
 * knows of it: whenever this ends, one of the two keys is in somebody's hands. Throws {@link ConfigError}.
 */
export async function writeOperatorProfile(file: string, options: ProfileOptions): Promise<void> {
  const { name, config, store, keys, random } = options;
  if (isWritten(file)) throw new ConfigError([`${file} is there already: name another file`]);
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const lifetimeSeconds = config.identityCertificateLifetime;
  const now = new Date(store.now());
  const certificate = await issueClientCertificate(keys.authority, {
    publicKey: spki,
    subject: { name },
    lifetimeSeconds,
    now,
    random,
  });
  const identity = {
    name,
    roles: ['operator'] as const,
    keySha256: createHash('sha256').update(spki).digest('hex'),
    expireTime: now.getTime() + lifetimeSeconds * 1000,
    scope: {},
  };
  const profile = {
    server: serverAddress(config, config.listen.port),
    authority: toPem(keys.authority.certificate),
    certificate: toPem(certificate),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
  };
  writePrivateFile(file, `${JSON.stringify(profile, null, 2)}\n`);
  try {
    await store.putIdentity(identity, { actor: 'service' });
  } catch (error) {
    removePrivateFile(file);
    throw error;
  }
}

/** What a host is told to join with. `port` is the one that is listened on, which the configuration may leave to the system. */
export function joinLine(config: Config, service: { readonly port: number; readonly fingerprint: string }): string {
  const server = serverAddress(config, service.port);
  return `assay agent join --server ${server} --service-fingerprint ${service.fingerprint}`;
}

/** The first name of the service that can be dialled, which a wildcard cannot. */
function serverAddress({ serverNames, listen }: Config, port: number): string {
  return formatEndpoint({ host: serverNames.find((name) => !name.includes('*')) ?? listen.host, port });
}
