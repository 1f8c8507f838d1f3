import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import {
  CONFIG_KEYS,
  ConfigError,
  makeRootKey,
  parseConfig,
  readConfig,
  readRootKey,
  writeConfig,
  writePrivateFile,
} from '../../server/config.ts';
import { fileProblem } from '../../server/file-problem.ts';

const FILE = '/etc/assay/assayd.yaml';

function problems(text: string): readonly string[] {
  try {
    parseConfig(text, FILE);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

describe('a configuration', () => {
  it.each(['', '# nothing but a comment\n', '---\n'])('of %j has every default', (text) => {
    expect(parseConfig(text, FILE)).toEqual({
      listen: { host: '0.0.0.0', port: 8443 },
      webListen: null,
      dataDirectory: '/etc/assay/assay-data',
      serverNames: ['localhost', '127.0.0.1'],
      rootKeyFile: '/etc/assay/assay-data/root.key',
      admission: ['certificate'],
      admissionBootPolicy: '',
      maxPendingHosts: 1000,
      pendingHostLifetime: 7 * 24 * 3_600,
      agentCertificateLifetime: 24 * 3_600,
      akCertificateLifetime: 30 * 24 * 3_600,
      identityCertificateLifetime: 90 * 24 * 3_600,
      historyRetention: 30 * 24 * 3_600,
      maxTokenTtl: 300,
      maxConnectionsPerAddress: 1000,
      reflection: true,
      logLevel: 'info',
    });
  });

  it('takes every key', () => {
    const text = `
listen: "[::1]:0"
web_listen: 192.0.2.1:8444
data_directory: /var/lib/assay
server_names: [assay.example.org, "*.example.org", 192.0.2.1, "2001:db8::1", assay.example.org]
root_key_file: keys/root.key
admission: [inventory, approval]
admission_boot_policy: secure-boot
max_pending_hosts: 20
pending_host_lifetime: 12h
agent_certificate_lifetime: 600s
ak_certificate_lifetime: 90m
identity_certificate_lifetime: 2h
history_retention: 7d
max_token_ttl: 1h
max_connections_per_address: 20000
reflection: false
log_level: debug
`;
    expect(parseConfig(text, FILE)).toEqual({
      listen: { host: '::1', port: 0 },
      webListen: { host: '192.0.2.1', port: 8444 },
      dataDirectory: '/var/lib/assay',
      serverNames: ['assay.example.org', '*.example.org', '192.0.2.1', '2001:db8::1'],
      rootKeyFile: '/etc/assay/keys/root.key',
      admission: ['inventory', 'approval'],
      admissionBootPolicy: 'secure-boot',
      maxPendingHosts: 20,
      pendingHostLifetime: 43_200,
      agentCertificateLifetime: 600,
      akCertificateLifetime: 5_400,
      identityCertificateLifetime: 7_200,
      historyRetention: 604_800,
      maxTokenTtl: 3_600,
      maxConnectionsPerAddress: 20_000,
      reflection: false,
      logLevel: 'debug',
    });
    expect(Object.keys(CONFIG_KEYS).filter((key) => !text.includes(`\n${key}: `))).toEqual([]);
  });

  it.each([
    ['listen: 8443', 'listen: '],
    ['listen: localhost', 'listen: '],
    ['listen: "localhost:99999"', 'listen: '],
    ['listen: ":8443"', 'listen: '],
    ['web_listen: 8444', 'web_listen: '],
    ['web_listen: localhost', 'web_listen: '],
    ['data_directory: [a]', 'data_directory: must be text'],
    ['data_directory: 7', 'data_directory: must be text'],
    ['server_names: []', 'server_names: must be a list of 1 to 64 entries'],
    ['server_names: localhost', 'server_names: must be a list of 1 to 64 entries'],
    ['server_names: [ok, "a b"]', 'server_names: entry 2 '],
    ['server_names: [7]', 'server_names: entry 1 '],
    ['admission: [certificate, anybody]', 'admission: entry 2 '],
    ['admission_boot_policy: trustPolicies/x', 'admission_boot_policy: must be the id of a trust policy'],
    ['admission: []', 'admission: must be a list of 1 to 64 entries'],
    ['admission:\n  certificate: true', 'admission: must be a list of 1 to 64 entries'],
    ['agent_certificate_lifetime: 24', 'agent_certificate_lifetime: '],
    ['agent_certificate_lifetime: 9m', 'agent_certificate_lifetime: '],
    ['agent_certificate_lifetime: 91d', 'agent_certificate_lifetime: '],
    ['agent_certificate_lifetime: 1w', 'agent_certificate_lifetime: '],
    ['agent_certificate_lifetime: -1h', 'agent_certificate_lifetime: '],
    ['ak_certificate_lifetime: 3651d', 'ak_certificate_lifetime: '],
    ['identity_certificate_lifetime: 0s', 'identity_certificate_lifetime: '],
    ['history_retention: 59m', 'history_retention: '],
    ['max_pending_hosts: 0', 'max_pending_hosts: must be a whole number from 1 to 1000000'],
    ['pending_host_lifetime: 59m', 'pending_host_lifetime: '],
    ['max_token_ttl: 9s', 'max_token_ttl: '],
    ['max_token_ttl: 61m', 'max_token_ttl: '],
    ['max_connections_per_address: 0', 'max_connections_per_address: must be a whole number from 1 to 50000'],
    ['server_names: [a..b]', 'server_names: entry 1 must be a DNS name or an address'],
    ['reflection: "yes"', 'reflection: must be true or false'],
    ['reflection: 1', 'reflection: must be true or false'],
    ['log_level: loud', 'log_level: must be one of '],
    ['Listen: x', '"Listen" is not a known key; known are listen, '],
    ['constructor: x', '"constructor" is not a known key; '],
    ['? [a]\n: b', '"" is not a known key; '],
  ])('of %j is refused with its line and what is wrong', (text, message) => {
    const found = problems(`# first line\n${text}\n`);
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(/^\/etc\/assay\/assayd\.yaml:[23]: /);
    expect(found[0]).toContain(message);
  });

  it('tells all its problems together, each with its line', () => {
    const text = ['listen: nowhere', 'admision: [certificate]', 'reflection: 3', '', 'log_level: [info]'].join('\n');
    expect(problems(text).map((problem) => problem.slice(FILE.length, FILE.length + 3))).toEqual([
      ':2:',
      ':1:',
      ':3:',
      ':5:',
    ]);
  });

  it.each([
    ['no YAML', 'listen: "unfinished', 1],
    ['a key twice', 'log_level: info\nlog_level: debug', 2],
    ['a list', '- listen', 1],
    ['a text', 'listen', 1],
  ])('of %s is refused', (_name, text, line) => {
    const found = problems(text);
    expect(found.length).toBeGreaterThan(0);
    expect(found[0]).toContain(`${FILE}:${line}: `);
  });
});

describe('files', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'assay-config-'));
    vi.stubEnv('ASSAYD_ROOT_KEY', undefined);
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(directory, { recursive: true, force: true });
  });
  const random = (size: number): Buffer => Buffer.alloc(size, 0xab);
  const configOf = (text: string) => parseConfig(text, join(directory, 'assayd.yaml'));

  it('a configuration that is not there is a problem with its name', () => {
    const file = join(directory, 'none.yaml');
    expect(() => readConfig(file)).toThrow(
      expect.objectContaining({
        problems: [
          expect.stringMatching(/none\.yaml is not there: assayd init writes a first one, and --config names another$/),
        ],
      }),
    );
  });

  it('a written configuration reads as it was meant, and shows every other key as a comment', () => {
    const file = join(directory, 'new', 'assayd.yaml');
    writeConfig(file, { data_directory: '/data', server_names: ['a.example'], admission: ['approval'] });
    expect(readConfig(file)).toMatchObject({
      dataDirectory: '/data',
      serverNames: ['a.example'],
      admission: ['approval'],
      logLevel: 'info',
    });
    const text = readFileSync(file, 'utf8');
    for (const [key, { meaning }] of Object.entries(CONFIG_KEYS)) {
      expect(text).toContain(`# ${meaning}\n`);
      expect(text).toMatch(new RegExp(`^(?:# )?${key}: `, 'm'));
    }
    expect(readConfig(file)).toEqual(parseConfig(text.replaceAll(/^# (\w+: )/gm, '$1'), file));
  });

  it('a written configuration never overwrites one', () => {
    const file = join(directory, 'assayd.yaml');
    writeConfig(file, {});
    const problems = [`${file} is there already: name another`];
    expect(() => writeConfig(file, {})).toThrow(expect.objectContaining({ problems }));
  });

  it('a root key is made once, readable by its owner alone', () => {
    const config = configOf('data_directory: data');
    makeRootKey(config, random);
    expect(readRootKey(config)).toEqual({ version: 1, secret: Buffer.alloc(32, 0xab) });
    expect(statSync(config.rootKeyFile).mode & 0o777).toBe(0o600);
    expect(statSync(join(directory, 'data')).mode & 0o777).toBe(0o700);
    makeRootKey(config, () => Buffer.alloc(32, 1));
    expect(readRootKey(config).secret).toEqual(Buffer.alloc(32, 0xab));
  });

  it('a root key of the environment wins, and none is made then', () => {
    const config = configOf('');
    vi.stubEnv('ASSAYD_ROOT_KEY', `${'cd'.repeat(32)}\n`);
    makeRootKey(config, random);
    expect(existsSync(config.rootKeyFile)).toBe(false);
    expect(readRootKey(config).secret).toEqual(Buffer.alloc(32, 0xcd));
  });

  it.each([
    ['empty', ''],
    ['short', 'ab'.repeat(31)],
    ['long', 'ab'.repeat(33)],
    ['no hex', 'zz'.repeat(32)],
    ['partly hex', `${'ab'.repeat(31)}zz`],
  ])('a root key that is %s is refused, and not shown', (_name, key) => {
    const config = configOf('root_key_file: key');
    writeFileSync(config.rootKeyFile, key);
    expect(() => readRootKey(config)).toThrow(`${config.rootKeyFile}: must hold 64 hex digits`);
    vi.stubEnv('ASSAYD_ROOT_KEY', key);
    expect(() => readRootKey(config)).toThrow('ASSAYD_ROOT_KEY: must hold 64 hex digits');
  });

  it('a root key that is missing is a problem with its name', () => {
    const config = configOf('');
    const problems = [
      expect.stringMatching(/^the root key.* cannot be read: .*root\.key is not there: put the right file back$/),
    ];
    expect(() => readRootKey(config)).toThrow(expect.objectContaining({ name: 'ConfigError', problems }));
  });

  it('a private file is never overwritten', () => {
    const file = join(directory, 'secret');
    writePrivateFile(file, 'one');
    const problems = [`${file} is there already: name another`];
    expect(() => writePrivateFile(file, 'two')).toThrow(expect.objectContaining({ name: 'ConfigError', problems }));
    expect(readFileSync(file, 'utf8')).toBe('one');
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it('a file that cannot be written is named, with what can be done about it', () => {
    const file = join(directory, 'file');
    writePrivateFile(file, 'one');
    const below = [expect.stringMatching(/file.* lies below what is no folder: name another path$/)];
    expect(() => writePrivateFile(join(file, 'below', 'x'), 'two')).toThrow(
      expect.objectContaining({ problems: below }),
    );
    const long = [expect.stringMatching(/^\/.*x has too long a name: name another path$/)];
    expect(() => writePrivateFile(join(directory, 'x'.repeat(300)), 'two')).toThrow(
      expect.objectContaining({ problems: long }),
    );
    // The system names no file where it fails to write into one that is open.
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    expect(fileProblem(full, file)).toBe(`${file} cannot be written, for the disk is full: make room and try again`);
  });
});

describe('docs/operations.md', () => {
  const text = readFileSync(join(import.meta.dirname, '..', '..', 'docs', 'operations.md'), 'utf8');
  const table = /<!-- config:begin -->\n([\s\S]*?)<!-- config:end -->/.exec(text)?.[1] ?? '';
  const rows = table
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .slice(2)
    .map((line) => line.split('|').map((cell) => cell.trim()));

  it('has a row for each key, in their order, and no other', () => {
    expect(rows.map(([, key]) => key)).toEqual(Object.keys(CONFIG_KEYS).map((key) => `\`${key}\``));
  });

  it.each(Object.entries(CONFIG_KEYS))('shows default and meaning of %s', (key, row) => {
    const [, , shown, meaning] = rows.find(([, name]) => name === `\`${key}\``) ?? [];
    expect(shown).toBe(`\`${JSON.stringify(row.default)}\``);
    expect(meaning).toBe(row.meaning);
  });

  it('shows an example that is a configuration', () => {
    const examples = [...text.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, example]) => example ?? '');
    const own = examples.filter((example) => /^listen:/m.test(example));
    expect(own.length).toBeGreaterThan(0);
    for (const example of own) expect(problems(example)).toEqual([]);
  });
});
