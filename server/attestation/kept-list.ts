import type { ProvenPcrValues } from '../../tpm/crypto/pcr.ts';
import { EMPTY_CHECKPOINT, parseCheckpoint } from '../../tpm/ima/checkpoint.ts';
import type { RuntimeState } from '../policy/runtime-state.ts';
import { followList } from '../verifier/follow-list.ts';
import type { ListBytes, ProvenList } from '../verifier/follow-list.ts';
import { listBytes } from './list-bytes.ts';
import type { RuntimeServices } from './runtime-services.ts';

/** The bytes of a kept list up to where the last quote proved it. */
export function keptBytes({ store }: Pick<RuntimeServices, 'store'>, hostId: string, state: RuntimeState): ListBytes {
  const { offset } = parseCheckpoint(state.checkpoint);
  return (from) => listBytes(store, { hostId, kept: offset, part: null }, from);
}

/**
 * Follows a kept list from its start to the PCR values that the rounds proved; null where it does not lead to them. `bytes` are
 * those of {@link keptBytes}.
 */
export async function followKept(
  services: Pick<RuntimeServices, 'breathe' | 'takeTurn'>,
  { hostId, state }: { readonly hostId: string; readonly state: RuntimeState },
  bytes: ListBytes,
): Promise<ProvenList | null> {
  using _turn = await services.takeTurn(hostId, parseCheckpoint(state.checkpoint).offset);
  return await followToCheckpoint(services, state, bytes);
}

/** Whether bytes begin with the very list that led to a state: for whoever has a turn. */
export async function followToCheckpoint(
  { breathe }: Pick<RuntimeServices, 'breathe'>,
  state: RuntimeState,
  bytes: ListBytes,
): Promise<ProvenList | null> {
  const { offset, pcrs } = parseCheckpoint(state.checkpoint);
  const values = new Map<number, Map<number, Buffer>>();
  for (const { bank, pcr, value } of pcrs) {
    values.set(bank.alg, (values.get(bank.alg) ?? new Map<number, Buffer>()).set(pcr, value));
  }
  const followed = await followList({
    // Only values that a quote proved are in a checkpoint.
    pcrs: values as unknown as ProvenPcrValues,
    banks: [...values.keys()],
    indices: [...new Set(pcrs.map(({ pcr }) => pcr))],
    from: EMPTY_CHECKPOINT,
    bytes,
    breathe,
  });
  return followed.kind === 'proven' && followed.list.checkpoint.offset === offset ? followed.list : null;
}
