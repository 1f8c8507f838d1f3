import { matchesGlob } from 'node:path';
import type { SourceFile, Use } from './source-file.ts';

/** A room and the rooms that it may import from, besides itself. */
interface Room {
  readonly room: string;
  readonly mayUse: readonly string[];
  readonly reason: string;
}

const tpmPure = ['tpm/codec', 'tpm/structures', 'tpm/crypto', 'tpm/eventlog', 'tpm/ima', 'tpm/endorsement'] as const;

/** docs/architecture.md, the arrows. */
const rooms: readonly Room[] = [
  { room: 'tpm/codec', mayUse: [], reason: 'bytes know nothing of what they mean' },
  {
    room: 'tpm/structures',
    mayUse: ['tpm/codec'],
    reason: 'a structure is declared before anything is computed of it',
  },
  { room: 'tpm/crypto', mayUse: ['tpm/codec', 'tpm/structures'], reason: 'logs and devices stand on it' },
  { room: 'tpm/eventlog', mayUse: ['tpm/codec', 'tpm/structures', 'tpm/crypto'], reason: 'one log knows no other' },
  { room: 'tpm/ima', mayUse: ['tpm/codec', 'tpm/structures', 'tpm/crypto'], reason: 'one log knows no other' },
  {
    room: 'tpm/endorsement',
    mayUse: ['tpm/codec', 'tpm/structures', 'tpm/crypto'],
    reason: 'a certificate is judged without any log',
  },
  { room: 'tpm/device', mayUse: ['tpm/codec', 'tpm/structures', 'tpm/crypto'], reason: 'a device judges no log' },
  { room: 'proto', mayUse: [], reason: 'it is the floor that both sides stand on' },
  { room: 'server', mayUse: ['proto', ...tpmPure], reason: 'it needs no TPM and meets the client in proto/ only' },
  { room: 'client', mayUse: ['proto', ...tpmPure, 'tpm/device'], reason: 'it meets the server in proto/ only' },
];

/** A thing from outside and the only files that may use it. */
interface Fence {
  readonly what: string;
  readonly targets: readonly string[];
  readonly only: readonly string[];
  readonly reason: string;
}

/** Not part of the programs: tests, benchmarks and scripts reach for whatever they need. */
const workshop = ['test/**', 'bench/**', 'scripts/**', '*.ts'] as const;

const rim = [
  'server/main.ts',
  'server/config.ts',
  'server/store/**',
  'client/main.ts',
  'client/config.ts',
  'client/agent/state.ts',
  'tpm/device/**',
] as const;

const passedIn = 'files, processes, clock, randomness and environment enter at the rim and are passed in';

const fences: readonly Fence[] = [
  {
    what: 'generated protobuf types',
    targets: ['proto/gen/**'],
    only: ['proto/**', 'server/rpc/**', 'client/sdk/**', 'client/**/convert*.ts'],
    reason: 'wire shapes become domain shapes where they enter',
  },
  {
    what: 'grpc-js',
    targets: ['@grpc/grpc-js', '@grpc/grpc-js/**'],
    only: ['proto/**', 'server/main.ts', 'client/main.ts'],
    reason: 'one bridge leads from descriptors to grpc-js',
  },
  { what: 'native code', targets: ['koffi'], only: ['tpm/device/**'], reason: 'only the device is impure' },
  { what: 'files', targets: ['node:fs', 'node:fs/**'], only: rim, reason: passedIn },
  { what: 'processes', targets: ['node:child_process'], only: rim, reason: passedIn },
  { what: 'the environment', targets: ['process.env'], only: rim, reason: passedIn },
  { what: 'the clock', targets: ['Date.now', 'new Date()'], only: rim, reason: passedIn },
  {
    what: 'randomness',
    targets: ['Math.random', 'randomBytes', 'randomFill*', 'randomInt', 'randomUUID', 'getRandomValues'],
    only: rim,
    reason: passedIn,
  },
  { what: 'a computed import', targets: ['(computed)'], only: [], reason: 'nobody could tell what it imports' },
];

/** A promise about the shape of the code; `check` yields a sentence per offence. */
export interface Rule {
  readonly name: string;
  readonly check: (files: readonly SourceFile[]) => string[];
}

const longestFile = 350;

/** Everything that `test/architecture.test.ts` holds. */
export const rules: readonly Rule[] = [
  { name: 'every file of the programs stands in a room', check: eachHandWritten(homeless) },
  ...rooms.map((room) => ({
    name: `${room.room} imports ${room.mayUse.length > 0 ? `${room.mayUse.join(', ')} alone` : 'no other room'}`,
    check: eachHandWritten((file) => (roomOf(file.path) === room ? strayArrows(file, room) : [])),
  })),
  ...fences.map((fence) => ({
    name: `${fence.what} ${fence.only.length > 0 ? `stays in ${fence.only.join(', ')}` : 'is used nowhere'}`,
    check: eachHandWritten((file) => trespasses(file, fence)),
  })),
  { name: 'no file exports a default or a star', check: eachHandWritten(blanketExports) },
  { name: `no file is longer than ${longestFile} lines`, check: eachHandWritten(excessLength) },
  { name: 'no folder is a drawer for odds and ends', check: eachHandWritten(drawers) },
  { name: 'imports make no circle', check: circles },
];

/** Generated code is held by another gate: it is what the generator yields. */
function eachHandWritten(check: (file: SourceFile) => string[]): Rule['check'] {
  return (files) => files.filter(({ path }) => !path.startsWith('proto/gen/')).flatMap(check);
}

function roomOf(path: string): Room | undefined {
  return rooms.find(({ room }) => path.startsWith(`${room}/`));
}

function within(path: string, globs: readonly string[]): boolean {
  return globs.some((glob) => matchesGlob(path, glob));
}

function homeless({ path }: SourceFile): string[] {
  return within(path, workshop) || roomOf(path) !== undefined
    ? []
    : [`${path} stands in no room of docs/architecture.md`];
}

/** Targets that are not ours (packages, Node's modules) are the fences' matter. */
function strayArrows(file: SourceFile, room: Room): string[] {
  const allowed = [room.room, ...room.mayUse];
  const ours = /^(proto|server|client|tpm|test|bench|scripts)\/|^\.\.\//;
  return file.imports
    .filter(({ target }) => ours.test(target) && !allowed.some((name) => target.startsWith(`${name}/`)))
    .map((use) => `${place(file, use)} imports ${use.target}: ${room.reason}`);
}

function trespasses(file: SourceFile, fence: Fence): string[] {
  if (within(file.path, fence.only) || within(file.path, workshop)) return [];
  return [...file.imports, ...file.touches]
    .filter(({ target }) => within(target, fence.targets))
    .map((use) => `${place(file, use)} uses ${use.target}: ${fence.reason}`);
}

function blanketExports(file: SourceFile): string[] {
  // The one file that a tool demands it of.
  if (file.path === 'vitest.config.ts') return [];
  return file.blanketExports.map((use) => `${place(file, use)} exports ${use.target}: exports are named one by one`);
}

function excessLength({ path, lineCount }: SourceFile): string[] {
  return lineCount > longestFile ? [`${path} has ${lineCount} lines: it is probably two files`] : [];
}

function drawers({ path }: SourceFile): string[] {
  const drawer = path
    .split('/')
    .slice(0, -1)
    .find((name) => ['common', 'util', 'utils', 'helpers'].includes(name));
  return drawer === undefined ? [] : [`${path}: a folder called ${drawer} says nothing of what is in it`];
}

/** One sentence per circle, found by walking every path depth first; a finished file is not walked again. */
function circles(files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const finished = new Set<string>();
  const found: string[] = [];
  const walk = (path: string, trail: readonly string[]): void => {
    const start = trail.indexOf(path);
    if (start >= 0) {
      found.push([...trail.slice(start), path].join(' -> '));
      return;
    }
    if (finished.has(path)) return;
    for (const { target } of byPath.get(path)?.imports ?? []) walk(target, [...trail, path]);
    finished.add(path);
  };
  for (const { path } of files) walk(path, []);
  return found;
}

function place(file: SourceFile, use: Use): string {
  return `${file.path}:${use.line}`;
}
