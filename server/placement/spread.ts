import { Best } from './best.ts';
import type { Before } from './best.ts';

export interface SpreadOptions {
  /** At least 1. */
  readonly count: number;
  /** The group of each item, from 0, and how many groups there are; null: all items are one group. */
  readonly groups: { readonly of: Int32Array; readonly count: number } | null;
  readonly before: Before;
}

/**
 * Chooses items so that the groups have as equal shares as their sizes allow, and of each group its best. The answer takes the best
 * of every group, best first, then the second of every group, and so on: any beginning of it is spread as well.
 */
export function spread(items: Int32Array, { count, groups, before }: SpreadOptions): readonly number[] {
  if (groups === null) {
    const best = Best.of(Math.min(count, items.length), before);
    for (let position = 0; position < items.length; position += 1) best.offer(items[position] ?? 0);
    return best.sorted();
  }
  const sizes = new Int32Array(groups.count);
  for (let position = 0; position < items.length; position += 1) {
    const group = groups.of[items[position] ?? 0] ?? 0;
    sizes[group] = (sizes[group] ?? 0) + 1;
  }
  // As many groups as are asked for: one of each is enough, and their number costs nothing more.
  if (sizes.reduce((filled, size) => filled + (size > 0 ? 1 : 0), 0) >= count)
    return bestOfEach(items, { count, groups, before });
  const share = shareOf(sizes, count);
  const { heap, starts } = partsOf(sizes, share);
  const bests = Array.from(sizes, (size, group) => {
    return new Best(heap, { start: starts[group] ?? 0, capacity: Math.min(size, share) }, before);
  });
  for (let position = 0; position < items.length; position += 1) {
    const item = items[position] ?? 0;
    bests[groups.of[item] ?? 0]?.offer(item);
  }
  return inTurns(bests, { share, count, before });
}

/** The best groups by their best item. */
function bestOfEach(
  items: Int32Array,
  { count, groups, before }: SpreadOptions & { readonly groups: NonNullable<SpreadOptions['groups']> },
): readonly number[] {
  const bests = new Int32Array(groups.count).fill(-1);
  for (let position = 0; position < items.length; position += 1) {
    const item = items[position] ?? 0;
    const group = groups.of[item] ?? 0;
    const best = bests[group] ?? -1;
    if (best === -1 || before(item, best)) bests[group] = item;
  }
  const chosen = Best.of(count, before);
  for (const best of bests) if (best !== -1) chosen.offer(best);
  return chosen.sorted();
}

/** The fewest items of each group with which there are `count`, or all. */
function shareOf(sizes: Int32Array, count: number): number {
  const given = (share: number): number => sizes.reduce((sum, size) => sum + Math.min(size, share), 0);
  let low = 1;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (given(middle) >= count) high = middle;
    else low = middle + 1;
  }
  return low;
}

function partsOf(sizes: Int32Array, share: number): { readonly heap: Int32Array; readonly starts: Int32Array } {
  const starts = new Int32Array(sizes.length);
  let end = 0;
  for (const [group, size] of sizes.entries()) {
    starts[group] = end;
    end += Math.min(size, share);
  }
  return { heap: new Int32Array(end), starts };
}

function inTurns(
  bests: readonly Best[],
  { share, count, before }: { readonly share: number; readonly count: number; readonly before: Before },
): readonly number[] {
  const ranked = bests.map((best) => best.sorted());
  const chosen: number[] = [];
  for (let rank = 0; rank < share && chosen.length < count; rank += 1) {
    const turn = Best.of(count - chosen.length, before);
    for (const group of ranked) {
      const item = group[rank];
      if (item !== undefined) turn.offer(item);
    }
    chosen.push(...turn.sorted());
  }
  return chosen;
}
