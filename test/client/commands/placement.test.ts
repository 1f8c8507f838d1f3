import { beforeEach, expect, test } from 'vitest';
import { Shell } from '../support/shell.ts';

const hostId = `h-${'a'.repeat(26)}`;

let shell: Shell;

beforeEach(async () => {
  shell = await Shell.open();
});

const placed = {
  host: `hosts/${hostId}`,
  nodeName: 'rack-1\u001b[2J',
  revision: 7n,
  status: 'CONTRAINDICATED',
  trustPolicy: 'trustPolicies/base',
  trustPolicyVersion: 3n,
  challengeTime: undefined,
  validUntil: undefined,
  connectivity: 'CONNECTED',
  labels: {},
};

test('placement asks for what its options say, and tells refused hosts with their reasons', async () => {
  const asked: unknown[] = [];
  shell.client = {
    placement: {
      select: async (...args: unknown[]) => {
        asked.push(args.slice(0, 2));
        const refused = [{ host: placed, reasons: ['STATUS_CONTRAINDICATED'], checkReasons: ['PCR_MISMATCH'] }];
        const refusalCounts = [{ reason: 'STATUS_CONTRAINDICATED', count: 1 }];
        return { hosts: [], selectableCount: 0, refused, refusalCounts, answerTime: undefined, json: {} };
      },
    },
  };
  const args = ['--tier', 'warning', '--policy', 'base', '--policy-version', '2', '--max-age', '90', '--label', 'a=b'];
  const wanted = ['--count', '3', '--spread-by', 'rack', '--order', 'longest-valid', '--explain', '5'];
  const excluded = [
    '--exclude-host',
    hostId,
    '--exclude-node',
    'n',
    '--exclude-label',
    'x=1',
    '--exclude-label',
    'x=2',
  ];
  expect(await shell.assay('placement', 'select', ...args, ...wanted, ...excluded)).toBe(5);
  expect(asked).toEqual([
    [
      {
        minimumTier: 'WARNING',
        trustPolicy: 'base',
        minimumPolicyVersion: 2n,
        maximumAgeMillis: 90_000,
        matchLabels: { a: 'b' },
        exclude: {
          hosts: [hostId],
          nodeNames: ['n'],
          labels: [
            { key: 'x', value: '1' },
            { key: 'x', value: '2' },
          ],
        },
      },
      { count: 3, spreadBy: 'rack', order: 'LONGEST_VALID', explain: 5 },
    ],
  ]);
  expect(shell.out).toContain('no host is selectable\n');
  expect(shell.out).toMatch(/rack-1\\u\{1b\}\[2J +CONTRAINDICATED +STATUS_CONTRAINDICATED \(PCR_MISMATCH\)/);
});

test.each([
  [hostId, { host: hostId }],
  [`hosts/${hostId}`, { host: `hosts/${hostId}` }],
  ['hosts/h-xyz', { host: 'hosts/h-xyz' }],
  ['h-1.example', { nodeName: 'h-1.example' }],
])('placement check takes %s for what it is, and its exit code says the answer', async (name, named) => {
  const asked: unknown[] = [];
  let selectable = false;
  shell.client = {
    placement: {
      check: async (given: unknown) => {
        asked.push(given);
        return { selectable, host: placed, reasons: [], checkReasons: [], answerTime: undefined, json: {} };
      },
    },
  };
  expect(await shell.assay('placement', 'check', name)).toBe(5);
  selectable = true;
  expect(await shell.assay('placement', 'check', name)).toBe(0);
  expect(asked).toEqual([named, named]);
  expect(shell.out).toMatch(/selectable: +yes/);
});

test('placement asks for tokens where there is room for them', async () => {
  const asked: unknown[] = [];
  shell.client = {
    placement: {
      check: async (...args: unknown[]) => {
        asked.push((args[2] as { token?: unknown }).token);
        return { selectable: true, host: placed, reasons: [], checkReasons: [], answerTime: undefined, json: {} };
      },
    },
  };
  const nonce = Buffer.alloc(8, 1);
  const signed = ['--token', '--audience', 'rp', '--nonce', nonce.toString('base64url')];
  expect(await shell.assay('placement', 'check', 'n', ...signed, '--output', 'json')).toBe(0);
  expect(asked).toEqual([{ audience: 'rp', nonce }]);
  expect(await shell.assay('placement', 'check', 'n', ...signed)).toBe(2);
  expect(await shell.assay('placement', 'check', 'n', ...signed.slice(1))).toBe(2);
  expect(asked).toHaveLength(1);
});

test.each([
  ['select', '--count', '0'],
  ['select', '--max-age', '0'],
  ['check', 'n', '--max-age', '-1'],
])('placement %s refuses %s %s', async (...args) => {
  expect(await shell.assay('placement', ...args)).toBe(2);
});
