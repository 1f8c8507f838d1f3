import { isDamaged } from './store/damaged.ts';
import type { BootRecord, LogKind } from './store/records.ts';
import type { Store } from './store/store.ts';

/** What is kept of one boot of a host, for people and scripts. */
export interface EvidenceOfBoot {
  readonly host: string;
  /** Number of a former boot; "present" for the one that goes on. */
  readonly boot: string;
  readonly akName: string;
  readonly resetCount: number;
  readonly restartCount: number;
  /** ISO 8601; null where the boot goes on. */
  readonly ended: string | null;
  /** The last verdict on it, and the revision that has it. */
  readonly status: string;
  readonly revision: number;
  readonly logs: readonly KeptLog[];
  /** What the host proved of it; null when nothing. */
  readonly proven: BootRecord | null;
}

interface KeptLog {
  readonly kind: LogKind;
  readonly size: number;
  /** What is kept is not what the host sent. */
  readonly damaged: boolean;
}

/** Where the bytes of logs go. */
export type LogWriter = (boot: string, kind: LogKind, bytes: Uint8Array) => void;

type EvidenceStore = Pick<
  Store,
  'getHost' | 'getResult' | 'getBoot' | 'logStates' | 'readLog' | 'formerBoots' | 'readFormerLog'
>;

/** Bytes of one read of the store. */
const READ = 1024 * 1024;

/**
 * Reads all that is kept of the boots of a host, the present one first, and gives each log to `writeLog` in pieces. Null when the host
 * is not known.
 */
export async function reportEvidence(
  store: EvidenceStore,
  hostId: string,
  writeLog: LogWriter,
): Promise<readonly EvidenceOfBoot[] | null> {
  const [host, result] = [await store.getHost(hostId), await store.getResult(hostId)];
  if (host === null || result === null) return null;
  const { resetCount, restartCount } = host.clock;
  const logs = (await store.logStates(hostId)).filter(({ size }) => size > 0);
  const present: EvidenceOfBoot = {
    host: hostId,
    boot: 'present',
    akName: host.ak.name,
    resetCount,
    restartCount,
    ended: null,
    status: result.status,
    revision: result.revision,
    logs: await readLogs(logs, writeLog, 'present', (kind, offset) => store.readLog(hostId, kind, offset, READ)),
    proven: await store.getBoot(hostId),
  };
  const boots = [present];
  for (const { id, endTime, boot: proven, logs: kept, ...former } of await store.formerBoots(hostId)) {
    const boot = String(id);
    boots.push({
      host: hostId,
      boot,
      ...former,
      ended: new Date(endTime).toISOString(),
      proven,
      logs: await readLogs(kept, writeLog, boot, (kind, offset) => store.readFormerLog(id, kind, offset, READ)),
    });
  }
  return boots;
}

async function readLogs(
  logs: readonly { readonly kind: LogKind; readonly size: number }[],
  write: LogWriter,
  boot: string,
  read: (kind: LogKind, offset: number) => Promise<Uint8Array>,
): Promise<readonly KeptLog[]> {
  const told: KeptLog[] = [];
  for (const { kind, size } of logs) told.push({ kind, size, damaged: !(await isWhole(kind, size)) });
  return told;

  async function isWhole(kind: LogKind, size: number): Promise<boolean> {
    try {
      for (let at = 0; at < size;) {
        const bytes = await read(kind, at);
        write(boot, kind, bytes);
        at += bytes.byteLength;
      }
      return true;
    } catch (error) {
      if (isDamaged(error)) return false;
      throw error;
    }
  }
}
