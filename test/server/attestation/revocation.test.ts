import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { enrollMachine, StreamAgent } from '../../support/stream-agent.ts';
import type { Machine } from '../../support/stream-agent.ts';
import { day, makeIntermediate, revocationList, rootKey, rootName } from '../../support/test-ek-pki.ts';
import type { ListParts } from '../../support/test-ek-pki.ts';
import { importRevocationList, openHouse, OPERATOR, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';

let house: House;
let machine: Machine;
beforeEach(async () => {
  house = await openHouse({ admission: ['certificate', 'approval'] });
  await putPolicy(house.store);
  machine = await enrollMachine(house);
});
afterEach(async () => {
  await house[Symbol.asyncDispose]();
  expect(house.faults).toEqual([]);
});

const reasons = ({
  checks,
}: {
  readonly checks: readonly { readonly outcome: string; readonly reason: string }[];
}): readonly string[] => checks.filter(({ outcome }) => outcome !== 'passed').map(({ reason }) => reason);

describe('a revocation list', () => {
  const importList = (serials: number | readonly number[], change: ListParts = {}) =>
    importRevocationList(house.store, revocationList(serials, change));

  it('that names the EK certificate contraindicates the host at once, and no longer once it is removed', async () => {
    await using agent = new StreamAgent(house, machine);
    expect((await agent.round()).status).toBe('affirming');
    const fingerprint = await importList(0x17);
    expect(await house.store.getResult(machine.id)).toMatchObject({ status: 'none' });
    const revoked = await agent.round();
    expect(revoked.status).toBe('contraindicated');
    expect(reasons(revoked)).toEqual(['EK_CERT_REVOKED']);
    expect(revoked.checks[0]).toMatchObject({ id: 'endorsement', observed: 'CN=TPM, serial 17' });
    await house.store.removeRevocationList(fingerprint, { ...OPERATOR, expected: 'any' });
    expect((await agent.round()).status).toBe('affirming');
  });

  it('that names the CA of the EK certificate contraindicates the host, too', async () => {
    await using agent = new StreamAgent(house, machine);
    await importList(0x17, { issuer: rootName, signer: rootKey });
    expect(reasons(await agent.round())).toEqual(['EK_CERT_REVOKED']);
  });

  it('that comes while evidence is due fences the verdict', async () => {
    await using agent = new StreamAgent(house, machine);
    const challenge = await agent.challenge();
    await importList(0x17);
    agent.answer(challenge);
    expect(reasons(await agent.round())).toEqual(['EK_CERT_REVOKED']);
  });

  it('decides also over the inventory, and a policy that asks for no endorsement', async () => {
    await house.store.putInventory(
      machine.host.eks.map(({ fingerprint }) => ({ fingerprint, group: '', comment: '' })),
      OPERATOR,
    );
    await putPolicy(house.store, { quote: { allowUnendorsed: true } });
    await using agent = new StreamAgent(house, machine);
    expect((await agent.round()).status).toBe('affirming');
    await importList(0x17);
    expect(await agent.round()).toMatchObject({ status: 'contraindicated' });
  });

  it('that names others leaves the host affirmed, and one past its next update still revokes', async () => {
    await using agent = new StreamAgent(house, machine);
    await importList([0x18, 0x19], { number: 1 });
    expect((await agent.round()).status).toBe('affirming');
    await importList([0x17, 0x18], { number: 2, nextUpdate: day('2025-12-15') });
    expect(reasons(await agent.round())).toEqual(['EK_CERT_REVOKED']);
  });

  it('outlives the certificate of the CA that signed it: hosts bring theirs along', async () => {
    const chain = [makeIntermediate()];
    const other = await enrollMachine(house, {
      request: (request) => ({ ...request, eks: request.eks.map((each) => ({ ...each, chain })) }),
    });
    await importList(0x17);
    for (const { fingerprint, anchor } of await house.store.allTrustAnchors()) {
      if (!anchor) await house.store.removeTrustAnchor(fingerprint, { ...OPERATOR, expected: 'any' });
    }
    await using agent = new StreamAgent(house, other);
    expect(reasons(await agent.round())).toEqual(['EK_CERT_REVOKED']);
  });
});
