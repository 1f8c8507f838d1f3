import { chmod, mkdir, mkdtemp, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { StateDirectory } from '../../../client/agent/state.ts';
import type { Disk } from '../../../client/agent/state.ts';
import { decodeState, encodeState } from '../../../client/agent/state-document.ts';
import type { AgentState } from '../../../client/agent/state-document.ts';

const state: AgentState = {
  server: 'assay.example:9443',
  pin: `sha256:${'0'.repeat(64)}`,
  authority: Buffer.from('authority'),
  tcti: 'swtpm:',
  akAlgorithm: 'ecdsa-p256-sha256',
  logs: { boot: '/b', userspace: '/u', ima: '/i' },
  tlsKey: 'pem',
};

const full: AgentState = {
  ...state,
  ak: { publicBlob: Buffer.from('public'), privateBlob: Buffer.from('private'), parentName: Buffer.from('name') },
  enrolled: {
    hostId: 'h-1',
    clientCertificate: Buffer.from('client'),
    akCertificate: Buffer.alloc(0),
    akName: Buffer.from('ak'),
  },
  renewal: { privateKey: 'next', certificate: Buffer.from('next certificate') },
};

let parent: string;
let path: string;

beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'assay-state-'));
  path = join(parent, 'agent');
});

afterEach(() => rm(parent, { recursive: true, force: true }));

test('keeps the whole state, in a directory and a file for its owner alone', async () => {
  const directory = await StateDirectory.open(path, { create: true });
  expect(directory.state).toBeUndefined();
  await directory.save(full);
  await directory.close();
  expect((await stat(path)).mode & 0o777).toBe(0o700);
  expect((await stat(join(path, 'state.json'))).mode & 0o777).toBe(0o600);
  const again = await StateDirectory.open(path, { create: false });
  expect(again.state).toEqual(full);
  await again.close();
});

test('an update changes some fields and removes those that are undefined', async () => {
  const directory = await StateDirectory.open(path, { create: true });
  await directory.save(full);
  await directory.update({ tlsKey: 'other', renewal: undefined });
  const { renewal: _, ...rest } = full;
  expect(directory.state).toEqual({ ...rest, tlsKey: 'other' });
  await directory.close();
});

test('a second agent on the directory is refused until the first one ends', async () => {
  const first = await StateDirectory.open(path, { create: true });
  await expect(StateDirectory.open(path, { create: true })).rejects.toMatchObject({ code: 'state_locked' });
  await first.close();
  await (await StateDirectory.open(path, { create: true })).close();
});

test('a directory that is not there is the state of a host that has not joined', async () => {
  await expect(StateDirectory.open(path, { create: false })).rejects.toMatchObject({ code: 'state_absent' });
  const directory = await StateDirectory.open(path, { create: true });
  expect(() => directory.joined).toThrow(/join a service first/);
  await directory.close();
});

test('a directory that others can read is refused', async () => {
  await mkdir(path);
  await chmod(path, 0o755);
  await expect(StateDirectory.open(path, { create: true })).rejects.toMatchObject({ code: 'state_unsafe' });
});

/** Breaks down at the n-th thing that is asked of the disk, as a machine does that loses its power. */
function failingDisk(step: number): Disk & { readonly steps: () => number } {
  let steps = 0;
  const next = (): void => {
    steps += 1;
    if (steps === step) throw Object.assign(new Error('no more'), { code: 'EIO' });
  };
  return {
    steps: () => steps,
    rm: async (...args) => {
      next();
      return rm(...args);
    },
    rename: async (...args) => {
      next();
      return rename(...args);
    },
    open: async (...args) => {
      next();
      const file = await open(...args);
      const sync = file.sync.bind(file);
      const write = file.writeFile.bind(file);
      return Object.assign(file, {
        sync: async () => {
          next();
          return sync();
        },
        writeFile: async (text: string) => {
          // Half of it reaches the disk.
          await write(text.slice(0, text.length / 2));
          next();
          await file.truncate(0);
          await file.write(text, 0);
        },
      });
    },
  };
}

test('whatever step of a write fails, the old state or the new one is there, never a part', async () => {
  const seen = new Set<string>();
  for (let step = 2; step <= 8; step += 1) {
    await rm(path, { recursive: true, force: true });
    const before = await StateDirectory.open(path, { create: true });
    await before.save(state);
    await before.close();
    const disk = failingDisk(step);
    const broken = await StateDirectory.open(path, { create: true, disk });
    await expect(broken.save(full)).rejects.toMatchObject({ code: 'state_unwritable' });
    expect(broken.state).toEqual(state);
    await broken.close();
    const after = await StateDirectory.open(path, { create: false });
    seen.add(after.state?.ak === undefined ? 'old' : 'new');
    expect([encodeState(state), encodeState(full)]).toContain(encodeState(after.joined));
    await after.save(full);
    await after.close();
    expect(await readdir(path)).not.toContain('state.json.new');
  }
  expect([...seen].sort()).toEqual(['new', 'old']);
});

test.each([
  { name: 'another format', text: encodeState(state).replace('"format": 1', '"format": 2'), code: 'state_format' },
  { name: 'half a document', text: encodeState(state).slice(0, 100), code: 'state_malformed' },
  { name: 'a list', text: '[]', code: 'state_malformed' },
  { name: 'no server', text: encodeState(state).replace('"server"', '"servant"'), code: 'state_malformed' },
  {
    name: 'what is no base64',
    text: encodeState(state).replace(/"authority": "[^"]*"/, '"authority": "***"'),
    code: 'state_malformed',
  },
  {
    name: 'an unknown algorithm',
    text: encodeState(state).replace('ecdsa-p256-sha256', 'dsa'),
    code: 'state_malformed',
  },
])('a state with $name is refused as it is and left alone', async ({ text, code }) => {
  await mkdir(path, { mode: 0o700 });
  await writeFile(join(path, 'state.json'), text);
  await expect(StateDirectory.open(path, { create: true })).rejects.toMatchObject({ name: 'AgentError', code });
  expect(await readFile(join(path, 'state.json'), 'utf8')).toBe(text);
});

test('the document survives its own encoding', () => {
  expect(decodeState(encodeState(full))).toEqual(full);
});
