import { describe, expect, test } from 'vitest';
import { EMPTY_CHECKPOINT, formatCheckpoint, parseCheckpoint } from '../../../tpm/ima/checkpoint.ts';
import type { ImaCheckpoint } from '../../../tpm/ima/checkpoint.ts';
import { ImaReplay, replayImaList } from '../../../tpm/ima/replay.ts';
import type { ImaReplayOutcome } from '../../../tpm/ima/replay.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384, TPM_ALG_SHA512 } from '../../../tpm/structures/constants.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { extendAll, fileEntries, makeList } from './list-builder.ts';
import type { EntryPlan, Padding } from './list-builder.ts';

const sizes = { [TPM_ALG_SHA1]: 20, [TPM_ALG_SHA256]: 32, [TPM_ALG_SHA384]: 48, [TPM_ALG_SHA512]: 64 } as const;
const nodes = {
  [TPM_ALG_SHA1]: 'sha1',
  [TPM_ALG_SHA256]: 'sha256',
  [TPM_ALG_SHA384]: 'sha384',
  [TPM_ALG_SHA512]: 'sha512',
} as const;
type Alg = keyof typeof sizes;

function target(plans: readonly EntryPlan[], algs: readonly Alg[], padding: Padding = 'bankHash', pcr = 10) {
  return new Map(algs.map((alg) => [alg, new Map([[pcr, extendAll(plans, nodes[alg], sizes[alg], padding, pcr)]])]));
}

function matched(outcome: ImaReplayOutcome): Extract<ImaReplayOutcome, { kind: 'matched' }> {
  if (outcome.kind !== 'matched') throw new Error(outcome.findings.map(({ message }) => message).join('; '));
  return outcome;
}

const plans = fileEntries(30, { violations: true });
const list = makeList(plans);
const all = [TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384, TPM_ALG_SHA512] as const;

describe('a list against quoted values', () => {
  test.each<[Alg]>(all.map((alg) => [alg]))('yields the value of bank 0x%s, violations and all', (alg) => {
    const outcome = matched(replayImaList(list, { target: target(plans, [alg]) }));
    expect(outcome.entries).toHaveLength(30);
    expect(outcome).toMatchObject({ waitingBytes: 0, findings: [] });
  });

  test('yields all banks with one prefix', () => {
    const { checkpoint } = matched(replayImaList(list, { target: target(plans, all) }));
    expect(checkpoint.pcrs.map(({ bank, modes }) => [bank.name, modes])).toEqual(
      ['sha1', 'sha256', 'sha384', 'sha512'].map((name) => [name, ['bankHash']]),
    );
  });

  test('proves a prefix; what follows waits', () => {
    for (const length of [1, 2, 17, 29, 30]) {
      const outcome = matched(replayImaList(list, { target: target(plans.slice(0, length), all) }));
      expect(outcome.entries.map(({ index }) => index)).toEqual([...Array(length).keys()]);
      expect(outcome.waitingBytes).toBe(makeList(plans.slice(length)).length);
      expect(outcome.checkpoint).toMatchObject({ entries: length, offset: makeList(plans.slice(0, length)).length });
    }
  });

  test.each<[Padding]>([['paddedSha1'], ['paddedViolations']])('finds kernels that extend by %s', (padding) => {
    const { checkpoint } = matched(replayImaList(list, { target: target(plans, [TPM_ALG_SHA256], padding) }));
    expect(checkpoint.pcrs[0]?.modes).toEqual([padding]);
  });

  test('finds a kernel that has no hash for one bank only', () => {
    const both = new Map([
      ...target(plans, [TPM_ALG_SHA1, TPM_ALG_SHA256]),
      ...target(plans, [TPM_ALG_SHA384], 'paddedSha1'),
    ]);
    const { checkpoint } = matched(replayImaList(list, { target: both }));
    expect(checkpoint.pcrs.map(({ modes }) => modes)).toEqual([['bankHash'], ['bankHash'], ['paddedSha1']]);
  });

  test('of other template hashes than SHA-1 yields the same values', () => {
    const hashes = [
      { node: 'sha256', size: 32 },
      { node: 'sha512', size: 64 },
    ];
    for (const hash of hashes) {
      const perBank = makeList(plans.map((plan) => ({ ...plan, hash })));
      const outcome = matched(replayImaList(perBank, { target: target(plans, all) }));
      expect(outcome.findings).toEqual([]);
      expect(
        matched(replayImaList(perBank, { target: target(plans, [TPM_ALG_SHA256], 'paddedSha1') })).entries,
      ).toHaveLength(30);
    }
  });

  test('of a big-endian kernel yields the values that its bytes give', () => {
    const big = plans.map((plan) => ({ ...plan, order: 'big' as const }));
    expect(matched(replayImaList(makeList(big), { target: target(big, all) })).findings).toEqual([]);
  });

  test('finds one prefix for all PCRs that IMA uses', () => {
    const mixed = plans.map((plan, index) => ({ ...plan, pcr: index % 3 === 1 ? 11 : 10 }));
    const of = (part: readonly EntryPlan[]) =>
      new Map([
        [TPM_ALG_SHA256, new Map([10, 11].map((pcr) => [pcr, extendAll(part, 'sha256', 32, 'bankHash', pcr)]))],
      ]);
    for (const length of [2, 3, 4, 20]) {
      const outcome = matched(replayImaList(makeList(mixed), { target: of(mixed.slice(0, length)) }));
      expect(outcome.checkpoint.entries).toBe(length);
      const next = matched(
        replayImaList(makeList(mixed).subarray(outcome.checkpoint.offset), {
          target: of(mixed),
          checkpoint: outcome.checkpoint,
        }),
      );
      expect(next.checkpoint.entries).toBe(30);
    }
    // One PCR from an earlier time than the other: no prefix has both.
    const torn = new Map([
      [
        TPM_ALG_SHA256,
        new Map([
          [10, extendAll(mixed.slice(0, 20), 'sha256', 32)],
          [11, extendAll(mixed.slice(0, 5), 'sha256', 32, 'bankHash', 11)],
        ]),
      ],
    ]);
    expect(replayImaList(makeList(mixed), { target: torn }).kind).toBe('incomplete');
  });

  test('tells of entries in a PCR that the quote does not cover, once', () => {
    const mixed = plans.map((plan, index) => ({ ...plan, pcr: index % 3 === 1 ? 11 : 10 }));
    const outcome = matched(replayImaList(makeList(mixed), { target: target(mixed, [TPM_ALG_SHA256]) }));
    expect(outcome.findings.map(({ code, index }) => [code, index])).toEqual([['IMA_PCR_UNCOVERED', 1]]);
    expect(outcome.checkpoint.uncovered).toEqual([11]);
    // Asked for later, that PCR cannot be followed from here.
    const later = replayImaList(Buffer.alloc(0), {
      target: target(mixed, [TPM_ALG_SHA256], 'bankHash', 11),
      checkpoint: outcome.checkpoint,
    });
    expect(later.kind).toBe('incomplete');
  });

  test('tells an empty prefix apart, whatever waits', () => {
    const outcome = replayImaList(list, { target: target([], all) });
    expect(outcome).toMatchObject({ kind: 'empty', waitingBytes: list.length, findings: [{ code: 'IMA_LOG_EMPTY' }] });
    expect(replayImaList(Buffer.alloc(0), { target: target([], all) }).kind).toBe('empty');
  });

  test('refuses to be followed to no value at all', () => {
    expect(() => replayImaList(list, { target: new Map() })).toThrow(TypeError);
  });
});

describe('a list that does not explain the quote', () => {
  const without = (index: number) => plans.filter((_, at) => at !== index);
  const swapped = [...plans.slice(0, 4), ...plans.slice(5, 6), ...plans.slice(4, 5), ...plans.slice(6)];
  const other = { ...plans[7], template: 'ima-sig', fields: fileEntries(40)[39]?.fields ?? [] };
  const relabelled = plans.map((plan, index) => (index === 3 ? { ...plan, violation: true } : plan));

  test.each<[string, Buffer]>([
    ['an empty one', Buffer.alloc(0)],
    ['one that ends too early', list.subarray(0, -1)],
    ['one without an entry in the middle', makeList(without(12))],
    ['one without its first entry', makeList(without(0))],
    ['one with two entries exchanged', makeList(swapped)],
    ['one with an entry exchanged for another', makeList(plans.map((plan, index) => (index === 7 ? other : plan)))],
    ['one with an entry that is made a violation', makeList(relabelled)],
    ['one in which a violation is left out', makeList(without(8))],
    ['one with an entry twice', makeList([...plans.slice(0, 5), ...plans.slice(4)])],
  ])('%s is incomplete and proves nothing', (_, bytes) => {
    const outcome = replayImaList(bytes, { target: target(plans, all) });
    expect(outcome.kind).toBe('incomplete');
    expect(outcome.findings[0]).toMatchObject({ code: 'IMA_LOG_INCOMPLETE', severity: 'error' });
    expect(outcome).not.toHaveProperty('entries');
  });

  test('is located where data and template hash part', () => {
    const changed = plans.map((plan, index) =>
      index === 11 ? { ...plan, fields: fileEntries(40)[39]?.fields ?? [], claimedHash: Buffer.alloc(20, 9) } : plan,
    );
    const outcome = replayImaList(makeList(changed), { target: target(plans, all) });
    expect(outcome.findings.map(({ code, index }) => [code, index])).toEqual([
      ['IMA_LOG_INCOMPLETE', undefined],
      ['IMA_TEMPLATE_HASH_MISMATCH', 11],
    ]);
  });

  test('a template hash that is false while the data is proven is a finding on that entry', () => {
    const changed = plans.map((plan, index) => (index === 11 ? { ...plan, claimedHash: Buffer.alloc(20, 9) } : plan));
    const outcome = matched(replayImaList(makeList(changed), { target: target(plans, all) }));
    expect(outcome.findings).toMatchObject([{ code: 'IMA_TEMPLATE_HASH_MISMATCH', index: 11 }]);
  });

  test('tells why it could not be read to the end', () => {
    const bytes = Buffer.from(list);
    bytes.writeUInt32LE(77, makeList(plans.slice(0, 9)).length);
    const outcome = replayImaList(bytes, { target: target(plans, all) });
    expect(outcome).toMatchObject({ kind: 'incomplete', entriesRead: 9 });
    expect(outcome.findings.map(({ code }) => code)).toContain('IMA_ENTRY_MALFORMED');
  });

  test('no byte of it can change unnoticed', () => {
    const short = fileEntries(3, { violations: false });
    const bytes = makeList(short);
    const goal = target(short, [TPM_ALG_SHA256]);
    const free = new Set<number>();
    for (let at = 0; at < bytes.length; at += 1) {
      const flipped = Buffer.from(bytes);
      flipped.writeUInt8((bytes[at] ?? 0) ^ 0x40, at);
      const outcome = replayImaList(flipped, { target: goal });
      if (outcome.kind === 'matched' && outcome.findings.length === 0) free.add(at);
    }
    // Only the name of a template is covered by nothing (verification of fields is what holds it).
    const names = [0, 1, 2].flatMap((index) => {
      const start = makeList(short.slice(0, index)).length + 28;
      return Array.from({ length: 7 }, (_, offset) => start + offset);
    });
    expect([...free].every((at) => names.includes(at))).toBe(true);
  });
});

describe('a list that is followed round by round', () => {
  const stages = [1, 4, 4, 9, 10, 30];

  test.each<[Padding]>([['bankHash'], ['paddedSha1'], ['paddedViolations']])(
    'comes to the same as in one go, through checkpoints that were stored (%s)',
    (padding) => {
      let checkpoint: ImaCheckpoint = EMPTY_CHECKPOINT;
      const seen: number[] = [];
      for (const stage of stages) {
        const goal = target(plans.slice(0, stage), [TPM_ALG_SHA256], padding);
        const outcome = matched(replayImaList(list.subarray(checkpoint.offset), { target: goal, checkpoint }));
        seen.push(...outcome.entries.map(({ index }) => index));
        checkpoint = parseCheckpoint(formatCheckpoint(outcome.checkpoint));
        expect(checkpoint).toEqual(outcome.checkpoint);
      }
      expect(seen).toEqual([...Array(30).keys()]);
      expect(checkpoint).toEqual(
        matched(replayImaList(list, { target: target(plans, [TPM_ALG_SHA256], padding) })).checkpoint,
      );
    },
  );

  test('costs nothing in a round that confirms, and needs no bytes', () => {
    const { checkpoint } = matched(replayImaList(list, { target: target(plans, all) }));
    const again = matched(replayImaList(Buffer.alloc(0), { target: target(plans, all), checkpoint }));
    expect(again.entries).toEqual([]);
    expect(again.checkpoint).toEqual(checkpoint);
  });

  test('does not go back: a list that began anew does not meet the quote from the checkpoint', () => {
    const { checkpoint } = matched(replayImaList(list, { target: target(plans.slice(0, 9), all) }));
    expect(replayImaList(list, { target: target(plans, all), checkpoint }).kind).toBe('incomplete');
    expect(replayImaList(Buffer.alloc(0), { target: target(plans.slice(0, 3), all), checkpoint }).kind).toBe(
      'incomplete',
    );
    expect(replayImaList(Buffer.alloc(0), { target: target([], all), checkpoint }).kind).toBe('incomplete');
  });

  test('stays in the mode that it was found in', () => {
    const { checkpoint } = matched(
      replayImaList(list, { target: target(plans.slice(0, 9), [TPM_ALG_SHA384], 'paddedSha1') }),
    );
    const turned = extendAll(plans.slice(9), 'sha384', 48);
    expect(
      replayImaList(list.subarray(checkpoint.offset), {
        target: new Map([[TPM_ALG_SHA384, new Map([[10, turned]])]]),
        checkpoint,
      }).kind,
    ).toBe('incomplete');
  });

  test('gives the same in pieces of any size as at once', () => {
    const random = new SeededRandom(77);
    for (let round = 0; round < 40; round += 1) {
      const stage = 1 + random.below(30);
      const replay = new ImaReplay({ target: target(plans.slice(0, stage), [TPM_ALG_SHA256], 'paddedSha1') });
      for (let at = 0; at < list.length;) {
        const size = 1 + random.below(300);
        replay.push(list.subarray(at, at + size));
        at += size;
      }
      expect(replay.isMatched).toBe(true);
      const outcome = matched(replay.outcome());
      expect(outcome.entries).toHaveLength(stage);
      expect(outcome.checkpoint.offset + outcome.waitingBytes).toBe(list.length);
    }
  });
});

describe('a stored checkpoint', () => {
  const good = formatCheckpoint(matched(replayImaList(list, { target: target(plans, [TPM_ALG_SHA256]) })).checkpoint);
  const document = JSON.parse(good) as { pcrs: readonly object[] };

  test.each<[string, unknown]>([
    ['of no JSON', 'x'],
    ['of another version', { ...document, version: 2 }],
    ['with a negative count', { ...document, entries: -1 }],
    ['with an offset that is no integer', { ...document, offset: 0.5 }],
    ['of a hash that does not exist', { ...document, layout: { byteOrder: 'little', hash: 'sha7' } }],
    ['of no byte order', { ...document, layout: { byteOrder: 'middle', hash: 'sha1' } }],
    ['with a value of the wrong size', { ...document, pcrs: [{ ...document.pcrs[0], value: '00' }] }],
    ['with a mode that does not exist', { ...document, pcrs: [{ ...document.pcrs[0], modes: ['other'] }] }],
    ['without modes', { ...document, pcrs: [{ ...document.pcrs[0], modes: [] }] }],
    ['that is a list', []],
    ['that is null', null],
  ])('%s is refused', (_, value) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    expect(() => parseCheckpoint(text)).toThrow(expect.objectContaining({ code: 'CHECKPOINT_MALFORMED' }));
  });

  test('before the first entry is as empty as it was', () => {
    expect(parseCheckpoint(formatCheckpoint(EMPTY_CHECKPOINT))).toEqual(EMPTY_CHECKPOINT);
  });
});
