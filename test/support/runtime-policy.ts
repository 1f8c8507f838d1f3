/** Run-time rules, and the sets and keyrings that they name. */
import type { FileRule, RuntimeRulesDraft } from '../../server/policy/runtime-rules.ts';
import { readKeyring } from '../../server/reference/keyring.ts';
import type { Store } from '../../server/store/store.ts';
import type { Signer } from '../tpm/ima/signing.ts';
import { sha256 } from './measuring-kernel.ts';

const OPERATOR = { actor: 'identities/ada' };

/** No rule. */
export const NO_RUNTIME_RULES: RuntimeRulesDraft = {
  list: undefined,
  files: undefined,
  forbiddenFiles: undefined,
  invalidSignatures: undefined,
  violations: undefined,
  otherKernels: undefined,
};

/** A files rule that allows nothing yet. */
export const FILES: FileRule = {
  referenceSets: [],
  keyrings: [],
  requireSignature: false,
  trustHostKeys: false,
  excludes: [],
  unknown: 'contraindicated',
  message: '',
};

/** Makes the set `base` of files with these contents. */
export async function importFiles(store: Store, contents: readonly string[], id = 'base'): Promise<void> {
  const draft = await store.openReferenceDraft(id, { expected: 'any', from: 'nothing' });
  const entries = contents.map((content) => {
    return { algorithm: 'sha256', digest: sha256(content).toString('hex'), path: `/${content}` } as const;
  });
  await store.addReferenceEntries(draft, entries);
  await store.commitReferenceDraft(draft, { ...OPERATOR, detail: '' });
}

/** Makes the keyring `vendor` of the keys of these signers. */
export async function importKeys(store: Store, signers: readonly Pick<Signer, 'spki'>[], id = 'vendor'): Promise<void> {
  const keys = signers.flatMap(({ spki }) => {
    const pem = `-----BEGIN PUBLIC KEY-----\n${spki.toString('base64')}\n-----END PUBLIC KEY-----\n`;
    const read = readKeyring(Buffer.from(pem));
    if ('problems' in read) throw new Error(JSON.stringify(read.problems));
    return read.keys;
  });
  await store.putKeyring(id, keys, { ...OPERATOR, expected: 'any', add: false });
}
