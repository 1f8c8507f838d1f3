import type { ResultTimes } from '../store/placement-store.ts';
import type { Labels, PlacementRecord } from '../store/records.ts';
import { Best } from './best.ts';
import type { Before } from './best.ts';
import { oldestChallenge, refusalBits } from './requirements.ts';
import type { PlacementRequirements, PlacementTier } from './requirements.ts';
import { collectCommon, SlotSet } from './slot-set.ts';
import { spread } from './spread.ts';

export type PlacementOrder = 'freshest' | 'longest_valid';

export interface PlacementQuery {
  readonly requirements: PlacementRequirements;
  /** Labels of the hosts that the caller sees. */
  readonly scope: Labels;
  readonly now: number;
}

export interface Picking extends PlacementQuery {
  readonly count: number;
  /** Label over whose values the hosts are spread; '' for none. */
  readonly spreadBy: string;
  readonly order: PlacementOrder;
  /** Hosts that are passed over. */
  readonly without: ReadonlySet<string>;
}

/**
 * Present results by what placement asks for: sets of hosts by label, policy and status, and columns of times, so that a selection
 * is an intersection and one pass over numbers. What it says may be a second old: {@link selectHosts} asks the store again.
 */
export class PlacementIndex {
  readonly #slots = new Map<string, number>();
  readonly #nodeNames = new Map<string, number>();
  readonly #records: (PlacementRecord | undefined)[] = [];
  readonly #free: number[] = [];
  #challengeTimes = new Float64Array(1024);
  #validUntils = new Float64Array(1024);
  #policyVersions = new Float64Array(1024);
  /** What a query works on: reused, for a query is done before the next one begins. */
  #found = new Int32Array(1024);
  #members = new Int32Array(1024);
  #groups = new Int32Array(1024);
  /** By the label that was spread over, as long as no label changes. */
  readonly #groupings = new Map<string, Grouping>();
  readonly #everything = new SlotSet();
  /** By the lowest tier that is asked for. */
  readonly #tiers: Readonly<Record<PlacementTier, SlotSet>> = { affirming: new SlotSet(), warning: new SlotSet() };
  readonly #policies = new Map<string, SlotSet>();
  readonly #labels = new Map<string, Map<string, SlotSet>>();

  get size(): number {
    return this.#slots.size;
  }

  /** Takes a present result, unless a newer one is there. */
  apply(record: PlacementRecord): void {
    const known = this.#slots.get(record.hostId);
    if (known === undefined) {
      this.#groupings.clear();
      return this.#insert(this.#newSlot(), record);
    }
    const before = this.#records[known];
    if (before === undefined || !isNewer(record, before)) return;
    if (before.revision === record.revision) this.#setColumns(known, record);
    else {
      if (!sameLabels(before.labels, record.labels)) this.#groupings.clear();
      this.#unlink(known, before);
      this.#insert(known, record);
    }
  }

  /** Takes the times of a confirmation, where the result that it confirms is the one that is here. */
  move(move: ResultTimes): void {
    const slot = this.#slots.get(move.hostId);
    const before = slot === undefined ? undefined : this.#records[slot];
    if (slot === undefined || before?.revision !== move.revision) return;
    const { challengeTime, validUntil } = move;
    if (challengeTime > before.challengeTime) this.#setColumns(slot, { ...before, challengeTime, validUntil });
  }

  remove(hostId: string): void {
    const slot = this.#slots.get(hostId);
    const record = slot === undefined ? undefined : this.#records[slot];
    if (slot === undefined || record === undefined) return;
    this.#unlink(slot, record);
    this.#records[slot] = undefined;
    this.#slots.delete(hostId);
    this.#free.push(slot);
  }

  clear(): void {
    for (const hostId of [...this.#slots.keys()]) this.remove(hostId);
  }

  /** The best hosts that satisfy the requirements, in order, and how many satisfy them. */
  pick(picking: Picking): { readonly picked: readonly PlacementRecord[]; readonly selectable: number } {
    const found = this.#selectable(picking);
    const before = this.#beforeBy(picking.order === 'freshest' ? this.#challengeTimes : this.#validUntils);
    const groups = this.#groupsBy(picking.spreadBy, found);
    const chosen = spread(found, { count: picking.count, groups, before });
    return { picked: chosen.flatMap((slot) => this.#records[slot] ?? []), selectable: found.length };
  }

  /**
   * Hosts in the scope that are refused: how many by bit of their refusals, and at most `limit` of them, those with the fewest
   * refusals first, then by id. It looks at every host, a part of them at each step, and says what held at the first: the index may
   * change between steps.
   */
  *refused(
    { requirements, scope, now }: PlacementQuery,
    limit: number,
  ): Generator<void, { readonly hosts: readonly PlacementRecord[]; readonly counts: readonly number[] }> {
    const counts: number[] = [];
    const records = this.#records.slice();
    const refusals = new Uint8Array(records.length);
    const best = Best.of(limit, (a, b) => {
      const difference = (refusals[a] ?? 0) - (refusals[b] ?? 0);
      return difference === 0 ? (records[a]?.hostId ?? '') < (records[b]?.hostId ?? '') : difference < 0;
    });
    const matches = this.#marked({ within: this.#withLabels(requirements.matchLabels) ?? [NOTHING] });
    const wanted = this.#marked({
      within: [this.#everything],
      without: this.#excludedSets(requirements.excluded, new Set()),
    });
    const within = this.#withLabels(scope) ?? [NOTHING];
    // Other queries work on the same array between steps.
    const found = this.#found.slice(0, collectCommon(this.#found, { within }));
    for (const [position, slot] of found.entries()) {
      if (position % STEP === STEP - 1) yield;
      const record = records[slot];
      const selected = { matches: matches[slot] === 1, excluded: wanted[slot] !== 1 };
      const bits = record === undefined ? 0 : refusalBits(record, requirements, now, selected);
      if (bits === 0) continue;
      let count = 0;
      for (let bit = 0; bits >>> bit !== 0; bit += 1) {
        if (((bits >>> bit) & 1) === 0) continue;
        count += 1;
        counts[bit] = (counts[bit] ?? 0) + 1;
      }
      refusals[slot] = count;
      best.offer(slot);
    }
    return { hosts: best.sorted().flatMap((slot) => records[slot] ?? []), counts };
  }

  /** By slot, 1 for each that is in all of `within` and in none of `without`. */
  #marked(sets: Parameters<typeof collectCommon>[1]): Uint8Array {
    const marks = new Uint8Array(this.#records.length);
    const count = collectCommon(this.#members, sets);
    for (let position = 0; position < count; position += 1) marks[this.#members[position] ?? 0] = 1;
    return marks;
  }

  /** Slots of all hosts that satisfy a picking. */
  #selectable({ requirements, scope, now, without }: Picking): Int32Array {
    const { minimumTier, policyId, minimumPolicyVersion, excluded } = requirements;
    const wanted = this.#withLabels(scope);
    const matching = this.#withLabels(requirements.matchLabels);
    const policy = policyId === '' ? this.#everything : this.#policies.get(policyId);
    if (wanted === null || matching === null || policy === undefined) return new Int32Array(0);
    const tier = this.#tiers[minimumTier];
    const within = [tier, policy, ...wanted, ...matching];
    const oldest = oldestChallenge(requirements, now);
    const version = policyId === '' ? 0 : minimumPolicyVersion;
    const found = this.#found;
    const common = collectCommon(found, { within, without: this.#excludedSets(excluded, without) });
    let count = 0;
    for (let position = 0; position < common; position += 1) {
      const slot = found[position] ?? 0;
      if ((this.#validUntils[slot] ?? 0) <= now) continue;
      if ((this.#challengeTimes[slot] ?? 0) < oldest || (this.#policyVersions[slot] ?? 0) < version) continue;
      found[count] = slot;
      count += 1;
    }
    return found.subarray(0, count);
  }

  #excludedSets(excluded: PlacementRequirements['excluded'], without: ReadonlySet<string>): readonly SlotSet[] {
    const named = new SlotSet();
    for (const ids of [excluded.hostIds, without]) {
      for (const id of ids) addKnown(named, this.#slots.get(id));
    }
    for (const name of excluded.nodeNames) addKnown(named, this.#nodeNames.get(name));
    const labelled = excluded.labels.flatMap(({ key, value }) => this.#labels.get(key)?.get(value) ?? []);
    return [named, ...labelled];
  }

  /** Sets in whose intersection all hosts with these labels are; null where there can be none. */
  #withLabels(labels: Labels): readonly SlotSet[] | null {
    const sets = [this.#everything];
    for (const [key, value] of Object.entries(labels)) {
      const set = this.#labels.get(key)?.get(value);
      if (set === undefined) return null;
      sets.push(set);
    }
    return sets;
  }

  /** Group 0 has the hosts without the label. */
  #groupsBy(key: string, found: Int32Array): Grouping | null {
    const values = this.#labels.get(key);
    if (key === '' || values === undefined) return null;
    if (values.size > FEW_VALUES) return this.#groupsOf(key, found);
    const known = this.#groupings.get(key);
    if (known !== undefined) return known;
    const of = new Int32Array(this.#groups.length);
    let group = 0;
    for (const set of values.values()) {
      group += 1;
      const members = collectCommon(this.#members, { within: [set] });
      for (let position = 0; position < members; position += 1) of[this.#members[position] ?? 0] = group;
    }
    const grouping = { of, count: group + 1 };
    if (this.#groupings.size >= MAX_GROUPINGS) this.#groupings.clear();
    this.#groupings.set(key, grouping);
    return grouping;
  }

  /** The same by a look at each found host: a label with a value for every host costs nothing for those that were not found. */
  #groupsOf(key: string, found: Int32Array): Grouping {
    const of = this.#groups;
    const groups = new Map<string, number>();
    for (const slot of found) {
      const { labels = {} } = this.#records[slot] ?? {};
      const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
      let group = value === undefined ? 0 : groups.get(value);
      if (group === undefined) groups.set(value ?? '', (group = groups.size + 1));
      of[slot] = group;
    }
    return { of, count: groups.size + 1 };
  }

  #beforeBy(column: Float64Array): Before {
    return (a, b) => {
      const difference = (column[b] ?? 0) - (column[a] ?? 0);
      return difference === 0 ? this.#idBefore(a, b) : difference < 0;
    };
  }

  #idBefore(a: number, b: number): boolean {
    return (this.#records[a]?.hostId ?? '') < (this.#records[b]?.hostId ?? '');
  }

  #newSlot(): number {
    const slot = this.#free.pop() ?? this.#records.length;
    if (slot >= this.#challengeTimes.length) {
      this.#challengeTimes = grown(this.#challengeTimes);
      this.#validUntils = grown(this.#validUntils);
      this.#policyVersions = grown(this.#policyVersions);
      const size = this.#challengeTimes.length;
      this.#found = new Int32Array(size);
      this.#members = new Int32Array(size);
      this.#groups = new Int32Array(size);
    }
    return slot;
  }

  #insert(slot: number, record: PlacementRecord): void {
    this.#slots.set(record.hostId, slot);
    this.#setColumns(slot, record);
    for (const set of this.#setsOf(record)) set.add(slot);
    if (record.nodeName !== '') this.#nodeNames.set(record.nodeName, slot);
  }

  #setColumns(slot: number, record: PlacementRecord): void {
    this.#records[slot] = record;
    this.#challengeTimes[slot] = record.challengeTime;
    this.#validUntils[slot] = record.validUntil ?? -Infinity;
    this.#policyVersions[slot] = record.policyVersion;
  }

  #unlink(slot: number, record: PlacementRecord): void {
    for (const set of this.#setsOf(record)) set.delete(slot);
    // Another host may have the name by now.
    if (this.#nodeNames.get(record.nodeName) === slot) this.#nodeNames.delete(record.nodeName);
    this.#forgetEmpty(record);
  }

  /** Every set that a host of this record is in; made where it is missing. */
  *#setsOf({ status, policyId, labels }: PlacementRecord): Generator<SlotSet> {
    yield this.#everything;
    if (status === 'affirming') yield this.#tiers.affirming;
    if (status === 'affirming' || status === 'warning') yield this.#tiers.warning;
    if (policyId !== '') yield setAt(this.#policies, policyId);
    for (const [key, value] of Object.entries(labels)) {
      let values = this.#labels.get(key);
      if (values === undefined) this.#labels.set(key, (values = new Map<string, SlotSet>()));
      yield setAt(values, value);
    }
  }

  /** Labels and policies that nobody has any more cost nothing. */
  #forgetEmpty({ policyId, labels }: PlacementRecord): void {
    if (this.#policies.get(policyId)?.size === 0) this.#policies.delete(policyId);
    for (const [key, value] of Object.entries(labels)) {
      const values = this.#labels.get(key);
      if (values?.get(value)?.size === 0) values.delete(value);
      if (values?.size === 0) this.#labels.delete(key);
    }
  }
}

/** The group of each slot, and how many groups there are. */
interface Grouping {
  readonly of: Int32Array;
  readonly count: number;
}

const NOTHING = new SlotSet();
/** Labels whose groups are kept: four bytes a host each. */
const MAX_GROUPINGS = 4;
/** Hosts that one step of an explanation looks at: some milliseconds at the most. */
const STEP = 4_096;
/** Values of a label up to which a spread goes through their sets. */
const FEW_VALUES = 256;

function isNewer(record: PlacementRecord, before: PlacementRecord): boolean {
  if (record.revision !== before.revision) return record.revision > before.revision;
  return record.challengeTime > before.challengeTime;
}

function sameLabels(a: Labels, b: Labels): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && a[key] === b[key]);
}

function setAt(sets: Map<string, SlotSet>, key: string): SlotSet {
  let set = sets.get(key);
  if (set === undefined) sets.set(key, (set = new SlotSet()));
  return set;
}

function addKnown(set: SlotSet, slot: number | undefined): void {
  if (slot !== undefined) set.add(slot);
}

function grown(column: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(column.length * 2);
  larger.set(column);
  return larger;
}
