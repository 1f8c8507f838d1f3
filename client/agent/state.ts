import { constants } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileReason } from '../file-reason.ts';
import { AgentError } from './agent-error.ts';
import { decodeState, encodeState } from './state-document.ts';
import type { AgentState } from './state-document.ts';

const STATE_FILE = 'state.json';
const TEMPORARY_FILE = 'state.json.new';
const LOCK_FILE = 'lock';
const MAX_STATE_BYTES = 256 * 1024;

/** What is asked of the disk; a test passes one that breaks down at a given step. */
export interface Disk {
  readonly open: typeof open;
  readonly rename: typeof rename;
  readonly rm: typeof rm;
}

/**
 * The agent's state directory: mode 0700, one document of mode 0600 that is replaced as a whole, and a lock that the kernel
 * releases when the process ends, however it ends.
 */
export class StateDirectory {
  readonly path: string;
  readonly #lock: DatabaseSync;
  readonly #disk: Disk;
  #state: AgentState | undefined;
  #writes: Promise<unknown> = Promise.resolve();

  private constructor(path: string, lock: DatabaseSync, disk: Disk, state: AgentState | undefined) {
    this.path = path;
    this.#lock = lock;
    this.#disk = disk;
    this.#state = state;
  }

  /**
   * Opens and locks the directory.
   * @param options.create makes it where it is missing; otherwise that is `state_absent`
   * @throws AgentError `state_locked`, `state_unsafe`, `state_format`, `state_malformed`, `state_unwritable`, `state_absent`
   */
  static async open(
    path: string,
    options: { readonly create: boolean; readonly disk?: Disk },
  ): Promise<StateDirectory> {
    const disk = options.disk ?? { open, rename, rm };
    await checkDirectory(path, options.create);
    const lock = lockDirectory(path);
    try {
      return new StateDirectory(path, lock, disk, await readState(path, disk));
    } catch (error) {
      lock.close();
      throw error;
    }
  }

  /** The state as it is on disk; undefined where the host has not joined. */
  get state(): AgentState | undefined {
    return this.#state;
  }

  /** The state of a host that has joined. Throws {@link AgentError} `state_absent`. */
  get joined(): AgentState {
    return this.#state ?? absent(this.path);
  }

  /**
   * Replaces the state. When this resolves, file and directory are flushed: what is sent next may depend on it. After a
   * failure the document on disk is the old one or the new one, never a part.
   */
  save(state: AgentState): Promise<void> {
    const write = this.#writes.then(async () => {
      await this.#replace(encodeState(state));
      this.#state = state;
    });
    this.#writes = write.catch(() => undefined);
    return write;
  }

  /** Changes some fields of the state of a host that has joined; a field that is given as undefined is removed. */
  async update(change: { readonly [Field in keyof AgentState]?: AgentState[Field] | undefined }): Promise<AgentState> {
    const merged = Object.entries({ ...this.joined, ...change }).filter(([, value]) => value !== undefined);
    const state = Object.fromEntries(merged) as unknown as AgentState;
    await this.save(state);
    return state;
  }

  /** Waits for the write under way and releases the lock. */
  async close(): Promise<void> {
    await this.#writes;
    this.#lock.close();
  }

  async #replace(text: string): Promise<void> {
    const temporary = join(this.path, TEMPORARY_FILE);
    try {
      await this.#disk.rm(temporary, { force: true });
      const file = await this.#disk.open(temporary, 'wx', 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await this.#disk.rename(temporary, join(this.path, STATE_FILE));
      await syncDirectory(this.path, this.#disk);
    } catch (cause) {
      throw new AgentError('state_unwritable', `the state could not be written to ${this.path}${reasonOf(cause)}`, {
        cause,
      });
    }
  }
}

async function checkDirectory(path: string, create: boolean): Promise<void> {
  try {
    if (create) await makeDirectory(resolve(path));
    const { mode, uid } = await stat(path);
    const own = process.getuid?.();
    if ((mode & 0o077) !== 0) {
      throw new AgentError('state_unsafe', `${path} is open to other users: chmod 700 it`);
    }
    if (own !== undefined && uid !== own) {
      throw new AgentError('state_unsafe', `${path} belongs to user ${uid}, the agent runs as ${own}`);
    }
  } catch (cause) {
    if (cause instanceof AgentError) throw cause;
    if (!create && isMissing(cause)) absent(path, cause);
    throw new AgentError('state_unwritable', `the state directory ${path} cannot be used${reasonOf(cause)}`, { cause });
  }
}

/**
 * Node has no flock(2), and a file with a process id outlives its process. SQLite takes an fcntl lock on an empty database,
 * which ends with the process and holds across containers that share the directory.
 */
function lockDirectory(path: string): DatabaseSync {
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(join(path, LOCK_FILE), { timeout: 0 });
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
    return lock;
  } catch (cause) {
    lock?.close();
    if (isBusy(cause)) {
      throw new AgentError('state_locked', `another agent uses the state directory ${path}`, { cause });
    }
    throw new AgentError('state_unwritable', `the state directory ${path} cannot be locked${reasonOf(cause)}`, {
      cause,
    });
  }
}

/** SQLITE_BUSY. */
function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === 5;
}

async function readState(path: string, disk: Disk): Promise<AgentState | undefined> {
  let text: string;
  try {
    const file = await disk.open(join(path, STATE_FILE), constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      const { size } = await file.stat();
      if (size > MAX_STATE_BYTES) throw new AgentError('state_malformed', `the state has ${size} bytes`);
      text = await file.readFile('utf8');
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (cause instanceof AgentError) throw cause;
    if (isMissing(cause)) return undefined;
    throw new AgentError('state_unwritable', `the state in ${path} cannot be read${reasonOf(cause)}`, { cause });
  }
  return decodeState(text);
}

function isMissing(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
}

function absent(path: string, cause?: unknown): never {
  throw new AgentError('state_absent', `no state in ${path}: join a service first (assay agent join)`, { cause });
}

/** A rename is durable once its directory is. */
async function syncDirectory(path: string, disk: Disk): Promise<void> {
  const directory = await disk.open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** `: permission denied` and the like; the message of a system error would repeat the path. */
function reasonOf(cause: unknown): string {
  return cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? `: ${fileReason(cause)}` : '';
}

/** One directory after the other: the recursive call of Node does not end where the system refuses to say what is missing. */
async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return;
    const parent = dirname(path);
    if (code !== 'ENOENT' || parent === path || (await exists(parent))) throw error;
    await makeDirectory(parent);
    await mkdir(path, { mode: 0o700 });
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
