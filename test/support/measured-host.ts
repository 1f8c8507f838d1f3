/** A host whose kernel measures what runs, with its stream of attestation. */
import type { Challenge } from '../../server/attestation/messages.ts';
import type { RuntimeRulesDraft } from '../../server/policy/runtime-rules.ts';
import type { CheckRecord, ResultRecord } from '../../server/store/records.ts';
import { MeasuringKernel } from './measuring-kernel.ts';
import { NO_RUNTIME_RULES } from './runtime-policy.ts';
import { SoftwareTpm } from './software-tpm.ts';
import { enrollMachine, StreamAgent } from './stream-agent.ts';
import type { Answer, Machine, StreamChange } from './stream-agent.ts';
import { putPolicy } from './test-service.ts';
import type { House } from './test-service.ts';

/** A policy of these run-time rules alone. */
export function putRules(house: House, runtime: Partial<RuntimeRulesDraft>): Promise<void> {
  return putPolicy(house.store, { pcrRules: [], runtime: { ...NO_RUNTIME_RULES, ...runtime } });
}

/** What did not pass, one line for each check. */
export function failures(checks: readonly CheckRecord[]): readonly string[] {
  return checks
    .filter(({ outcome }) => outcome !== 'passed')
    .map(({ id, outcome, reason }) => `${id} ${outcome} ${reason}`);
}

export class MeasuredHost implements AsyncDisposable {
  readonly house: House;
  readonly machine: Machine;
  kernel: MeasuringKernel;
  agent: StreamAgent;

  constructor(house: House, machine: Machine, kernel: MeasuringKernel) {
    this.house = house;
    this.machine = machine;
    this.kernel = kernel;
    this.agent = new StreamAgent(house, machine);
  }

  static async enrolled(house: House, tpm = new SoftwareTpm()): Promise<MeasuredHost> {
    const kernel = new MeasuringKernel(tpm);
    return new MeasuredHost(house, await enrollMachine(house, { tpm }), kernel);
  }

  /** Answers a challenge with what it asks for. */
  answer(challenge: Challenge, answer: Answer = {}): void {
    const asked = challenge.logs.find(({ kind }) => kind === 'ima');
    const logs = asked === undefined ? [] : [this.kernel.log(asked.offset)];
    this.agent.answer(challenge, { logs, ...answer });
  }

  /** The challenge that is due. */
  async round(answer: Answer = {}): Promise<ResultRecord> {
    this.answer(await this.agent.challenge(), answer);
    return (await this.agent.expect('result')).result;
  }

  /** Asks for the next challenge. */
  hurry(): Promise<Challenge> {
    this.house.clock.advance(2_000);
    this.agent.send({ kind: 'wish' });
    return this.agent.challenge();
  }

  async next(answer: Answer = {}): Promise<ResultRecord> {
    this.answer(await this.hurry(), answer);
    return (await this.agent.expect('result')).result;
  }

  /** The same evidence does not fit three times: the third makes a result. */
  async torn(first: Challenge, answer: Answer = {}): Promise<ResultRecord> {
    let challenge = first;
    for (let attempt = 1; ; attempt++) {
      this.answer(challenge, answer);
      const told = await this.agent.expect('torn');
      if (told.attempt !== attempt) throw new Error(`attempt ${told.attempt} where ${attempt} was due`);
      if (attempt === 3) return (await this.agent.expect('result')).result;
      if (attempt > 1) this.house.clock.advance(2_000);
      challenge = await this.agent.challenge();
    }
  }

  /** A restart that clears the PCRs and is no reset: the list of the kernel that begins then holds nothing of before. */
  restart(): void {
    const { tpm } = this.machine;
    tpm.resume();
    for (const bank of tpm.pcrs.values()) for (const [pcr, value] of bank) bank.set(pcr, Buffer.alloc(value.length));
    this.kernel = new MeasuringKernel(tpm);
  }

  /** The agent comes anew. */
  async reconnect(change: StreamChange = {}): Promise<void> {
    await this.agent[Symbol.asyncDispose]();
    this.agent = new StreamAgent(this.house, this.machine, change);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.agent[Symbol.asyncDispose]();
  }
}
