import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Deployment } from '../support/deployment.ts';
import { run } from '../support/programs.ts';

let deployment: Deployment;
beforeAll(async () => {
  deployment = await Deployment.start({});
});
afterAll(async () => {
  await deployment[Symbol.asyncDispose]();
});

const here = (name: string): string => join(deployment.directory, name);
const asProfile = (profile: string) => run('assay', ['host', 'list', '--profile', profile]);

describe("an operator's profile", () => {
  it('goes on to be good after a second init, wherever it was moved', async () => {
    const moved = here('moved.json');
    await deployment.stop();
    await rename(deployment.profile, moved);
    const again = await run('assayd', ['init', '--config', deployment.configuration]);
    expect(again).toMatchObject({ code: 0, stderr: '' });
    expect(again.stdout).toContain('assayd operator');
    await expect(readFile(deployment.profile)).rejects.toMatchObject({ code: 'ENOENT' });
    // Not made anew; brought back for the tests that follow.
    await rename(moved, deployment.profile);
    await deployment.serve();
    expect((await asProfile(deployment.profile)).code).toBe(0);
  });

  it('is not ended by one that cannot be written, and is by one that is', async () => {
    await deployment.stop();
    const taken = here('taken.json');
    await writeFile(taken, 'something else');
    const refused = await run('assayd', ['operator', 'operator', '--out', taken, '--config', deployment.configuration]);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain('is there already');
    expect(await readFile(taken, 'utf8')).toBe('something else');
    await deployment.serve();
    expect((await asProfile(deployment.profile)).code).toBe(0);

    await deployment.stop();
    const next = here('next.json');
    const issued = await run('assayd', ['operator', 'operator', '--out', next, '--config', deployment.configuration]);
    expect(issued).toMatchObject({ code: 0, stderr: '' });
    await deployment.serve();
    expect((await asProfile(next)).code).toBe(0);
    expect((await asProfile(deployment.profile)).code).toBe(4);
  });

  it.each([
    ['a name that is none', ['operator', 'Bad Name!'], 'is no name of an identity'],
    ['no name', ['operator'], "missing required argument 'name'"],
  ])('is not issued for %s', async (_name, args, message) => {
    const ended = await run('assayd', [...args, '--out', here('none.json'), '--config', deployment.configuration]);
    expect(ended.code).toBeGreaterThan(0);
    expect(ended.stderr).toContain(message);
    expect(ended.stderr).not.toContain('    at ');
  });
});

describe('the audit log', () => {
  it('is printed as JSON lines whose chain holds, while the service is stopped', async () => {
    await deployment.stop();
    const ended = await run('assayd', ['audit', '--config', deployment.configuration]);
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    const records = ended.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { readonly sequence: number; readonly action: string });
    expect(records.map(({ sequence }) => sequence)).toEqual(records.map((_, index) => index + 1));
    expect(records.map(({ action }) => action)).toContain('identity.issue');
  });
});
