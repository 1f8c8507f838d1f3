import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import type { WatchNotice } from '../../client/sdk/watch.ts';
import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy, reasons } from '../support/deployment.ts';
import { eventually } from '../support/programs.ts';

let deployment: Deployment;
let host: AttestedHost;

beforeAll(async () => {
  deployment = await Deployment.start();
  host = await AttestedHost.enrolled(deployment);
  await deployment.operator.policies.apply(policy('base'));
  host.runAgent();
});

beforeEach(async () => {
  await deployment.operator.policies.apply(policy('base'));
  await affirmed();
});

afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
  await deployment?.[Symbol.asyncDispose]();
});

function affirmed() {
  return deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
}

/** Collects what a watch tells until the test ends. */
function follow(filter: Parameters<typeof deployment.operator.results.watch>[0]) {
  const ending = new AbortController();
  const notices: WatchNotice[] = [];
  const watching = (async () => {
    for await (const notice of deployment.operator.results.watch(filter, { signal: ending.signal }))
      notices.push(notice);
  })();
  return {
    notices,
    until: (what: string, wanted: (notice: WatchNotice) => boolean) =>
      eventually(
        what,
        () => notices.find(wanted),
        () => JSON.stringify(notices.map(summary)),
      ),
    async [Symbol.asyncDispose]() {
      ending.abort();
      await watching;
    },
  };
}

function summary(notice: WatchNotice): string {
  if (notice.kind === 'removal') return `removal ${notice.reason}`;
  return notice.kind === 'change' ? `${notice.result.status} ${reasons(notice.result).join()}` : notice.kind;
}

function isSynced(notice: WatchNotice): boolean {
  return notice.kind === 'bookmark' && notice.synced;
}

describe('a policy', () => {
  it('that is changed takes the verdict away at once, and a new one follows', async () => {
    await using watch = follow({ hosts: [host.id] });
    await watch.until('present results', isSynced);
    const before = watch.notices.length;
    const pcrRules = [
      { bank: 'sha256', index: 16, allowed: ['22'.repeat(32)], message: 'Only the new image may run.' },
    ];
    await deployment.operator.policies.apply(policy('base', { pcrRules }));

    await watch.until('new verdict', (notice) => summary(notice).startsWith('CONTRAINDICATED'));
    const changes = watch.notices.slice(before).filter(({ kind }) => kind === 'change');
    expect(changes.map(summary)).toEqual(['NONE APPRAISAL_INPUT_CHANGED', 'CONTRAINDICATED PCR_MISMATCH']);
    const { checks, trustPolicyVersion } = await deployment.operator.results.get(host.id);
    expect(checks[0]?.message).toContain('Only the new image may run.');
    expect(trustPolicyVersion).toBeGreaterThan(1n);
  });

  it('that only warns makes a host that differs WARNING', async () => {
    const pcrRules = [{ bank: 'sha256', index: 16, allowed: ['22'.repeat(32)], severity: 'RULE_SEVERITY_WARNING' }];
    await deployment.operator.policies.apply(policy('base', { pcrRules }));
    const result = await deployment.result(host.id, 'warning', ({ status }) => status === 'WARNING');
    expect(reasons(result)).toEqual(['PCR_MISMATCH']);
  });

  it('of expressions alone quotes what they name, and judges by it and by labels', async () => {
    const expression = `pcrs.sha256[16] == "${'00'.repeat(32)}" && pcrs.sha256[23] != "" && host.labels["tier"] == "gold"`;
    const expressions = [{ id: 'tier', expression, claim: 'VECTOR_CLAIM_EXECUTABLES', message: 'Gold machines only.' }];
    await deployment.operator.policies.apply(policy('base', { pcrRules: [], expressions }));
    const unlabelled = await deployment.result(host.id, 'missing label', (found) =>
      reasons(found).includes('EXPRESSION_CLAIM_MISSING'),
    );
    expect(unlabelled.status).toBe('NONE');
    expect(await deployment.assay('host', 'label', host.id, 'tier=iron')).toMatchObject({ code: 0 });
    const iron = await deployment.result(host.id, 'wrong label', ({ status }) => status === 'CONTRAINDICATED');
    expect(iron.checks[0]).toMatchObject({ id: 'expression.tier', reason: 'EXPRESSION_FALSE' });
    expect(iron.checks[0]?.message).toContain('Gold machines only.');
    expect(await deployment.assay('host', 'label', host.id, 'tier=gold')).toMatchObject({ code: 0 });
    expect((await affirmed()).checks.map(({ id }) => id)).toContain('expression.tier');
    expect(await deployment.assay('host', 'label', host.id, 'tier-')).toMatchObject({ code: 0 });
  });

  it('that is deleted leaves its hosts without a verdict', async () => {
    await deployment.operator.policies.delete('base');
    const result = await deployment.result(host.id, 'missing policy', (found) =>
      reasons(found).includes('POLICY_MISSING'),
    );
    expect(result).toMatchObject({ status: 'NONE', trustPolicy: '', connectivity: 'CONNECTED' });
  });

  it('of the same precedence as another affirms nothing; of a higher one it decides', async () => {
    await deployment.operator.policies.apply(policy('other'));
    const result = await deployment.result(host.id, 'ambiguity', (found) =>
      reasons(found).includes('POLICY_AMBIGUOUS'),
    );
    expect(result).toMatchObject({ status: 'NONE', trustPolicy: '' });

    await deployment.operator.policies.apply(policy('other', { precedence: 1 }));
    expect(await affirmed()).toMatchObject({ trustPolicy: 'trustPolicies/other' });
    await deployment.operator.policies.delete('other');
    expect(await deployment.result(host.id, 'base', ({ trustPolicy }) => trustPolicy === 'trustPolicies/base'));
  });
});

describe('a file of several policies', () => {
  it('is not applied in part where a later one names what is not there; the place is named', async () => {
    const missing = 'name: second\nruntime:\n  files:\n    reference_sets: [referenceSets/gone]\n';
    const first = `name: first\npcr_rules: [{bank: sha256, index: 16, allowed: ["${'00'.repeat(32)}"]}]\n`;
    const file = await deployment.file('several.yaml', `${first}---\n${missing}`);
    const place = `${file}:7:22: runtime.files.reference_sets[0]: referenceSets/gone is not known: import it first\n`;
    const applied = await deployment.assay('policy', 'apply', '-f', file);
    expect(applied.code).toBe(2);
    expect(applied.stderr).toContain(place);
    await expect(deployment.operator.policies.get('first')).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const alone = await deployment.assay('policy', 'apply', '-f', await deployment.file('alone.yaml', missing));
    expect(alone.stderr).toContain('alone.yaml:4:22: runtime.files.reference_sets[0]: ');
    expect(alone.stderr).toContain('REFERENCE_UNKNOWN');
    const validated = await deployment.assay('policy', 'validate', '-f', file);
    expect(validated).toMatchObject({ code: 1, stdout: place });
  });
});

describe('a watch for a label', () => {
  it('sees a host when it gets the label, and its removal when it loses it', async () => {
    await using watch = follow({ matchLabels: { zone: 'a' } });
    await watch.until('present results', isSynced);
    expect(news(watch.notices)).toEqual([]);

    expect(await deployment.assay('host', 'label', host.id, 'zone=a')).toMatchObject({ code: 0 });
    await watch.until('labelled host', ({ kind }) => kind === 'change');
    await watch.until('affirmed host', (notice) => summary(notice).startsWith('AFFIRMING'));
    expect(await deployment.assay('host', 'label', host.id, 'zone-')).toMatchObject({ code: 0 });
    await watch.until('removal', (notice) => summary(notice) === 'removal FILTERED');

    // Another label is none of its business: the next that it hears is the host's return.
    const before = watch.notices.length;
    await deployment.operator.hosts.update(host.id, { labels: { zone: 'b' } });
    await deployment.operator.hosts.update(host.id, { labels: { zone: 'a' } });
    await eventually('return', () => news(watch.notices.slice(before))[0]);
    expect(news(watch.notices.slice(before))[0]).toMatchObject({ kind: 'change', result: { labels: { zone: 'a' } } });
  });
});

function news(notices: readonly WatchNotice[]): readonly WatchNotice[] {
  return notices.filter(({ kind }) => kind === 'change' || kind === 'removal');
}
