import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy, reasons } from '../support/deployment.ts';
import { eventually } from '../support/programs.ts';

let deployment: Deployment;
let host: AttestedHost;

beforeAll(async () => {
  deployment = await Deployment.start();
  host = await AttestedHost.enrolled(deployment);
});

afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
  await deployment?.[Symbol.asyncDispose]();
});

const quote = { interval: '1s', validity: '600s', disconnectGrace: '600s' };
const wanting = (value: string) =>
  policy('base', { quote, pcrRules: [{ bank: 'sha256', index: 16, allowed: [value.repeat(32)] }] });

describe('a host whose agent is gone', () => {
  it('turns with its policy, and turns back, also over a kill of the service; its evidence grows no younger', async () => {
    const { operator } = deployment;
    await operator.policies.apply(wanting('00'));
    host.runAgent();
    await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
    await host.stopAgent('SIGKILL');
    const gone = await deployment.result(host.id, 'lost host', ({ connectivity }) => connectivity === 'UNREACHABLE');
    expect(gone.status).toBe('AFFIRMING');

    await operator.policies.apply(wanting('22'));
    const turned = await deployment.result(host.id, 'verdict', ({ status }) => status === 'CONTRAINDICATED');
    expect(reasons(turned)).toEqual(['PCR_MISMATCH']);
    expect(turned).toMatchObject({ connectivity: 'UNREACHABLE', challengeTime: gone.challengeTime });

    await operator.policies.apply(wanting('00'));
    await deployment.stop('SIGKILL');
    await deployment.serve();
    const back = await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
    expect(back).toMatchObject({ connectivity: 'UNREACHABLE', challengeTime: gone.challengeTime });
    expect(back.validUntil?.getTime()).toBeLessThanOrEqual(gone.validUntil?.getTime() ?? 0);
    // The index of placement is a moment behind.
    await eventually('selectable host', async () =>
      (await deployment.assay('placement', 'select')).code === 0 ? true : undefined,
    );

    // As if another release had judged it.
    await deployment.stop();
    const database = new DatabaseSync(join(deployment.directory, 'data', 'assay.db'));
    database.exec('UPDATE counter SET engine = engine - 1');
    database.close();
    await deployment.serve();
    const anew = await deployment.result(
      host.id,
      'verdict of this release',
      ({ status, revision }) => status === 'AFFIRMING' && revision > back.revision,
    );
    expect(anew).toMatchObject({ challengeTime: gone.challengeTime });
    const history = await deployment.operator.results.page({ hosts: [host.id] }, { history: true });
    expect(history.items.slice(0, 3).map(({ status }) => status)).toEqual(['AFFIRMING', 'NONE', 'AFFIRMING']);

    await deployment.operator.policies.delete('base');
    const none = await deployment.result(host.id, 'no policy', (found) => reasons(found).includes('POLICY_MISSING'));
    expect(none.status).toBe('NONE');
    expect((await deployment.assay('placement', 'select')).code).not.toBe(0);
  });
});
