import { describe, expect, it } from 'vitest';

import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy, reasons } from '../support/deployment.ts';

describe('admission by certificate', () => {
  it('refuses a TPM of an unknown maker and stores nothing, and takes it once the CA is imported', async () => {
    await using deployment = await Deployment.start({ admission: ['certificate'] });
    await using host = await AttestedHost.start();

    const refused = await host.join(deployment);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toMatch(/^assay: EK_CERT_UNKNOWN_CA: /);
    expect((await deployment.assay('host', 'list', '--output', 'json')).stdout).toBe('{\n  "hosts": []\n}\n');

    const files = host.tpm.caCertificates.map(({ path }) => path);
    expect(await deployment.assay('endorsement', 'import', ...files)).toMatchObject({ code: 0, stderr: '' });
    expect(await host.join(deployment)).toMatchObject({ code: 0, stdout: `enrolled as ${host.id} (ACTIVE)\n` });
    expect(await deployment.operator.hosts.get(host.id)).toMatchObject({ state: 'ACTIVE', admission: 'certificate' });
  });

  it('takes a TPM whose issuing CA alone is known, once that is imported as an anchor', async () => {
    await using deployment = await Deployment.start({ admission: ['certificate'] });
    await using host = await AttestedHost.start();
    const issuer = host.tpm.caCertificates[0]?.path ?? '';

    expect((await deployment.assay('endorsement', 'import', issuer)).stdout).toMatch(
      / intermediate .*\n1 added, 0 known/,
    );
    expect((await host.join(deployment)).stderr).toMatch(/^assay: EK_CERT_UNKNOWN_CA: /);
    expect((await deployment.assay('endorsement', 'import', '--anchor', issuer)).stdout).toMatch(/ anchor .*\n1 added/);
    expect(await host.join(deployment)).toMatchObject({ code: 0, stdout: `enrolled as ${host.id} (ACTIVE)\n` });
  });

  it('refuses a TPM without certificates', async () => {
    await using deployment = await Deployment.start({ admission: ['certificate'] });
    await using host = await AttestedHost.start({ ekCertificates: false });

    const refused = await host.join(deployment);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toMatch(/^assay: ADMISSION_DENIED: /);
  });
});

describe('admission by inventory', () => {
  it('takes a TPM without certificates whose EKs were registered, and no other', async () => {
    await using deployment = await Deployment.start({ admission: ['inventory', 'approval'] });
    await deployment.operator.policies.apply(policy('base'));
    await using known = await AttestedHost.start({ ekCertificates: false });
    await using stranger = await AttestedHost.start({ ekCertificates: false });

    // Nobody knows an EK's fingerprint beforehand but its maker; here the host tells it, as one that waits for approval.
    expect((await known.join(deployment)).stdout).toMatch(/\(PENDING\)/);
    const { endorsementKeys } = await deployment.operator.hosts.get(known.id);
    await deployment.operator.hosts.delete(known.id);
    const lines = endorsementKeys.map(({ fingerprint }) => `${fingerprint} rack-7 delivered in March\n`).join('');
    const file = await deployment.file('inventory.txt', lines);
    const imported = await deployment.assay('endorsement', 'inventory', 'import', file);
    expect(imported).toMatchObject({ code: 0, stdout: `${endorsementKeys.length} added, 0 overwritten\n` });

    expect((await known.join(deployment)).stdout).toBe(`enrolled as ${known.id} (ACTIVE)\n`);
    expect((await stranger.join(deployment)).stdout).toMatch(/\(PENDING\)/);
    expect(await deployment.operator.hosts.get(known.id)).toMatchObject({ state: 'ACTIVE', admission: 'inventory' });
    known.runAgent();
    await deployment.result(known.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
  });
});

describe('admission by approval', () => {
  it('keeps a host waiting on its open stream until an operator approves it, and says that nobody else vouches', async () => {
    await using deployment = await Deployment.start({ admission: ['approval'] });
    await deployment.operator.policies.apply(policy('base'));
    await using host = await AttestedHost.start({ ekCertificates: false });

    const joined = await host.join(deployment);
    expect(joined.stdout).toBe(
      `enrolled as ${host.id} (PENDING); waits for approval (assay host approve ${host.id})\n`,
    );
    const agent = host.runAgent();
    await agent.logged(({ event }) => event === 'pending', 'an agent that waits');
    const waiting = await deployment.operator.results.get(host.id);
    expect(waiting.status).toBe('NONE');
    expect(reasons(waiting)).toEqual(['AWAITING_APPROVAL']);

    const approved = await deployment.assay('host', 'approve', host.id);
    expect(approved).toMatchObject({ code: 0, stderr: '' });
    expect(approved.stdout).toMatch(/^state: +ACTIVE$/m);
    const unendorsed = await deployment.result(host.id, 'verdict', ({ connectivity }) => connectivity === 'CONNECTED');
    expect(reasons(unendorsed)).toEqual(['EK_UNENDORSED']);
    expect(unendorsed.status).not.toBe('AFFIRMING');

    const lenient = { interval: '1s', validity: '30s', allowUnendorsed: true };
    await deployment.operator.policies.apply(policy('base', { quote: lenient }));
    await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
    // One stream through all of it.
    expect(agent.log.map(({ event }) => event)).not.toContain('ended');
    expect(agent.log.map(({ event }) => event)).not.toContain('unreachable');
  });
});
