import type { EndorsementKey } from '../../tpm/device/endorsement-key.ts';
import { AgentError } from './agent-error.ts';
import { ekName, isAkLost } from './host-tpm.ts';
import type { HostAk, HostTpm } from './host-tpm.ts';
import type { StoredAk } from './state-document.ts';
import type { World } from './world.ts';

/** An open TPM with its EKs and the host's AK loaded. */
export interface ReadyTpm {
  readonly tpm: HostTpm;
  readonly ak: HostAk;
  readonly endorsementKeys: readonly EndorsementKey[];
  /** Which of them is the AK's parent. */
  readonly parentIndex: number;
}

/** The contract takes at most so many EKs. */
const MAX_EKS = 8;

/** The TPM over its comings and goings: opened when it is needed, let go when it failed. */
export class TpmSession {
  readonly #world: World;
  #ready: ReadyTpm | undefined;

  constructor(world: World) {
    this.#world = world;
  }

  /** Opens the TPM and loads the AK; makes one where there is none, or where the TPM has lost it. Throws TpmError. */
  async ready(): Promise<ReadyTpm> {
    this.#ready ??= await this.#open();
    return this.#ready;
  }

  /** Lets go of the TPM; the next `ready` opens it anew. Never rejects. */
  async close(): Promise<void> {
    const { tpm } = this.#ready ?? {};
    this.#ready = undefined;
    await tpm?.close().catch((error: unknown) => {
      this.#world.log.debug({ error: String(error) }, 'the TPM could not be closed');
    });
  }

  async #open(): Promise<ReadyTpm> {
    const tpm = await this.#world.openTpm(this.#world.state.joined.tcti);
    try {
      const endorsementKeys = (await tpm.endorsementKeys()).slice(0, MAX_EKS);
      const { ak, parentIndex } = await this.#loadOrMakeAk(tpm, endorsementKeys);
      return { tpm, ak, endorsementKeys, parentIndex };
    } catch (error) {
      await tpm.close().catch(() => undefined);
      throw error;
    }
  }

  async #loadOrMakeAk(
    tpm: HostTpm,
    eks: readonly EndorsementKey[],
  ): Promise<{ readonly ak: HostAk; readonly parentIndex: number }> {
    const stored = this.#world.state.joined.ak;
    if (stored !== undefined) {
      const loaded = await this.#load(tpm, eks, stored);
      if (loaded !== undefined) return loaded;
      this.#world.log.warn(
        { event: 'ak_lost' },
        'the TPM does not load this host’s attestation key any more (it was cleared, or it is another TPM): enrolling anew with a new key',
      );
    }
    return this.#make(tpm, eks);
  }

  async #load(
    tpm: HostTpm,
    eks: readonly EndorsementKey[],
    stored: StoredAk,
  ): Promise<{ readonly ak: HostAk; readonly parentIndex: number } | undefined> {
    const parentIndex = eks.findIndex((ek) => ekName(ek).equals(stored.parentName));
    const parent = eks[parentIndex];
    if (parent === undefined) return undefined;
    try {
      return { ak: await tpm.loadAk(parent, stored), parentIndex };
    } catch (error) {
      if (isAkLost(error)) return undefined;
      throw error;
    }
  }

  /** The blobs are flushed to disk before anybody hears of the key. */
  async #make(
    tpm: HostTpm,
    eks: readonly EndorsementKey[],
  ): Promise<{ readonly ak: HostAk; readonly parentIndex: number }> {
    const [parent] = eks;
    if (parent === undefined)
      throw new AgentError('no_endorsement_key', 'the TPM has no endorsement key that can be used');
    const { state } = this.#world;
    const { publicBlob, privateBlob } = await tpm.createAk(parent, state.joined.akAlgorithm);
    const stored: StoredAk = { publicBlob, privateBlob, parentName: ekName(parent) };
    await state.update({ ak: stored });
    return { ak: await tpm.loadAk(parent, stored), parentIndex: 0 };
  }
}
