import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { join } from '../../../client/agent/join.ts';
import { AK_ALGORITHMS, openHostTpm } from '../../../client/agent/host-tpm.ts';
import { proveAssignedPcrs } from '../../../tpm/crypto/session-audit.ts';
import { signingKeyOf, verifySignature } from '../../../tpm/crypto/verify-signature.ts';
import { decodeAttest } from '../../../tpm/structures/attest.ts';
import { decodePublicArea } from '../../../tpm/structures/public-area.ts';
import { decodeSignature } from '../../../tpm/structures/signature.ts';
import { TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { startSwtpm } from '../../support/swtpm.ts';
import type { Swtpm } from '../../support/swtpm.ts';
import { affirming, AgentHarness } from '../support/agent-harness.ts';
import { FakeWorld } from '../support/fake-world.ts';

let swtpm: Swtpm;

beforeAll(async () => {
  swtpm = await startSwtpm({ banks: 'sha1,sha256' });
});

afterAll(() => swtpm.stop());

test.each(AK_ALGORITHMS)('enrols and attests by a TPM with both of its EKs and an AK of %s', async (akAlgorithm) => {
  const agent = await AgentHarness.make();
  await using fake = await FakeWorld.make({
    service: agent.service,
    tpm: () => openHostTpm(swtpm.tcti),
    attestation: () => ({
      attest: (outgoing) =>
        affirming(outgoing[Symbol.asyncIterator](), { privateKey: '', certificate: Buffer.alloc(0) }),
    }),
    sleep: () => agent.controller.abort(),
  });
  await join(fake.world, { ...agent.request, tcti: swtpm.tcti, akAlgorithm }, agent.controller.signal);
  await agent.run(fake);
  expect(fake.statuses).toContain('AFFIRMING');
});

test('a loaded AK quotes every active bank and proves which banks there are', async () => {
  const tpm = await openHostTpm(swtpm.tcti);
  try {
    const [ek] = await tpm.endorsementKeys();
    if (ek === undefined) throw new TypeError('the tpm has no ek');
    const ak = await tpm.loadAk(ek, await tpm.createAk(ek, 'ecdsa-p256-sha256'));
    const qualifyingData = randomBytes(32);
    const proof = await ak.proveBanks(qualifyingData);
    const attest = decodeAttest(proof.attest);
    if (attest.kind !== 'sessionAudit') throw new TypeError('not a session audit');
    verifySignature(signingKeyOf(decodePublicArea(ak.publicArea)), proof.attest, decodeSignature(proof.signature));
    const exchange = {
      propertyCount: 16,
      moreData: proof.capabilityData[0] !== 0,
      capabilityData: proof.capabilityData.subarray(1),
    };
    const banks = proveAssignedPcrs(attest, exchange, TPM_ALG_SHA256);
    const active = banks.filter(({ pcrSelect }) => pcrSelect.some((byte) => byte !== 0)).map(({ hash }) => hash);
    expect((await tpm.activeBanks()).map(({ hash }) => hash)).toEqual(active);
    expect(active).toHaveLength(2);
    expect(await tpm.readPcrs(await tpm.activeBanks())).toHaveLength(48);
  } finally {
    await tpm.close();
  }
});

test('an AK of another TPM is lost here, and the host enrols with a new one', async () => {
  const agent = await AgentHarness.make();
  const other = await startSwtpm();
  try {
    let tcti = other.tcti;
    await using fake = await FakeWorld.make({
      service: agent.service,
      tpm: () => openHostTpm(tcti),
      attestation: () => ({
        attest: (outgoing) =>
          affirming(outgoing[Symbol.asyncIterator](), { privateKey: '', certificate: Buffer.alloc(0) }),
      }),
      sleep: () => agent.controller.abort(),
    });
    await join(fake.world, { ...agent.request, tcti }, agent.controller.signal);
    tcti = swtpm.tcti;
    await agent.run(fake);
    expect(fake.logged.map(({ event }) => event)).toContain('ak_lost');
    expect(fake.statuses).toContain('AFFIRMING');
  } finally {
    await other.stop();
  }
});
