import { beforeEach, describe, expect, test } from 'vitest';
import { Gauge, movedLogs } from '../../../client/agent/gauge.ts';

const paths = { boot: '/k/boot', userspace: '/run/user', ima: '/k/ima/list' };

/** By path: what reading it gives, its size, or the code of the error. */
let contents: Map<string, string>;
let sizes: Map<string, number | string>;
let told: { readonly fields: Readonly<Record<string, unknown>>; readonly sentence: string }[];
let gauge: Gauge;

beforeEach(() => {
  contents = new Map();
  sizes = new Map<string, number | string>([
    ['/run/user', 200],
    ['/k/ima/list', 0],
  ]);
  told = [];
  const tell = (fields: Readonly<Record<string, unknown>>, sentence: string): void =>
    void told.push({ fields, sentence });
  gauge = new Gauge(
    {
      read: async (path, { limit }) => {
        const content = contents.get(path) ?? 'ENOENT';
        if (/^E[A-Z]+$/.test(content)) throw failure(content);
        if (content.length > limit) throw failure('EFBIG');
        return Buffer.from(content);
      },
      fileSize: async (path) => {
        const size = sizes.get(path) ?? 'ENOENT';
        if (typeof size === 'string') throw failure(size);
        return size;
      },
      log: { debug: tell, info: tell, warn: tell, error: tell },
    },
    paths,
  );
});

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}

describe('what was measured', () => {
  test('is the number of entries beside the list, and the size of the userspace log', async () => {
    contents.set('/k/ima/runtime_measurements_count', '1234\n');
    expect(await gauge.read()).toEqual({ userspace: 200, ima: 1234 });
    expect(told).toEqual([]);
  });

  test('is the size of a list that has no number beside it', async () => {
    sizes.set('/k/ima/list', 5000);
    expect(await gauge.read()).toEqual({ userspace: 200, ima: 5000 });
  });

  test('is nothing where there are no logs, which is no fault', async () => {
    sizes.clear();
    expect(await gauge.read()).toEqual({ userspace: 0, ima: 0 });
    expect(told).toEqual([]);
  });

  test.each([
    ['may not be read', 'EACCES', 'EACCES'],
    ['is no number', 'many', 'unknown'],
    ['is empty', '', 'unknown'],
    ['is longer than any number', '1'.repeat(65), 'EFBIG'],
    ['is a number with more behind it', '12\n13\n', 'unknown'],
    ['is beyond what a number holds', '9'.repeat(20), 'unknown'],
  ])('is not known where the count %s, which is said once', async (_name, content, error) => {
    contents.set('/k/ima/runtime_measurements_count', content);
    for (let look = 0; look < 5; look += 1) expect(await gauge.read()).toEqual({ userspace: 200, ima: null });
    expect(told.map(({ fields }) => fields)).toEqual([{ event: 'not_watched', log: 'ima', error }]);
    contents.set('/k/ima/runtime_measurements_count', '7');
    expect(await gauge.read()).toEqual({ userspace: 200, ima: 7 });
  });

  test('is told for each log by itself', async () => {
    sizes.set('/run/user', 'EACCES').set('/k/ima/list', 'EIO');
    for (let look = 0; look < 3; look += 1) expect(await gauge.read()).toEqual({ userspace: null, ima: null });
    expect(told.map(({ fields }) => fields['log'])).toEqual(['userspace', 'ima']);
  });
});

test.each([
  [{ userspace: 1, ima: 1 }, { userspace: 1, ima: 1 }, []],
  [{ userspace: 1, ima: 1 }, { userspace: 2, ima: 2 }, ['userspace', 'ima']],
  [{ userspace: 1, ima: 2 }, { userspace: 1, ima: 1 }, ['ima']],
  [{ userspace: 1, ima: 2 }, { userspace: null, ima: null }, []],
  [{ userspace: null, ima: 2 }, { userspace: 0, ima: 2 }, ['userspace']],
])('from %j to %j moved %j', (before, after, moved) => {
  expect(movedLogs(before, after)).toEqual(moved);
});
