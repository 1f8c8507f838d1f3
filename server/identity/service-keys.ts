import { createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { isIP } from 'node:net';

import {
  CaError,
  createAuthority,
  exportAuthority,
  importAuthority,
  issueServerCertificate,
  issueServiceIdentityCertificate,
} from './ca.ts';
import type { CertificateAuthority } from './ca.ts';
import type { SealingMaster } from './seal.ts';
import { newestOrMake, unseal } from './stored-keys.ts';
import type { NewKey, StoredKeyOptions } from './stored-keys.ts';

const DAY_SECONDS = 24 * 3600;
const SERVICE_LIFETIME = 365 * DAY_SECONDS;
const SERVER_LIFETIME = 90 * DAY_SECONDS;
const TOKEN_MASTER_BYTES = 32;

/** What the service signs, seals and listens with. Every replica reads the same from the store. */
export interface ServiceKeys {
  readonly authority: CertificateAuthority;
  /** Signs challenges and enrolment transcripts. */
  readonly serviceIdentity: { readonly certificate: Buffer; readonly key: KeyObject };
  readonly serverTls: { readonly certificate: Buffer; readonly key: KeyObject };
  /** Newest first: it seals; the older ones still open. */
  readonly tokenMasters: readonly SealingMaster[];
}

export interface KeyOptions extends StoredKeyOptions {
  /** DNS names and addresses of the TLS certificate. */
  readonly serverNames: readonly string[];
}

/** Loads the service's keys and makes those that are missing, half through their life, or for other names. */
export async function loadServiceKeys(options: KeyOptions): Promise<ServiceKeys> {
  const authority = await loadAuthority(options);
  return {
    authority,
    serviceIdentity: await loadLeaf(options, {
      purpose: 'service-identity',
      suits: (certificate) => isFresh(certificate, options),
      issue: (publicKey, context) =>
        issueServiceIdentityCertificate(authority, { publicKey, lifetimeSeconds: SERVICE_LIFETIME, ...context }),
    }),
    serverTls: await loadLeaf(options, {
      purpose: 'server-tls',
      suits: (certificate) => isFresh(certificate, options) && names(certificate, options.serverNames),
      issue: (publicKey, context) =>
        issueServerCertificate(authority, {
          publicKey,
          lifetimeSeconds: SERVER_LIFETIME,
          names: options.serverNames,
          ...context,
        }),
    }),
    tokenMasters: await loadTokenMasters(options),
  };
}

async function loadAuthority(options: KeyOptions): Promise<CertificateAuthority> {
  const { deployment } = options.store;
  const record = await newestOrMake(options, 'authority', async () => {
    const made = await exportAuthority(await createAuthority(issuing(options), { deployment }));
    return { certificate: made.certificate, secret: made.privateKey };
  });
  const certificate = Buffer.from(record.certificate, 'hex');
  const authority = await importAuthority({ deployment, certificate, privateKey: unseal(options, record) });
  checkLife(new X509Certificate(certificate), options.store.now());
  return authority;
}

/** Nobody takes what stands under a CA that is not valid, and none that is made later is the pinned one. */
function checkLife({ validFromDate, validToDate }: X509Certificate, now: number): void {
  const mend = 'a new data directory makes a new one, which every host must pin';
  if (now < validFromDate.getTime()) {
    const from = validFromDate.toISOString();
    throw new CaError(
      'bad_authority',
      `the CA was made by a clock that ran ahead and is not valid before ${from}: ${mend}`,
    );
  }
  if (now > validToDate.getTime())
    throw new CaError('bad_authority', `the CA has expired on ${validToDate.toISOString()}: ${mend}`);
}

interface LeafKind {
  readonly purpose: string;
  readonly suits: (certificate: X509Certificate) => boolean;
  readonly issue: (
    publicKey: Buffer,
    context: { readonly now: Date; readonly random: (size: number) => Buffer },
  ) => Promise<Buffer>;
}

async function loadLeaf(
  options: KeyOptions,
  kind: LeafKind,
): Promise<{ readonly certificate: Buffer; readonly key: KeyObject }> {
  const make = async (): Promise<NewKey> => {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const certificate = await kind.issue(publicKey.export({ type: 'spki', format: 'der' }), issuing(options));
    return { certificate, secret: privateKey.export({ type: 'pkcs8', format: 'der' }) };
  };
  const record = await newestOrMake(options, kind.purpose, make, (present) =>
    kind.suits(new X509Certificate(Buffer.from(present.certificate, 'hex'))),
  );
  const key = createPrivateKey({ key: unseal(options, record), format: 'der', type: 'pkcs8' });
  const certificate = Buffer.from(record.certificate, 'hex');
  if (!new X509Certificate(certificate).publicKey.equals(createPublicKey(key))) {
    throw new TypeError(`the stored ${kind.purpose} key is not that of its certificate`);
  }
  return { certificate, key };
}

async function loadTokenMasters(options: KeyOptions): Promise<readonly SealingMaster[]> {
  await newestOrMake(options, 'token', () =>
    Promise.resolve({ certificate: Buffer.alloc(0), secret: options.random(TOKEN_MASTER_BYTES) }),
  );
  const records = await options.store.listKeys('token');
  return records.map((record) => ({ version: record.version, secret: unseal(options, record) }));
}

function issuing({ store, random }: KeyOptions): { readonly now: Date; readonly random: (size: number) => Buffer } {
  return { now: new Date(store.now()), random };
}

/** One from the future was made by a clock that ran ahead, and nobody takes it until then. */
function isFresh(certificate: X509Certificate, { store }: KeyOptions): boolean {
  const start = certificate.validFromDate.getTime();
  const end = certificate.validToDate.getTime();
  const now = store.now();
  return start <= now && now < start + (end - start) / 2;
}

function names(certificate: X509Certificate, wanted: readonly string[]): boolean {
  // Each check throws on a name of the other kind.
  return wanted.every(
    (name) => (isIP(name) === 0 ? certificate.checkHost(name) : certificate.checkIP(name)) !== undefined,
  );
}
