/** The calls of the README's debugging section, run as they stand there by programs that know nothing of this project. */
import { execFile, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { makeBareCertificate, makeTlsKey } from '../../client/agent/tls-key.ts';
import { toPem } from '../../proto/tls-identity.ts';
import { Tpm } from '../../tpm/device/tpm.ts';
import { AttestedHost } from '../support/attested-host.ts';
import { Deployment, policy } from '../support/deployment.ts';
import { eventually, RunningProgram } from '../support/programs.ts';

const execute = promisify(execFile);
const checkout = join(import.meta.dirname, '..', '..');
const grpcurl = process.env['ASSAY_GRPCURL'];

let deployment: Deployment;
let host: AttestedHost;
/** The variables that the README names. */
let variables: Record<string, string>;

beforeAll(async () => {
  deployment = await Deployment.start();
  await deployment.operator.policies.apply(policy('base'));
  host = await AttestedHost.enrolled(deployment);
  host.runAgent();
  const file = (name: string): string => join(deployment.directory, name);
  variables = {
    PROFILE: deployment.profile,
    SERVER: deployment.server,
    CA: file('authority.pem'),
    CERT: file('certificate.pem'),
    KEY: file('key.pem'),
    HOST: `hosts/${host.id}`,
    ...(await publicAreas()),
  };
  const [extract] = await documentedLines('(umask 077; for part in authority certificate key;');
  if (extract !== undefined) await call(extract);
  // Last, since a new trust anchor takes every verdict back until the host was judged with it.
  await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
});

afterAll(async () => {
  await host?.[Symbol.asyncDispose]();
  await deployment?.[Symbol.asyncDispose]();
});

/** What another TPM would send. */
async function publicAreas() {
  await using other = await AttestedHost.start();
  await deployment.trust(other.tpm.caCertificates);
  await using tpm = await Tpm.open({ tcti: other.tpm.tcti });
  const [ek] = await tpm.endorsementKeys();
  if (ek === undefined) throw new Error('the TPM has no endorsement key');
  const { publicBlob } = await tpm.createAk(ek);
  return {
    EK: ek.publicArea.toString('base64'),
    EK_CERT: ek.certificate?.toString('base64') ?? '',
    // A TPM2B_PUBLIC: the size stands before the public area.
    AK: publicBlob.subarray(2).toString('base64'),
  };
}

async function documentedLines(beginning: string): Promise<readonly string[]> {
  const readme = await readFile(join(checkout, 'README.md'), 'utf8');
  const block = /<!-- grpcurl:begin -->([\s\S]*)<!-- grpcurl:end -->/.exec(readme)?.[1] ?? '';
  return block.split('\n').filter((line) => line.startsWith(beginning));
}

async function documentedCall(ending: string): Promise<string> {
  const calls = (await documentedLines('grpcurl ')).filter((line) => line.endsWith(ending));
  expect(calls, `calls in the README that end with ${ending}`).toHaveLength(1);
  return calls[0] ?? '';
}

/** One way to run such a line of the README. */
interface Caller {
  readonly name: string;
  readonly line: (documented: string) => string;
}

const CALLERS: readonly Caller[] = [
  ...(grpcurl === undefined ? [] : [{ name: 'grpcurl', line: (documented: string) => documented }]),
  { name: 'buf curl', line: asBufCurl },
];

/** The same call by `buf curl`, which has the method in its URL and lists by an option. */
function asBufCurl(documented: string): string {
  const [, options = '', target = ''] = /^grpcurl (.*)\$SERVER (.*)$/.exec(documented) ?? [];
  const flags = options.replaceAll(/-(cacert|cert|key) /g, '--$1 ');
  if (target === 'list') return `buf curl ${flags} --protocol grpc --list-services https://$SERVER`;
  if (target.startsWith('describe ')) return `buf curl ${flags} --protocol grpc --list-methods https://$SERVER`;
  const data = options.includes('-d ') ? '' : "-d '{}'";
  return `buf curl ${flags} ${data} --protocol grpc https://$SERVER/${target}`;
}

function environment(others: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const path = [...(grpcurl === undefined ? [] : [dirname(grpcurl)]), bufFolder(), process.env['PATH']];
  return { ...process.env, ...variables, ...others, PATH: path.join(delimiter) };
}

/** Where npm has put the program that node_modules/.bin/buf runs as its child. */
function bufFolder(): string {
  const folder = join(checkout, 'node_modules', '@bufbuild');
  const [binary] = readdirSync(folder).filter((name) => name.startsWith('buf-'));
  return join(folder, binary ?? '', 'bin');
}

async function call(line: string, others?: Readonly<Record<string, string>>): Promise<string> {
  const { stdout } = await execute('sh', ['-c', line], { cwd: deployment.directory, env: environment(others) });
  return stdout;
}

/** The JSON documents of an output, one behind the other. */
function documents(text: string): readonly unknown[] {
  return text
    .split(/^(?=\{)/m)
    .filter((part) => /^\}\s*$/m.test(part) || /^\{.*\}\s*$/.test(part))
    .map((part) => JSON.parse(part) as unknown);
}

describe('the debugging section of the README', () => {
  it('makes PEM files of a profile, for their owner alone', async () => {
    const profile = JSON.parse(await readFile(deployment.profile, 'utf8')) as Record<string, string>;
    expect((await readFile(variables['KEY'] ?? '', 'utf8')).trim()).toBe(profile['key']?.trim());
    expect((await stat(variables['KEY'] ?? '')).mode & 0o777).toBe(0o600);
  });

  it('has calls by grpcurl, and grpcurl is here where it could be built', async () => {
    expect((await documentedLines('grpcurl ')).length).toBeGreaterThanOrEqual(5);
    const hasGo = spawnSync('go', ['version']).status === 0;
    if (process.env['CI'] === 'true' && hasGo) expect(grpcurl, 'npm test builds grpcurl').toBeDefined();
  });

  describe.each(CALLERS)('by $name', ({ name, line }) => {
    it('lists the services', async () => {
      const services = (await call(line(await documentedCall('list')))).trim().split('\n');
      expect(services).toEqual(expect.arrayContaining(['assay.v1.EnrollmentService', 'grpc.health.v1.Health']));
    });

    it('describes a service', async () => {
      const described = await call(line(await documentedCall('describe assay.v1.AttestationResultService')));
      expect(described).toContain('WatchAttestationResults');
      if (name === 'grpcurl') expect(described).toContain('ROLE_RELYING_PARTY');
    });

    it('reads the verdict on a host', async () => {
      const [answer] = documents(await call(line(await documentedCall('/GetAttestationResult'))));
      expect(answer).toMatchObject({ result: { host: `hosts/${host.id}`, status: 'TRUST_STATUS_AFFIRMING' } });
    });

    it('begins an enrolment, as anybody', async () => {
      const documented = line(await documentedCall('/BeginEnrollment'));
      const key = makeTlsKey();
      const certificate = await makeBareCertificate(key, { now: new Date(), serial: randomBytes(16) });
      const CERT = join(deployment.directory, 'self-signed.pem');
      const KEY = join(deployment.directory, 'self-signed.key');
      await writeFile(CERT, toPem(certificate));
      await writeFile(KEY, key);
      for (const others of [{}, { CERT, KEY }]) {
        const [answer] = documents(await call(documented, others));
        expect(answer).toMatchObject({ credentials: [{ credentialBlob: expect.stringMatching(/^[\w+/]+=*$/) }] });
      }
    });

    it('watches verdicts as they change', async () => {
      const watching = line(await documentedCall('/WatchAttestationResults'));
      // In the place of the shell, so that it is the caller itself that is ended.
      await using watch = new RunningProgram('sh', ['-c', `exec ${watching}`], { env: environment() });
      await eventually('present results', () => (watch.stdout.includes('synced') ? true : undefined));
      const label = `seen-by-${name.replace(' ', '-')}`;
      await deployment.operator.hosts.update(host.id, { labels: { watched: label } });
      await eventually(
        'change',
        () => (watch.stdout.includes(label) ? true : undefined),
        () => watch.stdout + watch.stderr,
      );
      const messages = documents(watch.stdout);
      expect(messages[0]).toMatchObject({ change: { initial: true } });
      expect(messages.some((message) => JSON.stringify(message).includes('"synced":true'))).toBe(true);
      await deployment.result(host.id, 'affirmed host', ({ status }) => status === 'AFFIRMING');
    });
  });
});
