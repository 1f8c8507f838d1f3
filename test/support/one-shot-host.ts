/** A host without a stream: each of its rounds is two calls. */
import { createChallenge, submitEvidence } from '../../server/attestation/single-round.ts';
import type { ResultRecord } from '../../server/store/records.ts';
import { answerChallenge, chunksOf, feedOf } from './evidence-builder.ts';
import type { Log } from './evidence-builder.ts';
import { MeasuringKernel } from './measuring-kernel.ts';
import { SoftwareTpm } from './software-tpm.ts';
import { enrollMachine } from './stream-agent.ts';
import type { Machine } from './stream-agent.ts';
import type { EnrollOptions, House } from './test-service.ts';

export class OneShotHost {
  readonly house: House;
  readonly machine: Machine;
  readonly kernel: MeasuringKernel;
  readonly #logs: readonly Log[];

  private constructor(house: House, machine: Machine, kernel: MeasuringKernel, logs: readonly Log[]) {
    this.house = house;
    this.machine = machine;
    this.kernel = kernel;
    this.#logs = logs;
  }

  /** `logs` are sent whenever they are asked for, besides the list of run-time measurements. */
  static async enrolled(
    house: House,
    options: EnrollOptions & { readonly tpm?: SoftwareTpm } = {},
  ): Promise<OneShotHost> {
    const tpm = options.tpm ?? new SoftwareTpm();
    const kernel = new MeasuringKernel(tpm);
    return new OneShotHost(house, await enrollMachine(house, { ...options, tpm }), kernel, options.logs ?? []);
  }

  get id(): string {
    return this.machine.id;
  }

  /** One round. `afterQuote` runs between quote and reading. */
  async attest(afterQuote: () => void = () => undefined): Promise<ResultRecord> {
    const { tpm, ak, id, tls } = this.machine;
    const { services, store } = this.house;
    const tlsKeySha256 = tls.sha256.toString('hex');
    const caller = { hostId: id, tlsKeySha256, expires: store.now() + 86_400_000 };
    const { resetCount, restartCount } = tpm.clockInfo;
    const hello = { akName: ak.name.toString('hex'), boot: { resetCount, restartCount } };
    const { challenge, token } = await createChallenge(services, caller, hello);
    const logs = challenge.logs.flatMap(({ kind, offset }) =>
      kind === 'ima' ? [this.kernel.log(offset)] : this.#logs.filter((log) => log.kind === kind),
    );
    const evidence = answerChallenge(tpm, ak, challenge, { hostId: id, tlsKeySha256, logs, afterQuote });
    const nextChunk = feedOf(logs.flatMap((log) => chunksOf(log)));
    return (await submitEvidence(services, caller, { token, evidence, nextChunk })).result;
  }

  result(): Promise<ResultRecord | null> {
    return this.house.store.getResult(this.id);
  }
}
