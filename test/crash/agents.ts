/**
 * A process with agents as they are, each with its state directory; only their TPMs are elsewhere. Dies where ASSAY_CRASH says.
 *
 * Arguments: HOST:PORT, the pin, the parent of the state directories, the names of the machines.
 */
import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { join as joinPath } from 'node:path';

import { join } from '../../client/agent/join.ts';
import { runAgent } from '../../client/agent/run.ts';
import { StateDirectory } from '../../client/agent/state.ts';
import type { Disk } from '../../client/agent/state.ts';
import type { World } from '../../client/agent/world.ts';
import { fileSize, readPart } from '../../client/config.ts';
import { sleep } from '../../client/sdk/backoff.ts';
import { connect } from '../../client/sdk/client.ts';
import { parseAddress } from '../../client/sdk/profile.ts';
import { fetchAuthority } from '../../proto/credentials.ts';
import { listFile } from './list-file.ts';
import { parseCrash } from './plan.ts';
import type { Point } from './plan.ts';
import { RemoteTpm } from './remote-tpm.ts';
import type { FromAgents, ToAgents } from './tpm-calls.ts';

/** A service that was killed is back within seconds: the agent's longer pauses would only make the test longer. */
const LONGEST_PAUSE = 250;
/** By the agents' clock every new certificate is past its middle, so that each process renews once. */
const AHEAD = 4.6 * 60_000;

const [, , server = '', pin = '', parent = '', ...machines] = process.argv;
const crash = parseCrash(process.env['ASSAY_CRASH'] ?? '');
const ending = new AbortController();
const waiting = new Map<number, (answer: ToAgents) => void>();
let seen = 0;
let asked = 0;

function pass(point: Point): void {
  if (crash?.point !== point) return;
  seen += 1;
  if (seen === crash.count) process.kill(process.pid, 'SIGKILL');
}

function tell(message: FromAgents): void {
  process.send?.(message);
}

function ask(machine: string, call: Extract<FromAgents, { kind: 'tpm' }>['call']): Promise<ToAgents> {
  const id = (asked += 1);
  const { promise, resolve } = Promise.withResolvers<ToAgents>();
  waiting.set(id, resolve);
  tell({ kind: 'tpm', id, machine, call });
  return promise;
}

const disk: Disk = {
  open,
  rm,
  rename: async (from, to) => {
    pass('before-rename');
    await rename(from, to);
    pass('renamed');
  },
};

/** The clock is ahead except for enrolments, whose challenges would be over. */
class AgentClock {
  ahead = false;

  readonly now = (): Date => new Date(Date.now() + (this.ahead ? AHEAD : 0));
}

async function* passing<T>(items: AsyncIterable<T>, point: Point): AsyncGenerator<T> {
  for await (const item of items) {
    pass(point);
    yield item;
  }
}

function makeConnect(machine: string, clock: AgentClock): World['connect'] {
  return ({ server: address, authority, identity }) => {
    const { certificate, privateKey: key } = identity;
    const now = (): Date => new Date();
    const client = connect({ server: address, authority, certificate, key, now, random: Math.random });
    return {
      enrollment: {
        begin: (request, signal) => {
          clock.ahead = false;
          return client.enrollment.begin(request, signal);
        },
        complete: async (parts, signal) => {
          const answer = await client.enrollment.complete(passing(parts, 'before-send'), signal);
          pass('received');
          return answer;
        },
      },
      attestation: {
        attest: async function* (outgoing, signal) {
          clock.ahead = true;
          for await (const message of client.attestation.attest(passing(outgoing, 'before-send'), signal)) {
            if (message.kind === 'result') tell({ kind: 'result', machine, result: message.result });
            if (message.kind !== 'challenge') pass('received');
            yield message;
          }
        },
      },
      close: () => client.close(),
    };
  };
}

function makeWorld(machine: string, state: StateDirectory): World {
  const clock = new AgentClock();
  const say =
    (level: string) =>
    (fields: Readonly<Record<string, unknown>>, sentence: string): void => {
      process.stderr.write(`${JSON.stringify({ machine, level, ...fields, sentence })}\n`);
    };
  const quiet = (): void => undefined;
  return {
    state,
    openTpm: () => Promise.resolve(new RemoteTpm((call) => ask(machine, call))),
    connect: makeConnect(machine, clock),
    read: readPart,
    fileSize,
    agentVersion: '0.1.0',
    now: clock.now,
    random: Math.random,
    randomBytes,
    sleep: (millis, signal) => sleep(Math.min(millis, LONGEST_PAUSE), signal),
    log: { debug: quiet, info: say('info'), warn: say('warn'), error: say('error') },
    notifier: { ready: quiet, status: quiet, stopping: quiet },
  };
}

/** Joins where that is due, over all that the service goes through, then attests. */
async function work(machine: string): Promise<void> {
  const state = await StateDirectory.open(joinPath(parent, machine), { create: true, disk });
  const world = makeWorld(machine, state);
  const query = { ...parseAddress(server), fingerprint: pin, now: () => new Date(), signal: ending.signal };
  while (state.state === undefined && !ending.signal.aborted) {
    try {
      const logs = { boot: '/nonexistent/boot', userspace: '/nonexistent/userspace', ima: listFile(parent, machine) };
      const request = { server, pin, tcti: 'none', akAlgorithm: 'ecdsa-p256-sha256', logs } as const;
      await join(world, { ...request, fetchAuthority: () => fetchAuthority(query) }, ending.signal);
      tellEnrolled(machine, state);
    } catch (error) {
      world.log.warn({ error: String(error) }, 'could not join');
      await world.sleep(LONGEST_PAUSE, ending.signal);
    }
  }
  const { log } = world;
  const info: typeof log.info = (fields, sentence) => {
    log.info(fields, sentence);
    if (fields['event'] === 'enrolled') tellEnrolled(machine, state);
    if (fields['event'] === 'renewed') tell({ kind: 'renewed', machine });
  };
  await runAgent({ ...world, log: { ...log, info } }, ending.signal);
  await state.close();
}

/** What is on disk by now: the service's answer was verified, and a new process starts from it. */
function tellEnrolled(machine: string, { joined: { enrolled } }: StateDirectory): void {
  if (enrolled === undefined) return;
  const { hostId, akName } = enrolled;
  tell({ kind: 'enrolled', machine, enrollment: { hostId, akName: akName.toString('hex') } });
}

process.on('message', (answer: ToAgents) => {
  const resolve = waiting.get(answer.id);
  waiting.delete(answer.id);
  resolve?.(answer);
});
process.on('disconnect', () => process.exit(0));
process.once('SIGTERM', () => ending.abort());
process.stderr.write('ready\n');
await Promise.all(machines.map(work));
process.disconnect();
