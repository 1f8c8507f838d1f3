/** The process of some machines' agents, with what it was told by the service. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';

import type { AttestationResult } from '../../client/sdk/resources.ts';
import { Child } from './child.ts';
import type { CrashingService } from './crashing-service.ts';
import { KeyLost } from './machine.ts';
import type { Machine } from './machine.ts';
import { formatCrash } from './plan.ts';
import type { Crash } from './plan.ts';
import { toldResult } from './tellings.ts';
import type { ToldEnrollment, ToldResult } from './tellings.ts';
import type { FromAgents, ToAgents } from './tpm-calls.ts';

const MAIN = join(import.meta.dirname, 'agents.ts');

export class AgentProcess {
  readonly results: ToldResult[] = [];
  readonly enrollments: ToldEnrollment[] = [];
  readonly #service: CrashingService;
  readonly #machines: readonly Machine[];
  /** Client certificates that came into use after a renewal. */
  renewals = 0;
  #child: Child | undefined;

  constructor(service: CrashingService, machines: readonly Machine[]) {
    this.#service = service;
    this.#machines = machines;
  }

  get child(): Child {
    if (this.#child === undefined) throw new Error('these agents were never started');
    return this.#child;
  }

  start(crash?: Crash): Child {
    const { server, pin, directory } = this.#service;
    const names = this.#machines.map(({ name }) => name);
    const env = {
      NODE_COMPILE_CACHE: join(directory, 'compiled'),
      ...(crash === undefined ? {} : { ASSAY_CRASH: formatCrash(crash) }),
    };
    const child = new Child([MAIN, server, pin, directory, ...names], {
      env,
      onMessage: (message) => this.#hear(message as FromAgents, (answer) => child.send(answer)),
    });
    this.#child = child;
    return child;
  }

  /** The state directory of a machine is gone: its next agent joins with new keys. The agents must not run. */
  async loseDisk(index: number): Promise<void> {
    const name = this.#machines[index]?.name ?? '';
    await rm(join(this.#service.directory, name), { recursive: true, force: true });
  }

  async stop(): Promise<void> {
    await this.#child?.kill('SIGTERM');
  }

  #hear(message: FromAgents, answer: (answer: ToAgents) => void): void {
    switch (message.kind) {
      case 'tpm':
        return answer(this.#ask(message));
      case 'result': {
        const heard = { to: 'agent', askedAt: 0, heardAt: Date.now() };
        this.results.push(toldResult(message.result as AttestationResult, heard));
        return;
      }
      case 'enrolled':
        this.enrollments.push(message.enrollment as ToldEnrollment);
        return;
      case 'renewed':
        this.renewals += 1;
    }
  }

  #ask({ id, machine: name, call }: Extract<FromAgents, { readonly kind: 'tpm' }>): ToAgents {
    const machine = this.#machines.find((each) => each.name === name);
    if (machine === undefined) throw new TypeError(`no machine is called ${name}`);
    try {
      return { id, value: machine.answer(call) };
    } catch (error) {
      if (error instanceof KeyLost) return { id, lost: true };
      throw error;
    }
  }
}
