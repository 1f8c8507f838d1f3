import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { rules } from './support/architecture.ts';
import { parseSourceFile, readSourceTree } from './support/source-file.ts';

const tree = readSourceTree(join(import.meta.dirname, '..'));

describe('the code as it stands', () => {
  test('is found', () => {
    expect(tree.map(({ path }) => path)).toContain('test/architecture.test.ts');
  });

  test.each(rules)('$name', ({ check }) => {
    expect(check(tree)).toEqual([]);
  });
});

/** Files (path → text) that hold every rule but those named. */
interface Fixture {
  readonly title: string;
  readonly files: Readonly<Record<string, string>>;
  readonly broken: readonly string[];
}

const violations: readonly Fixture[] = [
  one('a file beside the rooms', 'tpm/stray.ts', '', 'every file of the programs stands in a room'),
  one(
    'codec that knows structures',
    'tpm/codec/reader.ts',
    `import type { A } from '../structures/a.ts';`,
    'tpm/codec imports',
  ),
  one(
    'structures that compute',
    'tpm/structures/a.ts',
    `import { b } from '../crypto/name.ts';`,
    'tpm/structures imports',
  ),
  one('crypto that reads logs', 'tpm/crypto/a.ts', `export { b } from '../ima/parse.ts';`, 'tpm/crypto imports'),
  one('one log that reads the other', 'tpm/eventlog/a.ts', `import '../ima/parse.ts';`, 'tpm/eventlog imports'),
  one('ima that knows the device', 'tpm/ima/a.ts', `import { tpm } from '../device/tpm.ts';`, 'tpm/ima imports'),
  one(
    'a certificate that is judged by a log',
    'tpm/endorsement/a.ts',
    `import { b } from '../eventlog/parse.ts';`,
    'tpm/endorsement imports',
  ),
  one(
    'a device that judges a log',
    'tpm/device/a.ts',
    `import { b } from '../eventlog/parse.ts';`,
    'tpm/device imports',
  ),
  one(
    'tpm that knows the contract',
    'tpm/crypto/a.ts',
    `import { b } from '../../proto/transcript.ts';`,
    'tpm/crypto imports',
  ),
  one('proto that knows tpm', 'proto/transcript.ts', `import { b } from '../tpm/crypto/name.ts';`, 'proto imports'),
  one('a server that reads the client', 'server/main.ts', `type A = import('../client/sdk/a.ts').A;`, 'server imports'),
  one('a server that opens a TPM', 'server/main.ts', `await import('../tpm/device/tpm.ts');`, 'server imports'),
  one(
    'a client that reads the server',
    'client/main.ts',
    `import { b } from '../server/store/a.ts';`,
    'client imports',
  ),
  one('a program that uses test code', 'client/main.ts', `import { b } from '../test/support/a.ts';`, 'client imports'),
  one(
    'wire shapes in the policy',
    'server/policy/a.ts',
    `import type { A } from '../../proto/gen/a_pb.ts';`,
    'generated protobuf',
  ),
  one(
    'wire shapes in the agent',
    'client/agent/a.ts',
    `import type { A } from '../../proto/gen/a_pb.ts';`,
    'generated protobuf',
  ),
  one('grpc-js in an RPC file', 'server/rpc/a.ts', `import { status } from '@grpc/grpc-js';`, 'grpc-js'),
  one('native code in the client', 'client/agent/a.ts', `import { load } from 'koffi';`, 'native code'),
  one('files in the verifier', 'server/verifier/a.ts', `import { readFile } from 'node:fs/promises';`, 'files'),
  one('files by their old name', 'tpm/ima/a.ts', `import { readFileSync } from 'fs';`, 'files'),
  one('files by require', 'tpm/ima/a.ts', `const fs = require('node:fs');`, 'files'),
  one('a process in a command', 'client/commands/a.ts', `import { spawn } from 'node:child_process';`, 'processes'),
  one('the environment', 'server/rpc/a.ts', `export const port = process.env['PORT'];`, 'the environment'),
  one('the environment, taken apart', 'server/rpc/a.ts', `const { env } = process;`, 'the environment'),
  one('the environment, imported', 'server/rpc/a.ts', `import { env } from 'node:process';`, 'the environment'),
  one('the time of day', 'server/result/a.ts', `export const at = Date.now();`, 'the clock'),
  one('a date of now', 'server/result/a.ts', `export const at = () => new Date();`, 'the clock'),
  one('weak randomness', 'client/agent/a.ts', `export const jitter = Math.random();`, 'randomness'),
  one(
    'strong randomness',
    'server/enrollment/a.ts',
    `import { randomBytes as draw } from 'node:crypto';`,
    'randomness',
  ),
  one('randomness of a namespace', 'server/enrollment/a.ts', `export const id = crypto.randomUUID();`, 'randomness'),
  one(
    'a computed import',
    'server/rpc/a.ts',
    'export const load = (name: string) => import(name);',
    'a computed import',
  ),
  one('a default export', 'server/rpc/a.ts', 'export default 1;', 'no file exports a default'),
  one(
    'a default export by name',
    'server/rpc/a.ts',
    'const a = 1; export { a as default };',
    'no file exports a default',
  ),
  one('a star export', 'server/rpc/a.ts', `export * from './b.ts';`, 'no file exports a default'),
  one('a long file', 'server/rpc/a.ts', 'void 0;\n'.repeat(351), 'no file is longer'),
  one('a drawer', 'server/utils/a.ts', '', 'no folder is a drawer'),
  {
    title: 'a circle of three',
    files: {
      'server/policy/a.ts': `import type { B } from './b.ts';`,
      'server/policy/b.ts': `export { c } from './c.ts';`,
      'server/policy/c.ts': `import './a.ts';`,
    },
    broken: ['imports make no circle'],
  },
];

const innocents: readonly Fixture[] = [
  one('a file of 350 lines', 'server/rpc/a.ts', 'void 0;\n'.repeat(350)),
  one('a given time', 'server/result/a.ts', 'export const at = (ms: number) => new Date(ms);'),
  one(
    'words in a comment or a string',
    'server/rpc/a.ts',
    `// import 'koffi';\nexport const text = "process.env Date.now()";`,
  ),
  one('hashing', 'tpm/crypto/a.ts', `import { createHash } from 'node:crypto';`),
  one('wire shapes where they enter', 'server/rpc/a.ts', `import type { A } from '../../proto/gen/a_pb.ts';`),
  one(
    'wire shapes in a converter',
    'client/agent/convert-evidence.ts',
    `import type { A } from '../../proto/gen/a_pb.ts';`,
  ),
  one('the store with its files', 'server/store/sqlite.ts', `import { mkdirSync } from 'node:fs';`),
  one('the device with its library', 'tpm/device/tss.ts', `import koffi from 'koffi';`),
  one('a client with a device', 'client/main.ts', `import { tpm } from '../tpm/device/tpm.ts';`),
  one('a test of both sides', 'test/e2e/a.test.ts', `import '../../server/main.ts';\nimport '../../client/main.ts';`),
  one('generated code', 'proto/gen/a_pb.ts', `export * from './b_pb.ts';\n${'void 0;\n'.repeat(400)}`),
];

describe('the rules themselves', () => {
  test.each(violations)('find $title', ({ files, broken }) => {
    expect(brokenBy(files)).toEqual(broken.map((start) => expect.stringMatching(`^${start}`)));
  });

  test.each(innocents)('leave $title alone', ({ files }) => {
    expect(brokenBy(files)).toEqual([]);
  });

  test('say where the offence stands and why it is one', () => {
    const file = parseSourceFile('server/rpc/a.ts', `\nimport 'koffi';`);
    expect(rules.flatMap(({ check }) => check([file]))).toEqual([
      'server/rpc/a.ts:2 uses koffi: only the device is impure',
    ]);
  });

  test('refuse a file that does not parse', () => {
    expect(() => parseSourceFile('server/rpc/a.ts', 'import {')).toThrow('server/rpc/a.ts does not parse');
  });
});

function one(title: string, path: string, text: string, ...broken: string[]): Fixture {
  return { title, files: { [path]: text }, broken };
}

function brokenBy(files: Fixture['files']): string[] {
  const parsed = Object.entries(files).map(([path, text]) => parseSourceFile(path, text));
  return rules.filter(({ check }) => check(parsed).length > 0).map(({ name }) => name);
}
