import { expect, test } from 'vitest';
import { RpcError } from '../../../proto/rpc-error.ts';
import type { StatusCode } from '../../../proto/status.ts';
import type { WatchEvent } from '../../../client/sdk/resources.ts';
import { watch } from '../../../client/sdk/watch.ts';
import type { OpenWatch, WatchNotice } from '../../../client/sdk/watch.ts';

const removal = (host: string): WatchEvent => ({ kind: 'removal', host, reason: 'DELETED' });

function failure(code: StatusCode, reason = '', retryDelayMillis?: number): RpcError {
  return new RpcError({
    code,
    reason,
    message: 'm',
    metadata: {},
    fieldViolations: [],
    retryDelayMillis,
    requestId: '',
  });
}

/** One stream each: messages, then an error or the end. */
type Script = { readonly messages: readonly (readonly [WatchEvent | undefined, string])[]; readonly error?: Error };

class Fake {
  readonly tokens: string[] = [];
  readonly slept: number[] = [];
  readonly #scripts: Script[];
  readonly controller = new AbortController();

  constructor(...scripts: Script[]) {
    this.#scripts = scripts;
  }

  open: OpenWatch = async function* (this: Fake, token: string) {
    this.tokens.push(token);
    const script = this.#scripts.shift();
    if (script === undefined) {
      this.controller.abort();
      throw failure('CANCELLED');
    }
    for (const [event, resumeToken] of script.messages) yield { event, resumeToken };
    if (script.error !== undefined) throw script.error;
  }.bind(this);

  async run(resumeToken = ''): Promise<WatchNotice[]> {
    const notices: WatchNotice[] = [];
    const sleep = async (millis: number): Promise<void> => void this.slept.push(millis);
    const options = { signal: this.controller.signal, random: () => 1, resumeToken, sleep };
    for await (const notice of watch(this.open, options)) notices.push(notice);
    return notices;
  }
}

const kinds = (notices: readonly WatchNotice[]): string[] => notices.map(({ kind }) => kind);

test('resumes behind the last message after the stream broke, and says so', async () => {
  const fake = new Fake(
    {
      messages: [
        [removal('a'), 't1'],
        [removal('b'), 't2'],
      ],
      error: failure('UNAVAILABLE'),
    },
    { messages: [[removal('c'), 't3']] },
  );
  const notices = await fake.run();
  expect(kinds(notices)).toEqual(['removal', 'removal', 'interrupted', 'removal', 'interrupted']);
  expect(fake.tokens).toEqual(['', 't2', 't3']);
});

test('a message of a later release moves the position and shows nothing', async () => {
  const fake = new Fake({ messages: [[undefined, 't1']] });
  expect(kinds(await fake.run())).toEqual(['interrupted']);
  expect(fake.tokens).toEqual(['', 't1']);
});

test('a message that was not handled is not skipped by a later watch', async () => {
  const fake = new Fake({
    messages: [
      [removal('a'), 't1'],
      [removal('b'), 't2'],
    ],
  });
  const seen: string[] = [];
  for await (const notice of watch(fake.open, { signal: fake.controller.signal, random: () => 1 })) {
    if (notice.kind === 'removal') seen.push(notice.resumeToken);
    break;
  }
  expect(seen).toEqual(['t1']);
  expect(fake.tokens).toEqual(['']);
});

test('lists anew where the service cannot resume, and says why', async () => {
  const fake = new Fake(
    { messages: [], error: failure('OUT_OF_RANGE', 'REVISION_GONE') },
    { messages: [[removal('a'), 'n1']] },
  );
  const notices = await fake.run('old');
  expect(notices[0]).toEqual({ kind: 'relisting', reason: 'REVISION_GONE' });
  expect(fake.tokens).toEqual(['old', '', 'n1']);
  expect(fake.slept.length).toBeGreaterThanOrEqual(1);
});

test('backs off further with each failure and starts over after a message', async () => {
  const broken: Script = { messages: [], error: failure('UNAVAILABLE') };
  const fake = new Fake({ messages: [[removal('a'), 't']] }, broken, broken, { messages: [[removal('b'), 't']] });
  await fake.run();
  expect(fake.slept).toEqual([1000, 2000, 4000, 1000]);
});

test('waits no shorter than the service asks', async () => {
  const fake = new Fake(
    { messages: [[removal('a'), 't']] },
    { messages: [], error: failure('UNAVAILABLE', '', 30_000) },
  );
  await fake.run();
  expect(fake.slept[1]).toBeGreaterThanOrEqual(30_000);
});

test('a first stream that fails is the caller’s to see', async () => {
  await expect(new Fake({ messages: [], error: failure('UNAVAILABLE') }).run()).rejects.toMatchObject({
    code: 'UNAVAILABLE',
  });
});

test.each(['PERMISSION_DENIED', 'UNAUTHENTICATED', 'INVALID_ARGUMENT', 'UNIMPLEMENTED'] as const)(
  'what another try cannot change ends the watch: %s',
  async (code) => {
    const fake = new Fake({ messages: [[removal('a'), 't']] }, { messages: [], error: failure(code) });
    await expect(fake.run()).rejects.toMatchObject({ code });
  },
);

test('an error that is not of the call ends the watch', async () => {
  const fake = new Fake({ messages: [[removal('a'), 't']], error: new TypeError('defect') });
  await expect(fake.run()).rejects.toThrow('defect');
});
