/** Enrols hosts straight into a store: a software AK and a certified EK each, as a finished enrolment leaves them. */
import { createHash, randomBytes } from 'node:crypto';

import { childQualifiedName, objectName, primaryQualifiedName } from '../../tpm/crypto/name.ts';
import { subjectPublicKeyInfo } from '../../tpm/crypto/public-key.ts';
import { TPM_ALG_SHA256, TPM_ECC_NIST_P256 } from '../../tpm/structures/constants.ts';
import { issueClientCertificate } from '../../server/identity/ca.ts';
import type { CertificateAuthority } from '../../server/identity/ca.ts';
import { resolvePolicyDraft } from '../../server/policy/policy.ts';
import type { EnrollInput, Store } from '../../server/store/store.ts';
import { FACTS, makeTlsKey } from '../../test/support/evidence-builder.ts';
import { ext } from '../../test/support/test-ca.ts';
import { ekExtensions, makeEk as makeEkCertificate } from '../../test/support/test-ek-pki.ts';
import { importAnchors, OPERATOR } from '../../test/support/test-service.ts';
import { makeAk, makeEk } from '../../test/support/tpm-keys.ts';
import { BOOT_LOG_BYTES, IMA_LOG_BYTES } from './fleet.ts';
import type { Fleet, FleetHost } from './fleet.ts';

export interface FleetOptions {
  readonly hosts: number;
  /** How often the policy has every host challenged, milliseconds; at least 1,000. */
  readonly interval: number;
}

/** PCRs that the policy rules on: those of the firmware. */
export const POLICY_PCRS = [0, 1, 2, 3, 4, 5, 6, 7];
const DAY = 86_400;
const PARALLEL = 100;

export async function makeFleet(store: Store, authority: CertificateAuthority, options: FleetOptions): Promise<Fleet> {
  await importAnchors(store);
  await putPolicy(store, options.interval);
  const tls = makeTlsKey();
  const issue = (subject: { readonly host: string } | { readonly name: string }): Promise<Buffer> =>
    issueClientCertificate(authority, {
      publicKey: tls.spki,
      subject,
      lifetimeSeconds: DAY,
      now: new Date(store.now()),
      random: (size) => randomBytes(size),
    });
  const watcher = await issue({ name: 'watcher' });
  const keySha256 = tls.sha256.toString('hex');
  const expireTime = store.now() + DAY * 1000;
  await store.putIdentity({ name: 'watcher', roles: ['relying_party'], keySha256, expireTime, scope: {} }, OPERATOR);
  const epochs = await store.epochs();
  const hosts: FleetHost[] = [];
  while (hosts.length < options.hosts) {
    const batch = Array.from({ length: Math.min(PARALLEL, options.hosts - hosts.length) }, async () => {
      const { host, input } = makeHost({ tlsKeySha256: keySha256, epochs, now: store.now() });
      const outcome = await store.enroll(input);
      if (outcome.outcome !== 'created') throw new Error(`an enrolment ended ${outcome.outcome}`);
      return { ...host, certificate: (await issue({ host: host.id })).toString('base64') };
    });
    hosts.push(...(await Promise.all(batch)));
  }
  return {
    hosts,
    tlsKey: tls.privateKey,
    tlsKeySha256: keySha256,
    watcherCertificate: watcher.toString('base64'),
  };
}

function makeHost({
  tlsKeySha256,
  epochs,
  now,
}: Pick<EnrollInput, 'tlsKeySha256' | 'epochs'> & { readonly now: number }): {
  readonly host: Omit<FleetHost, 'certificate'>;
  readonly input: EnrollInput;
} {
  const kind = { curveID: TPM_ECC_NIST_P256 };
  const ek = makeEk(kind, { nameAlg: TPM_ALG_SHA256, aesBits: 128 }).publicArea;
  const ak = makeAk(kind, { hashAlg: TPM_ALG_SHA256 });
  const spki = subjectPublicKeyInfo(ek);
  const certificate = makeEkCertificate({ spki, extensions: ekExtensions({ keyUsage: ext.keyUsage(0x08) }) });
  const id = `h-${base32(randomBytes(17)).slice(0, 26)}`;
  const akName = objectName(ak.publicArea).toString('hex');
  const qualifiedName = childQualifiedName(ak.publicArea, primaryQualifiedName(ek)).toString('hex');
  const key = ak.privateKey.export({ format: 'der', type: 'pkcs8' });
  return {
    host: { id, akName, qualifiedName, akKey: key.toString('base64') },
    input: {
      actor: `agent hosts/${id}`,
      enrollmentId: randomBytes(32).toString('hex'),
      completeBefore: now + 600_000,
      forgetAfter: now + 1_200_000,
      hostId: id,
      maxPendingHosts: 1,
      eks: [
        {
          fingerprint: createHash('sha256').update(spki).digest('hex'),
          publicArea: ek.raw.toString('hex'),
          algorithm: 'ECC P-256',
          certificate: certificate.toString('hex'),
          chain: [],
          certified: true,
          manufacturer: 'id:49465800',
          model: 'SLB 9670',
          deviations: [],
        },
      ],
      // An AK certificate is never read again by the service; so many bytes stand for it.
      ak: { name: akName, qualifiedName, publicArea: ak.publicArea.raw.toString('hex'), certificate: '30'.repeat(700) },
      tlsKeySha256,
      callerHostId: '',
      admission: 'certificate',
      state: 'active',
      claimed: { ...FACTS },
      clock: { resetCount: 1, restartCount: 0, clock: '1000', safe: true },
      banks: [{ algorithm: TPM_ALG_SHA256, pcrs: Array.from({ length: 24 }, (_, index) => index) }],
      banksProven: true,
      logs: [
        { kind: 'boot', offset: 0, data: randomBytes(BOOT_LOG_BYTES) },
        { kind: 'ima', offset: 0, data: randomBytes(IMA_LOG_BYTES) },
      ],
      unreadable: [{ kind: 'userspace', reason: 'not found' }],
      expected: null,
      epochs,
    },
  };
}

async function putPolicy(store: Store, interval: number): Promise<void> {
  const outcome = resolvePolicyDraft({
    id: 'bench',
    description: '',
    selector: { matchLabels: {}, allHosts: true },
    precedence: 0,
    quote: {
      interval,
      validity: Math.min(10 * interval, 7 * DAY * 1000),
      disconnectGrace: undefined,
      allowUnprovenBanks: false,
      allowUnendorsed: false,
    },
    pcrRules: POLICY_PCRS.map((index) => ({
      bank: 'sha256',
      index,
      allowed: ['00'.repeat(32)],
      severity: undefined,
      message: '',
    })),
  });
  if ('problems' in outcome) throw new Error(JSON.stringify(outcome.problems));
  const { policy } = outcome;
  const attachment = { matchLabels: {}, allHosts: true, precedence: 0 };
  await store.putPolicy({ id: policy.id, attachment, body: JSON.stringify(policy) }, { ...OPERATOR, expected: 'any' });
}

/** RFC 4648 §6, lower case, without padding: the form of host ids. */
function base32(bytes: Buffer): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  return (bits.match(/.{5}/g) ?? [])
    .map((group) => 'abcdefghijklmnopqrstuvwxyz234567'[Number.parseInt(group, 2)])
    .join('');
}
