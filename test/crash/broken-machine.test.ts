import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it } from 'vitest';

import { RpcError } from '../../proto/rpc-error.ts';
import type { AssayClient } from '../../client/sdk/client.ts';
import { eventually } from '../support/programs.ts';
import { CrashingService } from './crashing-service.ts';
import type { StartOptions } from './crashing-service.ts';
import { checkFiles, checkWhole } from './model/check-whole.ts';
import { readHistory } from './model/history.ts';

const isRoot = process.getuid?.() === 0;
/** File modes hold for everybody but root, who lends the service to somebody. */
const NOBODY = 65_534;
const COMMANDS = [
  ['init'],
  ['serve'],
  ['operator', 'second', '--out', '/nonexistent/profile'],
  ['accept-clock'],
] as const;

/** The same files with the same bytes; the journals of SQLite may come and go. */
function fingerprint(directory: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(directory).filter((each) => !/-(wal|shm|journal)$/.test(each))) {
    hash.update(name).update(readFileSync(join(directory, name)));
  }
  return hash.digest('hex');
}

/** One line of the program itself and no stack, besides what was logged. */
async function refusal(
  service: CrashingService,
  command: (typeof COMMANDS)[number],
  options?: StartOptions,
): Promise<string> {
  const { end, output } = await service.run(command, options);
  const lines = output.trimEnd().split('\n');
  expect([command, end, lines.length]).toEqual([command, { code: 1, signal: null }, 1]);
  return lines[0] ?? '';
}

async function rejection(call: Promise<unknown>): Promise<RpcError> {
  const error: unknown = await call.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  if (error instanceof RpcError) return error;
  throw error;
}

describe('every command of assayd', () => {
  it('says that the data directory cannot be written, and leaves it as it is', async () => {
    await using service = await CrashingService.init();
    const names = readdirSync(service.data);
    if (isRoot) {
      chmodSync(service.directory, 0o755);
      for (const path of [service.data, ...names.map((name) => join(service.data, name))])
        chownSync(path, NOBODY, NOBODY);
    }
    chmodSync(service.data, 0o500);
    const before = fingerprint(service.data);
    for (const command of COMMANDS) {
      const line = await refusal(service, command, isRoot ? { as: NOBODY } : {});
      expect(line).toMatch(/^assayd: the store cannot be written: /);
    }
    expect(fingerprint(service.data)).toBe(before);
    chmodSync(service.data, 0o700);
    expect(await service.serve(isRoot ? { as: NOBODY } : {})).toBe(true);
  });

  it('says that a service has the data directory, and that service goes on', async () => {
    await using service = await CrashingService.init();
    await service.serve();
    const first = service.child;
    for (const command of COMMANDS) {
      expect(await refusal(service, command)).toBe(`assayd: the store in ${service.data} is already open`);
    }
    const client = await service.client();
    expect((await client.policies.apply(policy('mark-1'))).created).toBe(true);
    client.close();
    await first.kill('SIGTERM');
    expect(checkWhole(await readHistory(service.data))).toEqual([]);
  });

  it('says that a newer release wrote the store, also where that was killed, and leaves it as it is', async () => {
    await using service = await CrashingService.init();
    await service.serve();
    const client = await service.client();
    await client.policies.apply(policy('mark-1'));
    client.close();
    await service.child.kill();
    const database = new DatabaseSync(join(service.data, 'assay.db'));
    database.exec('UPDATE schema_version SET version = 1000');
    database.close();
    const before = fingerprint(service.data);
    for (const command of COMMANDS) {
      expect(await refusal(service, command)).toMatch(
        /^assayd: the store has schema 1000, this program knows \d+: a newer release wrote it$/,
      );
    }
    expect(fingerprint(service.data)).toBe(before);
  });
});

function policy(mark: string): Parameters<AssayClient['policies']['apply']>[0] {
  return {
    name: 'trustPolicies/base',
    description: mark,
    selector: { allHosts: true },
    pcrRules: [{ bank: 'sha256', index: 16, allowed: ['00'.repeat(32)] }],
  };
}

/** A service whose data directory is a file system of its own, of so many megabytes. */
async function onSmallDisk(
  megabytes: number,
  use: (service: CrashingService, disk: { readonly fill: () => void; readonly grow: () => void }) => Promise<void>,
): Promise<void> {
  const service = await CrashingService.make();
  const mount = (options: string): void => {
    const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'assay-test', service.data]);
    if (status !== 0) throw new Error(`no file system could be mounted: ${String(stderr)}`);
  };
  mkdirSync(service.data, { mode: 0o700 });
  mount(`size=${megabytes}m,mode=0700`);
  try {
    const filler = join(service.data, 'filler');
    await use(service, {
      fill: () => fill(filler),
      grow: () => {
        rmSync(filler, { force: true });
        mount('remount,size=64m');
      },
    });
  } finally {
    await service.stop();
    spawnSync('umount', [service.data]);
    await service[Symbol.asyncDispose]();
  }
}

function fill(file: string): void {
  for (const size of [65_536, 4_096, 1]) {
    try {
      for (;;) writeFileSync(file, Buffer.alloc(size), { flag: 'a' });
    } catch (error) {
      expect(error).toMatchObject({ code: 'ENOSPC' });
    }
  }
}

describe.runIf(isRoot)('a disk that is full', () => {
  it('is said to callers and at the start, loses nothing that was acknowledged, and is over with more space', () =>
    onSmallDisk(2, async (service, disk) => {
      expect((await service.run(['init'])).end.code).toBe(0);
      await service.serve();
      const client = await service.client();
      await client.policies.apply(policy('mark-0'));
      disk.fill();
      const acknowledged = await applyUntilFull(client);
      // It goes on to answer, and to refuse.
      const present = await client.policies.get('base');
      expect(present.description.split(' ')[0]).toBe(`mark-${acknowledged}`);
      expect(await rejection(client.policies.apply(policy(`more ${LARGE}`)))).toMatchObject({ reason: 'STORE_FULL' });
      client.close();
      const said = service.child.output.split('\n').filter((line) => line.includes('"the store is full: '));
      expect(said).toHaveLength(1);
      expect(JSON.parse(said[0] ?? '')).toMatchObject({ level: 50, code: 'full' });
      await service.stop();
      const copy = await service.copyStore();
      expect(checkFiles(copy)).toEqual([]);

      const started = await service.serve();
      if (!started) {
        expect(service.child.end.code).toBe(1);
        expect(service.child.output).toMatch(/^assayd: the store is full: .*\n$/);
      }
      await service.stop();

      disk.grow();
      expect(await service.serve()).toBe(true);
      const again = await service.client();
      expect(await again.policies.get('base')).toEqual(present);
      expect((await again.policies.apply(policy('after'))).policy.version).toBe(present.version + 1n);
      again.close();
      await service.child.kill('SIGTERM');
      expect(checkWhole(await readHistory(service.data))).toEqual([]);
    }));

  it('where nothing fits at all ends the first start by one plain line, and the next start makes a whole store', () =>
    onSmallDisk(1, async (service, disk) => {
      const env = { ASSAYD_ROOT_KEY: '11'.repeat(32) };
      disk.fill();
      const { end, output } = await service.run(['init'], { env });
      expect([end.code, output]).toEqual([1, expect.stringMatching(/^assayd: .*(full|ENOSPC|no space).*\n$/i)]);
      disk.grow();
      expect((await service.run(['init'], { env })).end.code).toBe(0);
      expect(await service.serve({ env })).toBe(true);
      await service.child.kill('SIGTERM');
      expect(checkWhole(await readHistory(service.data))).toEqual([]);
    }));
});

const LARGE = 'x'.repeat(1_000);

/** Answers the number of the last policy that was acknowledged. */
async function applyUntilFull(client: AssayClient): Promise<number> {
  for (let mark = 1; mark < 2_000; mark++) {
    try {
      await client.policies.apply(policy(`mark-${mark} ${LARGE}`));
    } catch (error) {
      expect(error).toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'STORE_FULL' });
      return mark - 1;
    }
  }
  throw new Error('the disk is never full');
}

/** strace makes system calls fail that the file system would carry out. */
const canTrace = spawnSync('strace', ['-qq', '-e', 'inject=fsync:error=EIO', 'true']).status === 0;

describe.runIf(canTrace || process.env['CI'] === 'true')('a file system that fails to flush', () => {
  it('is said to callers and in the log; what was not acknowledged is done whole or not at all', async () => {
    await using service = await CrashingService.init();
    await service.serve();
    const client = await service.client();
    const applied: (bigint | string)[] = [];
    const apply = async (): Promise<void> => {
      const answer = await client.policies.apply(policy(`mark-${applied.length}`)).catch((error: unknown) => error);
      applied.push(
        answer instanceof RpcError ? answer.reason : (answer as { policy: { version: bigint } }).policy.version,
      );
    };
    await apply();
    const tracer = spawn(
      'strace',
      ['-f', '-qq', '-p', `${service.child.pid}`, '-e', 'inject=fsync,fdatasync:error=EIO'],
      {
        stdio: 'ignore',
      },
    );
    // Attached when the first flush fails, which may take it a while.
    await eventually('flush that fails', async () => {
      await apply();
      return applied.at(-1) === 'STORE_FAILED' ? true : undefined;
    });
    const refused = applied.length - 1;
    await apply();
    const detached = once(tracer, 'exit');
    tracer.kill('SIGINT');
    await detached;
    await apply();
    expect(applied.slice(refused)).toEqual(['STORE_FAILED', 'STORE_FAILED', BigInt(refused + 1)]);
    expect(service.child.output).toContain('"the store failed: disk I/O error"');
    client.close();
    await service.stop();
    const copy = await service.copyStore();
    expect(checkFiles(copy)).toEqual([]);
    expect(await service.serve()).toBe(true);
    const again = await service.client();
    expect((await again.policies.get('base')).version).toBe(BigInt(refused + 1));
    again.close();
    await service.child.kill('SIGTERM');
    expect(checkWhole(await readHistory(service.data))).toEqual([]);
  });
});
