import { rm } from 'node:fs/promises';

import { describe, expect, it } from 'vitest';

import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy, reasons } from '../support/deployment.ts';
import { openSwtpmCa } from '../support/swtpm-ca.ts';

describe('an EK certificate that its issuer revokes', () => {
  it('costs the host its verdict at once and lets it enrol no more, until the list is removed', async () => {
    await using deployment = await Deployment.start();
    await using host = await AttestedHost.enrolled(deployment);
    const ca = await openSwtpmCa(host.tpm);
    expect(ca.ekSerials.length).toBeGreaterThan(0);
    await deployment.operator.policies.apply(policy('base', { quote: { interval: '3600s', validity: '7200s' } }));
    const agent = host.runAgent();
    await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');

    const { endorsements } = deployment.operator;
    const list = ca.revoke(ca.ekSerials, 2);
    // What swtpm makes of its CA may not sign lists.
    await expect(endorsements.importRevocationLists(Buffer.from(list))).rejects.toMatchObject({
      reason: 'REVOCATION_LIST_INVALID',
      message: expect.stringContaining('cRLSign') as string,
    });
    await endorsements.importAnchors(Buffer.from(ca.certificate));
    await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');

    // The next round is due in an hour: nobody waits for it.
    const file = await deployment.file('list.pem', list);
    const imported = await deployment.assay('endorsement', 'crl', 'import', file);
    expect(imported).toMatchObject({ code: 0, stderr: '' });
    expect(imported.stdout).toMatch(/^[0-9a-f]{64} +1 +\d+ +02 .* CN=swtpm-localca$/m);
    expect((await deployment.operator.results.get(host.id)).status).not.toBe('AFFIRMING');
    const fallen = await deployment.result(host.id, 'verdict', ({ status }) => status === 'CONTRAINDICATED');
    expect(reasons(fallen)).toEqual(['EK_CERT_REVOKED']);
    expect(agent.log.map(({ event }) => event)).not.toContain('ended');

    await host.stopAgent();
    await rm(host.state, { recursive: true });
    const again = await host.join(deployment);
    expect(again).toMatchObject({ code: 1, stdout: '' });
    expect(again.stderr).toMatch(/^assay: EK_CERT_REVOKED: /);

    const [kept] = (await endorsements.revocationListPage('')).items;
    await endorsements.removeRevocationList(kept?.name ?? '');
    expect((await host.join(deployment)).code).toBe(0);
  });

  it('is refused by a list that is stale, and one that does not name it is told as such', async () => {
    await using deployment = await Deployment.start();
    await using host = await AttestedHost.start();
    const ca = await openSwtpmCa(host.tpm);
    await deployment.trust(host.tpm.caCertificates);
    await deployment.operator.endorsements.importAnchors(Buffer.from(ca.certificate));

    const stale = (serials: readonly Buffer[], number: number) =>
      deployment.operator.endorsements.importRevocationLists(Buffer.from(ca.revoke(serials, number, { stale: true })));
    await stale(ca.ekSerials, 1);
    expect((await host.join(deployment)).stderr).toMatch(/^assay: EK_CERT_REVOKED: /);
    await stale([], 2);
    expect((await host.join(deployment)).code).toBe(0);
    const { endorsementKeys } = await deployment.operator.hosts.get(host.id);
    for (const { deviations } of endorsementKeys) expect(deviations).toContain('CRL_STALE');
  });
});
