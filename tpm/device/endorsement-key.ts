import { X509Certificate } from 'node:crypto';

import { CodecError } from '../codec/codec-error.ts';
import { subjectPublicKeyInfo } from '../crypto/public-key.ts';
import { type PublicArea, decodePublicArea } from '../structures/public-area.ts';
import { listHandles } from './capability.ts';
import { readNv, withTpmHandle } from './nv.ts';
import { readPublic, withPrimary } from './primary.ts';
import { storedCertificate, storedChain } from './stored-certificate.ts';
import { EK_TEMPLATES, type EkTemplate, type EkTemplateName, followsTemplate, withNonce } from './templates.ts';
import { TpmError } from './tpm-error.ts';
import type { EsysHandle, Tss } from './tss.ts';

/** Where the key itself is: in a persistent handle, or nowhere until it is made again from its template. */
export type EkLocation =
  | { readonly kind: 'persistent'; readonly handle: number }
  | { readonly kind: 'primary'; readonly template: PublicArea };

export interface EndorsementKey {
  readonly template: EkTemplateName;
  /** TPMT_PUBLIC. */
  readonly publicArea: Buffer;
  /** DER, as it is in NV; that it certifies this key is for the verifier to say. */
  readonly certificate?: Buffer;
  /** DER: the vendor's certificates in NV, in their order there, the same for every key. */
  readonly chain: readonly Buffer[];
  readonly location: EkLocation;
}

/** What NV and the persistent handles hold, read once for all templates. */
interface Inventory {
  readonly nvIndexes: ReadonlySet<number>;
  readonly persistentHandles: ReadonlySet<number>;
  readonly nvBufferMax: number;
}

/** NV indexes and persistent handles that the TCG reserves for EKs (EK Credential Profile v2.6 §2.2.1.4, §2.2.1.5). */
const EK_NV = { first: 0x01c00000, last: 0x01c07fff } as const;
const EK_CHAIN = { first: 0x01c00100, last: 0x01c001ff } as const;
const EK_PERSISTENT = { first: 0x81010000, last: 0x8101ffff } as const;

/** Bytes of certificate chain that are read; real ones have some 4 KiB. */
const MAX_CHAIN_SIZE = 65_536;

/** The templates that a TPM without certificates and persistent keys may be asked for. */
const FALLBACK_TEMPLATES: readonly EkTemplateName[] = ['L-1', 'L-2'];

/**
 * Every EK that can be used: those whose persistent handle holds a key of the template or whose certificate is in NV;
 * on a TPM that has neither, the low-range key made from its template.
 * @throws TpmError `HIERARCHY_AUTH` if keys must be made and the hierarchy has an authorisation value
 */
export async function findEndorsementKeys(tss: Tss, nvBufferMax: number): Promise<readonly EndorsementKey[]> {
  const inventory: Inventory = {
    nvIndexes: new Set(await listHandles(tss, EK_NV.first, EK_NV.last)),
    persistentHandles: new Set(await listHandles(tss, EK_PERSISTENT.first, EK_PERSISTENT.last)),
    nvBufferMax,
  };
  const chain = await readChain(tss, inventory);
  const found: EndorsementKey[] = [];
  for (const template of EK_TEMPLATES) {
    const ek = await findEndorsementKey(tss, template, inventory);
    if (ek !== undefined) found.push({ ...ek, chain });
  }
  return found.length > 0 ? found : [{ ...(await fallbackKey(tss, inventory)), chain }];
}

/** Lends a loaded EK. @throws TpmError `KEY_CHANGED` if the TPM no longer has this key */
export async function withEndorsementKey<T>(
  tss: Tss,
  ek: EndorsementKey,
  use: (handle: EsysHandle, publicArea: PublicArea) => Promise<T>,
): Promise<T> {
  const useSame = (handle: EsysHandle, publicArea: PublicArea): Promise<T> => {
    if (publicArea.raw.equals(ek.publicArea)) return use(handle, publicArea);
    throw new TpmError('KEY_CHANGED', `the TPM has another endorsement key ${ek.template} than before`);
  };
  if (ek.location.kind === 'primary') return withPrimary(tss, ek.location.template, useSame);
  return withTpmHandle(tss, ek.location.handle, async (handle) =>
    useSame(handle, (await readPublic(tss, handle)).publicArea),
  );
}

type KeyWithoutChain = Omit<EndorsementKey, 'chain'>;

async function findEndorsementKey(
  tss: Tss,
  template: EkTemplate,
  inventory: Inventory,
): Promise<KeyWithoutChain | undefined> {
  const stored = await readIndex(tss, template.certificateIndex, inventory);
  const certificate = stored === undefined ? undefined : storedCertificate(stored);
  const key =
    (await persistentKey(tss, template, inventory, certificate)) ??
    (certificate === undefined ? undefined : await primaryKey(tss, template, inventory, certificate));
  return key === undefined ? undefined : { ...key, ...(certificate === undefined ? {} : { certificate }) };
}

/** The key at the template's persistent handle, if it is an EK by template or by certificate. */
async function persistentKey(
  tss: Tss,
  template: EkTemplate,
  { persistentHandles }: Inventory,
  certificate: Buffer | undefined,
): Promise<KeyWithoutChain | undefined> {
  const handle = template.persistentHandle;
  if (!persistentHandles.has(handle)) return undefined;
  const publicArea = await unlessRefused(
    withTpmHandle(tss, handle, async (loaded) => (await readPublic(tss, loaded)).publicArea),
  );
  if (publicArea === undefined) return undefined;
  const certified = certificate !== undefined && certifies(certificate, publicArea);
  if (!certified && !followsTemplate(publicArea, template.publicArea)) return undefined;
  return { template: template.name, publicArea: publicArea.raw, location: { kind: 'persistent', handle } };
}

/** The key that the certificate is for, among those that the templates make; else the first that the TPM can make. */
async function primaryKey(
  tss: Tss,
  template: EkTemplate,
  inventory: Inventory,
  certificate?: Buffer,
): Promise<KeyWithoutChain | undefined> {
  let first: KeyWithoutChain | undefined;
  for (const candidate of await candidateTemplates(tss, template, inventory)) {
    const publicArea = await unlessRefused(withPrimary(tss, candidate, async (_, made) => made));
    if (publicArea === undefined) continue;
    const location = { kind: 'primary', template: candidate } as const;
    const key = { template: template.name, publicArea: publicArea.raw, location };
    if (certificate === undefined || certifies(certificate, publicArea)) return key;
    first ??= key;
  }
  return first;
}

/** What NV says about the template comes before the default (EK Credential Profile v2.6 §2.2.1.4). */
async function candidateTemplates(
  tss: Tss,
  template: EkTemplate,
  inventory: Inventory,
): Promise<readonly PublicArea[]> {
  const stored = await readIndex(tss, template.templateIndex, inventory);
  const fromNv = stored === undefined ? undefined : decodeStoredTemplate(stored);
  const nonce = template.nonceIndex === undefined ? undefined : await readIndex(tss, template.nonceIndex, inventory);
  const bases = fromNv === undefined ? [template.publicArea] : [fromNv, template.publicArea];
  return bases.flatMap((base) => {
    const nonced = nonce === undefined ? undefined : withNonce(base, nonce);
    return nonced === undefined ? [base] : [nonced, base];
  });
}

async function fallbackKey(tss: Tss, inventory: Inventory): Promise<KeyWithoutChain> {
  for (const template of EK_TEMPLATES.filter(({ name }) => FALLBACK_TEMPLATES.includes(name))) {
    const key = await primaryKey(tss, template, inventory);
    if (key !== undefined) return key;
  }
  throw new TpmError('UNSUPPORTED', 'the TPM has no endorsement key and can make none of the low-range templates');
}

async function readChain(tss: Tss, inventory: Inventory): Promise<readonly Buffer[]> {
  const parts: Buffer[] = [];
  let size = 0;
  for (const index of [...inventory.nvIndexes].sort((a, b) => a - b)) {
    if (index < EK_CHAIN.first || index > EK_CHAIN.last || size > MAX_CHAIN_SIZE) continue;
    // The chain is a convenience: an index that only its vendor may read is passed over.
    const part = await unlessRefused(readIndex(tss, index, inventory));
    if (part === undefined) continue;
    parts.push(part);
    size += part.length;
  }
  return storedChain(Buffer.concat(parts));
}

async function readIndex(tss: Tss, index: number, { nvIndexes, nvBufferMax }: Inventory): Promise<Buffer | undefined> {
  return nvIndexes.has(index) ? readNv(tss, index, nvBufferMax) : undefined;
}

function decodeStoredTemplate(stored: Buffer): PublicArea | undefined {
  try {
    return decodePublicArea(stored);
  } catch (error) {
    if (error instanceof CodecError) return undefined;
    throw error;
  }
}

/** Whether the certificate is for this key. One that node:crypto cannot read is for none. */
function certifies(certificate: Buffer, publicArea: PublicArea): boolean {
  try {
    const certified = new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' });
    return certified.equals(subjectPublicKeyInfo(publicArea));
  } catch {
    return false;
  }
}

/** A template or an object that this TPM does not have is no key to report; every other failure is one. */
async function unlessRefused<T>(step: Promise<T>): Promise<T | undefined> {
  try {
    return await step;
  } catch (error) {
    if (error instanceof TpmError && (error.code === 'REFUSED' || error.code === 'UNSUPPORTED')) return undefined;
    throw error;
  }
}
