import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fromJson } from '@bufbuild/protobuf';
import type { JsonValue } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { TrustPolicySchema } from '../proto/gen/assay/v1/trust_policy_pb.ts';
import { STATUS_CODES } from '../proto/status.ts';
import { AttestationError } from '../server/attestation/attestation-error.ts';
import { CONFIG_KEYS, parseConfig } from '../server/config.ts';
import { DEVIATION } from '../tpm/endorsement/deviation.ts';
import { EndorsementError } from '../tpm/endorsement/endorsement-error.ts';
import { EnrollmentError } from '../server/enrollment/enrollment-error.ts';
import { PlacementError } from '../server/placement/placement-error.ts';
import { everyClaim } from '../server/policy/claims-model.ts';
import { resolvePolicyDraft } from '../server/policy/policy.ts';
import { ReferenceImportError } from '../server/reference/import-error.ts';
import { WatchError } from '../server/result/watch-error.ts';
import { policyDraftFromProto } from '../server/rpc/convert-policy.ts';
import { translateError } from '../server/rpc/errors.ts';
import { StoreError } from '../server/store/store.ts';
import { LogError } from '../server/verifier/collect-logs.ts';
import { EVENT_LOG_CODES } from '../tpm/eventlog/finding.ts';
import { IMA_FINDING_SEVERITIES } from '../tpm/ima/findings.ts';
import { EvidenceError } from '../server/verifier/evidence-error.ts';
import { targetNames } from './fuzz/fuzz.ts';

const root = join(import.meta.dirname, '..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

const pages = readdirSync(join(root, 'docs'))
  .filter((name) => name.endsWith('.md'))
  .map((name) => `docs/${name}`);

/** The cells of every row of every table of a text that has the given headings, first to last. */
function rowsUnder(text: string, ...headings: readonly string[]): readonly (readonly string[])[] {
  const rows: (readonly string[])[] = [];
  let inside = false;
  for (const line of text.split('\n')) {
    const cells = line.startsWith('| ')
      ? line
          .slice(1, -1)
          .split('|')
          .map((cell) => cell.trim())
      : undefined;
    if (cells === undefined) inside = inside && line.startsWith('|---');
    else if (inside) rows.push(cells);
    else inside = headings.every((heading, index) => cells[index] === heading);
  }
  return rows;
}

/** The examples of a page in a language, with the first line as their name. */
function examplesOf(text: string, language: string): readonly { readonly name: string; readonly text: string }[] {
  const blocks = [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, 'gms'))];
  return blocks.map(([, block = '']) => ({ name: block.split('\n')[0] ?? '', text: block }));
}

function sourcesOf(...rooms: readonly string[]): readonly string[] {
  return rooms.flatMap((room) =>
    readdirSync(join(root, room), { recursive: true, encoding: 'utf8' })
      .map((path) => `${room}/${path}`)
      .filter((path) => path.endsWith('.ts') && !path.startsWith('proto/gen/')),
  );
}

/** The literals of a union type, as the source has them. */
function unionOf(path: string, name: string): readonly string[] {
  const body = new RegExp(`export type ${name} =([^;]*);`).exec(read(path))?.[1] ?? '';
  return [...body.matchAll(/'(\w+)'/g)].map(([, code]) => code ?? '');
}

const reasons = read('docs/reasons.md');
const ofCalls = new Map(rowsUnder(reasons, 'reason', 'gRPC code').map(([reason = '', code = '']) => [reason, code]));
const ofChecks = rowsUnder(reasons, 'reason', 'check').map(([reason = '']) => reason);
const ofOthers = rowsUnder(reasons, 'reason', 'meaning').map(([reason = '']) => reason);

describe('the page of reasons', () => {
  /** Findings about boot logs have a page of their own; a reason of a check may quote them. */
  const ofTransport = unionOf('server/verifier/collect-logs.ts', 'LogErrorCode');
  const ofLogs = new Set<string>([
    ...[...EVENT_LOG_CODES.keys()].filter((code) => !ofTransport.includes(code)),
    // As reasons they are found by their place.
    ...Object.keys(IMA_FINDING_SEVERITIES),
  ]);
  /** Words in capitals that are no reasons: of the TPM's own errors, and of the environment. */
  const others = new Set(['UNSUITABLE_KEY', 'ASSAYD_ROOT_KEY']);
  /** Reasons that the code puts together or that are one word, so that no pattern finds them. */
  const computed = unionOf('server/store/store.ts', 'StoreErrorCode').flatMap((code) => {
    const error = translateError(new StoreError(code as StoreError['code'], 'text'));
    return error === undefined ? [] : [error.reason];
  });

  const inSource = new Set(computed);
  for (const path of sourcesOf('server', 'proto', 'tpm/endorsement')) {
    const text = read(path);
    for (const [, word = ''] of text.matchAll(/'([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)'/g)) {
      const isReason = !(word in STATUS_CODES) && !(word in DEVIATION) && !ofLogs.has(word) && !others.has(word);
      if (isReason) inSource.add(word);
    }
    for (const [, word = ''] of text.matchAll(/reason: '([A-Z_]+)'/g)) inSource.add(word);
  }

  test('has every reason of the source', () => {
    const onPage = new Set([...ofCalls.keys(), ...ofChecks, ...ofOthers]);
    expect([...inSource].filter((reason) => !onPage.has(reason))).toEqual([]);
  });

  test('has no reason that no source has', () => {
    const onPage = [...ofCalls.keys(), ...ofChecks, ...ofOthers];
    expect(onPage.filter((reason) => !inSource.has(reason))).toEqual([]);
    expect(onPage.length).toBeGreaterThan(100);
  });

  test('has each reason once in a table', () => {
    const listed = rowsUnder(reasons, 'reason', 'gRPC code').map(([reason]) => reason);
    expect(new Set(listed).size).toBe(listed.length);
    expect(new Set(ofChecks).size).toBe(ofChecks.length);
  });

  const rooms: readonly (readonly [string, string, (code: never) => Error])[] = [
    ['server/enrollment/enrollment-error.ts', 'EnrollmentErrorCode', (code) => new EnrollmentError(code, 'text')],
    ['tpm/endorsement/verify-ek.ts', 'EkRefusalCode', (code) => new EnrollmentError(code, 'text')],
    ['tpm/endorsement/certificate-path.ts', 'PathRefusalCode', (code) => new EnrollmentError(code, 'text')],
    ['tpm/endorsement/ek-certificate.ts', 'ProfileRefusalCode', (code) => new EnrollmentError(code, 'text')],
    ['tpm/endorsement/key-sanity.ts', 'KeyRefusalCode', (code) => new EnrollmentError(code, 'text')],
    ['tpm/endorsement/verify-signature.ts', 'SignatureRefusalCode', (code) => new EnrollmentError(code, 'text')],
    ['tpm/endorsement/endorsement-error.ts', 'EndorsementErrorCode', (code) => new EndorsementError(code, 'text')],
    ['server/attestation/attestation-error.ts', 'AttestationErrorCode', (code) => new AttestationError(code, 'text')],
    ['server/verifier/evidence-error.ts', 'EvidenceErrorCode', (code) => new EvidenceError(code, 'text')],
    ['server/verifier/collect-logs.ts', 'LogErrorCode', (code) => new LogError(code, 'text')],
    ['server/reference/import-error.ts', 'ReferenceImportErrorCode', (code) => new ReferenceImportError(code, 'text')],
    ['server/result/watch-error.ts', 'WatchErrorCode', (code) => new WatchError(code, 'text')],
    ['server/placement/placement-error.ts', 'PlacementErrorCode', (code) => new PlacementError(code, 'text')],
    ['server/store/store.ts', 'StoreErrorCode', (code) => new StoreError(code, 'text')],
  ];

  test.each(rooms)('has the gRPC code of each error of %s (%s)', (path, union, make) => {
    const codes = unionOf(path, union);
    expect(codes.length).toBeGreaterThan(1);
    for (const code of codes) {
      const error = translateError(make(code as never));
      expect([error?.reason, ofCalls.get(error?.reason ?? '')?.split('; ')]).toEqual([
        error?.reason,
        expect.arrayContaining([error?.code]),
      ]);
    }
  });

  test('names codes of gRPC', () => {
    const codes = [...ofCalls.values()].flatMap((cell) => cell.split('; '));
    expect(codes.filter((code) => !(code in STATUS_CODES))).toEqual([]);
  });

  test('has the deviations of the source with their words', () => {
    const rows = rowsUnder(reasons, 'deviation', 'meaning').map(([code, meaning]) => [code, meaning]);
    expect(rows).toEqual(Object.entries(DEVIATION));
  });
});

describe('the page of the offline tools', () => {
  const page = read('docs/inspect.md');
  const listed = new Set(
    rowsUnder(page, 'code', 'severity', 'meaning').flatMap(([cell = '', severity = '']) =>
      cell.split(', ').map((code) => `${code} ${severity}`),
    ),
  );
  const found = sourcesOf('client/inspect').flatMap((path) =>
    [...read(path).matchAll(/offlineFinding\(\s*'([A-Z0-9_]+)',\s*'(\w+)'/g)].map(
      ([, code, severity]) => `${code} ${severity}`,
    ),
  );

  test('has the findings of the source with their severity', () => {
    const known = new Set([...listed, ...[...ofCalls.keys()].map((reason) => `${reason} error`)]);
    expect(found.filter((finding) => !known.has(finding))).toEqual([]);
    expect(found.length).toBeGreaterThan(5);
  });
});

describe('the page of policies', () => {
  const examples = examplesOf(read('docs/policy.md'), 'yaml');

  test('has examples', () => {
    expect(examples.length).toBeGreaterThan(2);
  });

  test.each(examples)('has an example that the service takes: $name', ({ text }) => {
    const documents = parseAllDocuments(text, { uniqueKeys: true });
    expect(documents.length).toBeGreaterThan(0);
    for (const document of documents) {
      const policy = fromJson(TrustPolicySchema, document.toJS() as JsonValue);
      expect(resolvePolicyDraft(policyDraftFromProto(policy))).toHaveProperty('policy');
    }
  });
});

describe('the page of operations', () => {
  const operations = read('docs/operations.md');

  test('has every configuration key with its default and meaning', () => {
    const table = operations.split('<!-- config:begin -->')[1]?.split('<!-- config:end -->')[0] ?? '';
    const rows = rowsUnder(table, 'key', 'default', 'meaning');
    const keys = Object.entries(CONFIG_KEYS);
    expect(rows).toEqual(keys.map(([key, row]) => [`\`${key}\``, `\`${JSON.stringify(row.default)}\``, row.meaning]));
  });

  test.each(examplesOf(operations, 'yaml'))('has a configuration that is taken: $name', ({ text }) => {
    expect(parseConfig(text, '/etc/assay/assayd.yaml').listen.port).toBeGreaterThan(0);
  });

  test('names reasons that exist', () => {
    const named = rowsUnder(operations, 'symptom', 'reason').flatMap(([, cell = '']) => cell.split(', '));
    const known = new Set(['–', ...ofCalls.keys(), ...ofChecks, ...ofOthers]);
    expect(named.filter((reason) => !known.has(reason))).toEqual([]);
    expect(named.length).toBeGreaterThan(10);
  });
});

describe('the page of clients in other languages', () => {
  const page = read('docs/sdks.md');

  // scripts/setup-examples.mjs runs what stands between the marks.
  test.each(readdirSync(join(root, 'examples')))('has the commands that build examples/%s', (name) => {
    const [, rest = ''] = page.split(`<!-- ${name}:begin -->\n\`\`\`sh\n`);
    const [commands = '', end = ''] = rest.split('```\n');
    expect(end.startsWith(`<!-- ${name}:end -->`)).toBe(true);
    expect(commands.split('\n')).toEqual(expect.arrayContaining([`cd examples/${name}`, 'npx buf generate']));
  });
});

describe('the threat model', () => {
  const text = read('docs/threat-model.md');
  const attacks = rowsUnder(text, 'attack', 'what stops it', 'test').map(([attack = '', , cell = '']) => ({
    attack,
    cell,
  }));

  test('names tests', () => {
    expect(attacks.length).toBeGreaterThan(30);
  });

  test.each(attacks)('names a test that exists: $attack', ({ cell }) => {
    const [, path = '', words = ''] = /^`(test\/[\w./-]+)`: (.+)$/.exec(cell) ?? [];
    expect(cell === '–' || read(path).includes(words)).toBe(true);
  });
});

describe('the page of checks', () => {
  const page = read('docs/checks.md');
  const rows = [
    ...rowsUnder(page, 'rule', 'refused in'),
    ...rowsUnder(page, 'check', 'what it refuses', 'test'),
    ...rowsUnder(page, 'attack', 'test'),
  ].map((row) => ({ what: row[0] ?? '', cell: row.at(-1) ?? '' }));

  test('has every part of what is enforced', () => {
    const parts = [
      'EK certificate',
      'AK',
      'Quote',
      'PCR values',
      'Time',
      'Boot log',
      'List of run-time measurements',
      'Limits',
      'Attacks on the boot',
    ];
    expect(parts.filter((part) => !page.includes(`\n## ${part}\n`))).toEqual([]);
    expect(rows.length).toBeGreaterThan(180);
  });

  test.each(rows)('names a test that exists: $what', ({ cell }) => {
    const [, path = '', words = ''] = /^`(test\/[\w./-]+)`: (.+)$/.exec(cell) ?? [];
    expect(words !== '' && read(path).includes(words)).toBe(true);
  });

  test('has every target of the fuzzing', async () => {
    const named = rowsUnder(page, 'target', 'corpus', 'inputs').map(([target = '']) => target.replaceAll('`', ''));
    expect(named).toEqual(await targetNames());
  });
});

describe('every page', () => {
  const texts = [...pages, 'CHANGELOG.md', ...(existsSync(join(root, 'README.md')) ? ['README.md'] : [])];

  /** As anchors are made of headings: lower case, punctuation gone, blanks to hyphens. */
  const anchorsOf = (text: string): ReadonlySet<string> =>
    new Set(
      [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
        heading
          .toLowerCase()
          .replace(/[^\p{L}\p{N}\s_-]/gu, '')
          .replace(/\s/g, '-'),
      ),
    );

  test.each(texts)('%s links to what exists', (page) => {
    const dead = [...read(page).matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = '']) => {
      if (/^[a-z]+:/.test(target)) return [];
      const [path = '', anchor] = target.split('#');
      const file = path === '' ? page : join(dirname(page), path);
      if (!existsSync(join(root, file))) return [target];
      return anchor === undefined || anchorsOf(read(file)).has(anchor) ? [] : [target];
    });
    expect(dead).toEqual([]);
  });

  test.each(texts)('%s names files of the tree that exist', (page) => {
    const named = [
      ...read(page).matchAll(/`((?:docs|proto|server|client|tpm|test|scripts|examples)\/[\w./-]+\.\w+)`/g),
    ];
    expect(named.map(([, path = '']) => path).filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });
});

describe('comments', () => {
  test('name pages that exist', () => {
    const dead = sourcesOf('proto', 'server', 'client', 'tpm', 'test').flatMap((path) =>
      [...read(path).matchAll(/\bdocs\/[\w-]+\.md/g)]
        .map(([page]) => page)
        .filter((page) => !existsSync(join(root, page)))
        .map((page) => `${path}: ${page}`),
    );
    expect(dead).toEqual([]);
  });
});

describe('the claims of expressions', () => {
  test('stand on the page of policies as in the code', () => {
    const table = read('docs/policy.md').split('<!-- claims:begin -->')[1]?.split('<!-- claims:end -->')[0] ?? '';
    const rows = rowsUnder(table, 'claim', 'type', 'meaning', 'when absent');
    expect(rows).toEqual(
      everyClaim().map(({ name, type, meaning, absent, pcrs }) => {
        const rests = pcrs === undefined ? '' : `; rests on PCR ${pcrs.join(', ')}`;
        return [`\`${name}\``, `\`${type}\``, `${meaning}${rests}`, absent === '' ? '–' : absent];
      }),
    );
    expect(rows.length).toBeGreaterThan(25);
  });
});
