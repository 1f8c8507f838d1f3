/** A client in Python that was made from the proto files and docs/protocol.md alone speaks to the real service. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Deployment, policy, reasons } from '../support/deployment.ts';
import { eventually, RunningProgram } from '../support/programs.ts';
import type { Ended } from '../support/programs.ts';

const execute = promisify(execFile);
const checkout = join(import.meta.dirname, '..', '..');
const source = join(checkout, 'test', 'other-language', 'python');
const vectors = join(checkout, 'test', 'vectors', 'transcripts.json');
/** `npm test` makes it where Python is. */
const python = process.env['ASSAY_PYTHON'];

it.runIf(process.env['CI'] === 'true')('Python and what the client needs are here', () => {
  expect(python, 'npm test makes a virtual environment where Python 3.10 or newer is').toBeDefined();
});

describe.runIf(python)('a client in Python', () => {
  let folder: string;
  let deployment: Deployment;
  let id: string;

  beforeAll(async () => {
    const cache = join(checkout, '.cache');
    await mkdir(cache, { recursive: true });
    folder = await mkdtemp(join(cache, 'other-language-'));
    const files = (await readdir(join(checkout, 'proto', 'assay', 'v1'))).map((name) => `assay/v1/${name}`);
    const outputs = [`--python_out=${folder}`, `--grpc_python_out=${folder}`];
    await execute(python ?? '', ['-m', 'grpc_tools.protoc', '-I', join(checkout, 'proto'), ...outputs, ...files]);

    deployment = await Deployment.start({ admission: ['inventory'] });
    await deployment.operator.policies.apply(policy('base'));
    const { fingerprints } = (await call('agent', 'manufacture')) as { fingerprints: readonly string[] };
    await deployment.operator.endorsements.importInventory(fingerprints.map((fingerprint) => ({ fingerprint })));
    const { enrolled } = await call('agent', 'enroll', deployment.server, deployment.fingerprint);
    id = (enrolled as { name: string }).name.slice('hosts/'.length);
  });

  afterAll(async () => {
    await deployment?.[Symbol.asyncDispose]();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  function start(program: string, args: readonly string[]): RunningProgram {
    const env = { PYTHONPATH: folder, PYTHONPYCACHEPREFIX: folder, PYTHONUTF8: '1' };
    return new RunningProgram(python ?? '', [join(source, program), ...args], { env });
  }

  function agent(state: string, ...args: readonly string[]): RunningProgram {
    return start('agent.py', ['--state', join(folder, `${state}.json`), ...args]);
  }

  /** Runs an agent with a TPM of its own to its end and answers what it printed last. */
  async function call(state: string, ...args: readonly string[]): Promise<Readonly<Record<string, unknown>>> {
    await using program = agent(state, ...args);
    const ended = await program.end();
    expect(ended, ended.stderr + ended.stdout).toMatchObject({ code: 0 });
    return last(ended);
  }

  function last({ stdout }: Ended): Readonly<Record<string, unknown>> {
    const line = stdout.trimEnd().split('\n').at(-1) ?? '';
    return line === '' ? {} : (JSON.parse(line) as Record<string, unknown>);
  }

  it('computes every digest as the vectors have it', async () => {
    await using program = start('vectors.py', [vectors]);
    const file = JSON.parse(await readFile(vectors, 'utf8')) as { vectors: Record<string, readonly Vector[]> };
    const wanted = Object.entries(file.vectors).map(
      ([group, list]) => [group, list.map(({ name, encoded, output }) => ({ name, encoded, output }))] as const,
    );
    expect(wanted.flatMap(([, list]) => list).length).toBeGreaterThanOrEqual(20);
    expect(last(await program.end())).toEqual(Object.fromEntries(wanted));
  });

  it('has enrolled a host by both of its EKs', async () => {
    const { json } = await deployment.operator.hosts.get(id);
    expect(json).toMatchObject({
      state: 'HOST_STATE_ACTIVE',
      admission: 'inventory',
      endorsementKeys: [{ algorithm: 'RSA-2048' }, { algorithm: expect.stringContaining('384') }],
      claimed: { hostname: 'größe.example.org' },
    });
  });

  it('refuses a service of another pin', async () => {
    await using program = agent('agent', 'enroll', deployment.server, `sha256:${'0'.repeat(64)}`);
    const ended = await program.end();
    expect(ended.code).toBe(2);
    expect(last(ended)).toEqual({ refused: 'the service is not the pinned one' });
  });

  it('reads the reason of an error', async () => {
    await call('stranger', 'manufacture');
    await using program = agent('stranger', 'enroll', deployment.server, deployment.fingerprint);
    const ended = await program.end();
    expect(ended.code).toBe(1);
    expect(last(ended)).toMatchObject({
      error: { code: 'PERMISSION_DENIED', reason: expect.any(String), domain: 'assay.v1' },
    });
  });

  it('is attested on a stream, and its verdict is AFFIRMING', async () => {
    await using program = agent('agent', 'attest', '--rounds', '3');
    const ended = await program.end();
    expect(ended, ended.stderr + ended.stdout).toMatchObject({ code: 0 });
    expect(last(ended)).toMatchObject({ result: { host: `hosts/${id}`, status: 'TRUST_STATUS_AFFIRMING' } });
    expect(program.objects).toHaveLength(3);
  });

  it('renews its client certificate, and comes back under the new key', async () => {
    const { renewed } = await call('agent', 'attest', '--renew');
    expect(renewed).toMatch(/^[0-9a-f]{64}$/);
    expect(await call('agent', 'attest')).toMatchObject({ result: { status: 'TRUST_STATUS_AFFIRMING' } });
  });

  it('is attested in one round without a stream', async () => {
    const { result } = await call('agent', 'attest-once');
    expect(result).toMatchObject({ host: `hosts/${id}`, status: 'TRUST_STATUS_AFFIRMING' });
  });

  it('watches the verdict turn when it extends a PCR, and resumes the watch behind what it had seen', async () => {
    await using watch = start('agent.py', ['watch', deployment.profile, id, 'CONTRAINDICATED']);
    await eventually('present results', () => (watch.stdout.includes('"synced": true') ? true : undefined));
    await call('agent', 'extend', '16');
    expect(await call('agent', 'attest')).toMatchObject({ result: { status: 'TRUST_STATUS_CONTRAINDICATED' } });

    const ended = await watch.end();
    const events = watch.objects as readonly { readonly event: { readonly resumeToken?: string } }[];
    expect(ended.code).toBe(0);
    expect(events[0]).toMatchObject({ event: { change: { initial: true, result: { host: `hosts/${id}` } } } });
    const turn = { change: { result: { host: `hosts/${id}`, status: 'TRUST_STATUS_CONTRAINDICATED' } } };
    expect(events.at(-1)).toMatchObject({ event: turn });

    const token = events.find(({ event }) => event.resumeToken !== undefined)?.event.resumeToken ?? '';
    await using again = start('agent.py', [
      ...['watch', deployment.profile, id, 'CONTRAINDICATED'],
      ...['--resume-token', token],
    ]);
    expect(last(await again.end())).toMatchObject({ event: turn });
    expect(again.stdout).not.toContain('"initial": true');
    // Beside it RESULT_EXPIRED may stand by now: nobody attests any more.
    expect(reasons(await deployment.operator.results.get(id))).toContain('PCR_MISMATCH');
  });

  it('learns the reason when its stream ends because the host was revoked', async () => {
    await using program = agent('agent', 'attest', '--rounds', '1000');
    await eventually('result', () => (program.stdout.includes('"result"') ? true : undefined));
    await deployment.operator.hosts.revoke(id, 'a test');
    const ended = await program.end();
    expect(ended.code).toBe(1);
    expect(last(ended)).toMatchObject({ error: { code: 'PERMISSION_DENIED', reason: 'HOST_REVOKED' } });
  });
});

interface Vector {
  readonly name: string;
  readonly encoded: string;
  readonly output: string;
}
