/** A service, a host that joins it, and somebody who has the TLS key of the service and a host of his own. */
import { enroll } from '../../client/agent/enroll.ts';
import type { HostAk } from '../../client/agent/host-tpm.ts';
import { makeBareCertificate, makeTlsKey, tlsKeySha256 } from '../../client/agent/tls-key.ts';
import { enrollmentService } from '../../client/sdk/attester.ts';
import { Connection } from '../../client/sdk/connection.ts';
import type { Endpoint } from '../../proto/endpoint.ts';
import type { TlsIdentity } from '../../proto/tls-identity.ts';
import { subjectPublicKeyInfo } from '../../tpm/crypto/public-key.ts';
import type { EndorsementKey } from '../../tpm/device/endorsement-key.ts';
import { SoftwareTpm as AgentTpm } from '../client/support/software-tpm.ts';
import { FACTS } from '../support/evidence-builder.ts';
import { ManInTheMiddle } from '../support/man-in-the-middle.ts';
import type { MiddleOptions } from '../support/man-in-the-middle.ts';
import { startAssay, tlsIdentity } from '../support/running-service.ts';
import type { Running } from '../support/running-service.ts';
import { SoftwareTpm } from '../support/software-tpm.ts';
import type { SoftwareAk } from '../support/software-tpm.ts';
import { ext } from '../support/test-ca.ts';
import { ekExtensions, makeEk } from '../support/test-ek-pki.ts';
import { enroll as enrollDirectly, putPolicy } from '../support/test-service.ts';

/** An agent as it is on a host: its TPM, its AK and its TLS key. */
export interface Victim {
  readonly tpm: AgentTpm;
  readonly ak: HostAk;
  readonly eks: readonly EndorsementKey[];
  readonly key: string;
}

export interface Scene extends AsyncDisposable {
  readonly running: Running;
  /** Of the man in the middle: a host that he enrolled himself. */
  readonly own: { readonly identity: TlsIdentity; readonly ak: SoftwareAk };
  /** He steps in between; he shows the agent the certificate and key of the service itself. */
  middle(options?: Partial<MiddleOptions>): Promise<ManInTheMiddle>;
  /** The agent connects to an address that it takes for the service's. */
  connect(at: Endpoint, identity: TlsIdentity): Connection;
  /** The agent enrols there. */
  enrol(victim: Victim, at: Endpoint): ReturnType<typeof enroll>;
}

export async function openScene(): Promise<Scene> {
  const running = await startAssay();
  const { serverTls, authority } = running.house.keys.current;
  const privateKey = serverTls.key.export({ type: 'pkcs8', format: 'pem' }).toString();
  const shown = { certificateChain: [serverTls.certificate, authority.certificate], privateKey };
  const rule = { bank: 'sha256', index: 7, allowed: ['07'.repeat(32)], severity: undefined, message: '' };
  await putPolicy(running.house.store, { pcrRules: [rule], quote: { allowUnprovenBanks: true } });
  const tpm = new SoftwareTpm();
  const ak = tpm.createAk();
  const { tls, clientCertificate } = await enrollDirectly(running.house, tpm, ak);
  const own = { identity: tlsIdentity(tls, clientCertificate), ak };
  const now = (): Date => new Date();
  const connect: Scene['connect'] = ({ host, port }, { certificateChain: [leaf], privateKey: key }) =>
    new Connection({
      server: `${host}:${port}`,
      authority: authority.certificate,
      certificate: Buffer.from(leaf ?? Buffer.alloc(0)),
      key,
      now,
      random: Math.random,
    });
  return {
    running,
    own,
    connect,
    middle: (options = {}) =>
      ManInTheMiddle.open({
        service: running.service.address,
        authority: authority.certificate,
        shown,
        own: own.identity,
        ...options,
      }),
    enrol: async ({ tpm: agentTpm, ak: agentAk, eks, key }, at) => {
      const connection = connect(at, await bareIdentity(key));
      const enrollee = {
        tpm: agentTpm,
        ak: agentAk,
        endorsementKeys: eks,
        parentIndex: 0,
        tlsKeySha256: tlsKeySha256(key),
        pin: authority.fingerprint,
        collectFacts: () => Promise.resolve(FACTS),
        collectLogs: () => Promise.resolve([]),
      };
      try {
        agentTpm.calls.length = 0;
        return await enroll(enrollee, enrollmentService(connection), { now, signal: new AbortController().signal });
      } finally {
        connection.close();
      }
    },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

export async function makeVictim(): Promise<Victim> {
  const tpm = new AgentTpm();
  const eks = (await tpm.endorsementKeys()).map((ek, index) => {
    const area = tpm.eks[index]?.publicArea;
    if (area === undefined) throw new TypeError('no ek');
    const certificate = makeEk({
      spki: subjectPublicKeyInfo(area),
      extensions: ekExtensions({ keyUsage: ext.keyUsage(0x08) }),
    });
    return { ...ek, certificate };
  });
  const [parent] = eks;
  if (parent === undefined) throw new TypeError('no ek');
  return { tpm, eks, ak: await tpm.loadAk(parent, await tpm.createAk(parent)), key: makeTlsKey() };
}

/** A TLS identity that no CA signed. */
export async function bareIdentity(key: string): Promise<TlsIdentity> {
  const certificate = await makeBareCertificate(key, { now: new Date(), serial: Buffer.alloc(16, 1) });
  return { certificateChain: [certificate], privateKey: key };
}
