import type { KeyRecord } from '../store/records.ts';
import { StoreError } from '../store/store.ts';
import type { Actor, Store } from '../store/store.ts';
import { deriveKey, open, seal, sealedVersion } from './seal.ts';
import type { SealingKey, SealingMaster } from './seal.ts';

/** Where keys are kept, and what seals them there. */
export interface StoredKeyOptions {
  readonly store: Pick<Store, 'listKeys' | 'addKey' | 'withdrawKey' | 'deployment' | 'now'>;
  /** Seals every secret in the store; from a file or the environment, never in the store itself. */
  readonly root: SealingMaster;
  readonly random: (size: number) => Buffer;
}

/** A key before it is kept: the secret is sealed, the certificate (DER, may be empty) is bound to it. */
export interface NewKey {
  readonly certificate: Buffer;
  readonly secret: Buffer;
}

/** The newest version of a key that suits, or a new one. */
export async function newestOrMake(
  options: StoredKeyOptions,
  purpose: string,
  make: () => Promise<NewKey>,
  suits: (record: KeyRecord) => boolean = () => true,
): Promise<KeyRecord> {
  const [newest] = await options.store.listKeys(purpose);
  if (newest !== undefined && suits(newest)) return newest;
  return addVersion(options, {
    purpose,
    version: (newest?.version ?? 0) + 1,
    key: await make(),
    actor: { actor: 'service' },
  });
}

/** Seals and keeps one version of a key. Of two replicas that make one at once, the second takes the first's. */
export async function addVersion(
  options: StoredKeyOptions,
  added: { readonly purpose: string; readonly version: number; readonly key: NewKey; readonly actor: Actor },
): Promise<KeyRecord> {
  const { purpose, version, actor } = added;
  const { certificate, secret } = added.key;
  const sealed = seal(sealingKey(options.root, purpose, version), {
    plaintext: secret,
    associatedData: certificate,
    random: options.random,
  });
  try {
    const key = { purpose, version, certificate: certificate.toString('hex'), sealed: sealed.toString('hex') };
    return await options.store.addKey(key, actor);
  } catch (error) {
    if (!(error instanceof StoreError) || error.code !== 'already_exists') throw error;
    const [other] = await options.store.listKeys(purpose);
    if (other === undefined) throw error;
    return other;
  }
}

/** The secret of a stored key. Throws SealError where it was sealed under another root key. */
export function unseal({ root }: Pick<StoredKeyOptions, 'root'>, record: KeyRecord): Buffer {
  const token = Buffer.from(record.sealed, 'hex');
  if (sealedVersion(token) !== root.version)
    throw new TypeError('the store was sealed under another version of the root key');
  return open(sealingKey(root, record.purpose, record.version), token, {
    associatedData: Buffer.from(record.certificate, 'hex'),
  });
}

function sealingKey(root: SealingMaster, purpose: string, version: number): SealingKey {
  return deriveKey(root, { purpose: 'stored key', context: `${purpose}/${version}` });
}
