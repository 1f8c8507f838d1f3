import { ImaListReader } from '../../../tpm/ima/parse.ts';
import type { ImaReaderOptions } from '../../../tpm/ima/parse.ts';
import type { ImaEntry } from '../../../tpm/ima/entry.ts';
import { makeRecord } from './list-builder.ts';
import type { EntryPlan } from './list-builder.ts';

export function drain(reader: ImaListReader): ImaEntry[] {
  const entries: ImaEntry[] = [];
  for (let entry = reader.next(); entry !== undefined; entry = reader.next()) entries.push(entry);
  return entries;
}

/** All entries of a list that is whole. */
export function readAll(list: Buffer, options: ImaReaderOptions = {}): ImaEntry[] {
  const reader = new ImaListReader(options);
  reader.push(list);
  const entries = drain(reader);
  if (reader.fault !== undefined || reader.pendingBytes > 0)
    throw new Error(reader.fault?.message ?? 'list is cut off');
  return entries;
}

/** The one entry of a plan, as the reader gives it. */
export function readOne(plan: EntryPlan): ImaEntry {
  const [entry] = readAll(makeRecord(plan));
  if (entry === undefined) throw new Error('no entry');
  return entry;
}
