import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { getOption, toBinary } from '@bufbuild/protobuf';
import type { DescMethod } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { access, Role } from '../../../proto/gen/assay/v1/access_pb.ts';
import { TrustStatus } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import { ServerReflection } from '../../../proto/gen/grpc/reflection/v1/reflection_pb.ts';
import { Health } from '../../../proto/gen/health/v1/health_pb.ts';
import { RpcError } from '../../../proto/rpc-error.ts';
import { STATUS_CODES } from '../../../proto/status.ts';
import { mutant } from '../../fuzz/mutate.ts';
import { methodsOfContract, pathOf } from '../../support/contract.ts';
import { makeTlsKey } from '../../support/evidence-builder.ts';
import { MessageMaker } from '../../support/message-maker.ts';
import type { Dictionary } from '../../support/message-maker.ts';
import { frame, RawCaller } from '../../support/raw-caller.ts';
import type { RawAnswer } from '../../support/raw-caller.ts';
import { entry, putSet } from '../store/fixtures.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { ekCertificate, enroll, OPERATOR, putPolicy } from '../../support/test-service.ts';
import { goOnline } from './agent-online.ts';
import type { AgentOnline } from './agent-online.ts';

/** Calls of each kind for each method. */
const CALLS = 64;
const AT_ONCE = 8;
const SEED = Number(process.env['ASSAY_FUZZ_SEED'] ?? 20_261_125);

/** The standard services are anybody's, like enrolment. */
const METHODS = [...(await methodsOfContract()), ...Health.methods, ...ServerReflection.methods];
const REASONS = readFileSync(join(import.meta.dirname, '..', '..', '..', 'docs', 'reasons.md'), 'utf8');

/** How often each reason was given; '' counts what went well. */
const seen = new Map<string, number>();

/** Lists whose tokens were forged behind the right beginning. */
let boundLists = 0;

let online: AgentOnline;
let dictionary: Dictionary;
const callers = new Map<'agent' | 'everybody else', RawCaller>();

beforeAll(async () => {
  online = await goOnline();
  const { running } = online;
  const { port } = running.service.address;
  const tls = makeTlsKey();
  const victim = new SoftwareTpm();
  const { host, clientCertificate } = await enroll(running.house, victim, victim.createAk(), { tls });
  const roles = ['operator', 'orchestrator', 'relying_party', 'consumer', 'auditor'] as const;
  callers.set('everybody else', await RawCaller.open(port, { identity: await running.identity('hostile', roles) }));
  callers.set('agent', await RawCaller.open(port, { identity: online.identity }));
  const ek = victim.ek(0).publicArea.raw;
  // The host that attests below is named nowhere: nobody may take its verdict away but who has a right to.
  dictionary = {
    texts: [
      `hosts/${host.id}`,
      host.id,
      'trustPolicies/base',
      'trustPolicies/other',
      'identities/somebody',
      `trustAnchors/${'ab'.repeat(32)}`,
      `inventory/${'ab'.repeat(32)}`,
      'labels',
      'node_name',
      'sha256',
      'v1',
      '00'.repeat(32),
      'a',
    ],
    bytes: [
      ek,
      ekCertificate(victim),
      clientCertificate,
      tls.spki,
      online.ak.name,
      Buffer.alloc(32, 1),
      Buffer.alloc(80),
    ],
  };
});
afterAll(async () => {
  for (const caller of callers.values()) caller[Symbol.dispose]();
  await online.running[Symbol.asyncDispose]();
});

function callerOf(method: DescMethod): RawCaller {
  const caller = callers.get(getOption(method, access).roles.includes(Role.AGENT) ? 'agent' : 'everybody else');
  if (caller === undefined) throw new TypeError('no caller');
  return caller;
}

const isStream = ({ methodKind }: DescMethod): boolean =>
  methodKind === 'server_streaming' || methodKind === 'bidi_streaming';

/** What no request may lead to: these say that the service is at fault, or has lost something. */
const FAULTS: readonly number[] = [-1, STATUS_CODES.UNKNOWN, STATUS_CODES.INTERNAL, STATUS_CODES.DATA_LOSS];

function checkAnswer(answer: RawAnswer, what: string): void {
  const { status, reason, message } = answer;
  seen.set(reason, (seen.get(reason) ?? 0) + 1);
  if (FAULTS.includes(status)) expect.fail(`${what}: status ${status} ${reason} ${message}`);
  if (status === STATUS_CODES.OK) return;
  if (!REASONS.includes(`| ${reason} |`)) expect.fail(`${what}: reason "${reason}" is not on the page of reasons`);
  if (/\.ts:\d|node:internal|SQLITE/.test(message)) expect.fail(`${what}: tells of its inside: ${message}`);
}

/** Sends them all, a few at a time; none may be the service's fault. Answers how many were refused. */
async function sendAll(method: DescMethod, bodies: readonly Buffer[]): Promise<number> {
  let refused = 0;
  for (let from = 0; from < bodies.length; from += AT_ONCE) {
    // Limits on enrolment are another test's.
    online.running.house.clock.advance(2_000);
    const batch = bodies.slice(from, from + AT_ONCE);
    // A stream that goes well lasts for ever; what has not failed by then has been taken.
    const timeout = isStream(method) ? 100 : 20_000;
    const answers = await Promise.all(
      batch.map((body) => callerOf(method).call({ path: pathOf(method), body, timeout })),
    );
    for (const [index, answer] of answers.entries()) {
      const lasted = isStream(method) && answer.status === STATUS_CODES.DEADLINE_EXCEEDED;
      if (!lasted) checkAnswer(answer, `seed ${SEED} ${pathOf(method)} ${batch[index]?.toString('hex').slice(0, 400)}`);
      if (answer.status !== STATUS_CODES.OK && !lasted) refused += 1;
    }
  }
  return refused;
}

/** One to three messages: streams take several, other methods must refuse them. */
function bodyOf(random: SeededRandom, makeOne: () => Buffer): Buffer {
  const count = random.below(4) === 0 ? 1 + random.below(3) : 1;
  return Buffer.concat(Array.from({ length: count }, () => frame(makeOne())));
}

/** What a sound round says under the policy of this test alone: an operator's hostile request may well have made another one. */
async function honestRound(): Promise<unknown> {
  const { store } = online.running.house;
  for (const { id } of (await store.allPolicies()).policies)
    await store.deletePolicy(id, { ...OPERATOR, expected: 'any' });
  await putPolicy(store);
  for (;;) {
    try {
      return (await online.round()).result;
    } catch (error) {
      if (!(error instanceof RpcError) || error.reason !== 'HOST_CHANGED') throw error;
    }
  }
}

describe('every method of the contract', () => {
  it.each(METHODS.map((method) => ({ method, path: pathOf(method) })))(
    '$path answers any fields with a typed error or an answer',
    async ({ method, path }) => {
      const random = new SeededRandom(SEED + path.length);
      const maker = new MessageMaker(random, dictionary);
      const one = (): Buffer => Buffer.from(toBinary(method.input, maker.make(method.input)));
      await sendAll(
        method,
        Array.from({ length: CALLS }, () => bodyOf(random, one)),
      );
    },
  );

  it.each(METHODS.map((method) => ({ method, path: pathOf(method) })))(
    '$path answers damaged bytes with a typed error or an answer',
    async ({ method, path }) => {
      const random = new SeededRandom(SEED - path.length);
      const maker = new MessageMaker(random, dictionary);
      const corpus = Array.from({ length: 6 }, () => Buffer.from(toBinary(method.input, maker.make(method.input))));
      const bodies = Array.from({ length: CALLS }, () => bodyOf(random, () => mutant(corpus, random)));
      const frames = Array.from({ length: CALLS / 4 }, () =>
        mutant(
          corpus.map((each) => frame(each)),
          random,
        ),
      );
      // What is no frame is refused below the bridge, without a reason.
      await sendAll(method, bodies);
      const answers = await Promise.all(
        frames.map((body) => callerOf(method).call({ path, body, timeout: isStream(method) ? 100 : 5_000 })),
      );
      expect(answers.filter(({ status }) => status === STATUS_CODES.UNKNOWN)).toEqual([]);
    },
  );
});

/** What follows the bound list in a token: where the next page begins. */
const CURSORS = ['', '\0', "' OR 1=1 --", '-1', '1e309', '9'.repeat(40), '\ud800', '../..', '%', 'h-', 'z'.repeat(600)];

describe('every method that lists page by page', () => {
  /** What a list is of, where that must be named. */
  const WITHIN: Readonly<Record<string, () => object>> = {
    ListReferenceEntries: () => ({ name: 'referenceSets/listed' }),
    GetBootReport: () => ({ host: `hosts/${online.hostId}` }),
  };
  const listing = METHODS.filter(({ input }) => input.fields.some(({ name }) => name === 'page_token'));

  it('are some', () => {
    expect(listing.length).toBeGreaterThan(5);
  });

  it.each(listing.map((method) => ({ method, path: pathOf(method) })))(
    '$path refuses a token that was forged, or begins where it says',
    async ({ method, path }) => {
      const { house } = online.running;
      await putPolicy(house.store);
      await putPolicy(house.store, { id: 'other' });
      for (const id of ['listed', 'other']) await putSet(house.store, id, [entry('a'), entry('b')]);
      const channel = online.running.connect(await online.running.identity('lister', ['operator', 'auditor']));
      const client = channel.client(method.parent) as unknown as Readonly<Record<string, (request: object) => unknown>>;
      const within = WITHIN[method.name]?.() ?? {};
      const list = async (pageToken: string): Promise<{ readonly nextPageToken?: string }> =>
        (await client[method.localName]?.({ pageSize: 1, pageToken, ...within })) as {
          readonly nextPageToken?: string;
        };
      // Where there is no second page the bound list is not known: then every token must be refused.
      const [bound = ''] = parsed((await list('')).nextPageToken ?? '');
      if (bound !== '') boundLists += 1;
      const forged = [
        ...CURSORS.map((cursor) => JSON.stringify([bound, cursor])),
        ...[
          'null',
          '[]',
          '{}',
          '[1,2]',
          `["${bound}"]`,
          `["${bound}",null]`,
          `["${bound}",{"$ne":1}]`,
          '['.repeat(500),
        ],
      ];
      for (const text of forged) {
        const answer: unknown = await list(Buffer.from(text).toString('base64url')).catch((error: unknown) => error);
        if (answer instanceof RpcError) expect([answer.code, path]).toEqual(['INVALID_ARGUMENT', path]);
        else expect(bound, `${path} takes ${text}`).not.toBe('');
      }
    },
  );
});

/** The two parts of a token. */
function parsed(token: string): readonly string[] {
  return token === '' ? [] : (JSON.parse(Buffer.from(token, 'base64url').toString()) as readonly string[]);
}

describe('the service afterwards', () => {
  it('was asked by callers that it lets in, and gave many reasons', () => {
    process.stdout.write(`seed ${SEED}: ${JSON.stringify(Object.fromEntries(seen))}\n`);
    expect(seen.get('') ?? 0).toBeGreaterThan(METHODS.length);
    expect(boundLists).toBeGreaterThan(1);
    expect(seen.get('INVALID_FIELD') ?? 0).toBeGreaterThan(10 * METHODS.length);
    expect(seen.get('MALFORMED_MESSAGE') ?? 0).toBeGreaterThan(METHODS.length);
    for (const reason of ['ROLE_MISSING', 'CERTIFICATE_MISSING', 'IDENTITY_REVOKED', 'HOST_REVOKED'])
      expect(seen.get(reason)).toBeUndefined();
  });

  it('has logged no fault and attests its host as before', async () => {
    expect(online.running.errors).toEqual([]);
    expect(await honestRound()).toMatchObject({ host: `hosts/${online.hostId}`, status: TrustStatus.AFFIRMING });
  });
});
