import { readState } from '../policy/runtime-state.ts';
import type { RuntimeState } from '../policy/runtime-state.ts';
import type { LogStore, RuntimeRecord } from '../store/log-store.ts';
import type { RuntimeChange } from '../store/store.ts';

/** What is kept of the run time of a host. */
export interface KnownRuntime {
  /** Of the record; 0 where there is none. */
  readonly sequence: number;
  readonly state: RuntimeState | null;
}

export const NO_RUNTIME: KnownRuntime = { sequence: 0, state: null };

function knownRuntime(record: RuntimeRecord | null): KnownRuntime {
  return record === null ? NO_RUNTIME : { sequence: record.sequence, state: readState(record) };
}

/** What is known after a round that changed this much. */
export function movedRuntime(known: KnownRuntime, change: RuntimeChange | undefined): KnownRuntime {
  if (change?.body === undefined) return known;
  if (change.body === null) return NO_RUNTIME;
  const sequence = change.expected + 1;
  return knownRuntime({ sequence, body: change.body, updateTime: 0 });
}

/** What is kept of the run time, for the rounds of a stream. */
export async function loadRuntime(store: Pick<LogStore, 'getRuntime'>, hostId: string): Promise<KnownRuntime> {
  return knownRuntime(await store.getRuntime(hostId));
}
