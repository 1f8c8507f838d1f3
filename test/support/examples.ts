/** The clients under examples/, as `npm test` built them by the commands of docs/sdks.md. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { toPem } from '../../proto/tls-identity.ts';
import { RunningProgram } from './programs.ts';
import { makeTestAuthority } from './tls.ts';

const folder = join(import.meta.dirname, '..', '..', 'examples');
const built = new Set((process.env['ASSAY_EXAMPLES'] ?? '').split(' '));

const COMMANDS = {
  go: [join(folder, 'go', 'bin', 'orchestrator')],
  python: [join(folder, 'python', '.venv', 'bin', 'python'), join(folder, 'python', 'select_and_watch.py')],
  rust: [join(folder, 'rust', 'target', 'debug', 'select-and-watch')],
  java: [
    'java',
    '-cp',
    `${join(folder, 'java', 'target', 'select-and-watch-1.jar')}:${join(folder, 'java', 'target', 'lib', '*')}`,
    'org.example.SelectAndWatch',
  ],
} as const satisfies Record<string, readonly string[]>;

export type ExampleName = keyof typeof COMMANDS;

/** Whether it was built; it is not where its language is missing. */
export function isBuilt(name: ExampleName): boolean {
  return built.has(name);
}

export function startExample(name: ExampleName, args: readonly string[]): RunningProgram {
  const [command = '', ...first] = COMMANDS[name];
  return new RunningProgram(command, [...first, ...args]);
}

/** A profile that is right but for the CA that it pins. */
export async function withStrangersAuthority(profile: string): Promise<string> {
  const { certificate } = await makeTestAuthority();
  const content = JSON.parse(await readFile(profile, 'utf8')) as Readonly<Record<string, string>>;
  return JSON.stringify({ ...content, authority: toPem(certificate) });
}
