import { documentTargets } from './targets/documents.ts';
import { endorsementTargets } from './targets/endorsements.ts';
import { expressionTargets } from './targets/expressions.ts';
import { logTargets } from './targets/logs.ts';
import { messageTargets } from './targets/messages.ts';
import { offlineTargets } from './targets/offline.ts';
import { partTargets } from './targets/parts.ts';
import { streamTargets } from './targets/streams.ts';
import { textTargets } from './targets/texts.ts';
import { tpmTargets } from './targets/tpm.ts';
import type { Target } from './target.ts';

/** Whatever reads what others wrote, by name. */
export async function allTargets(): Promise<ReadonlyMap<string, () => Target | Promise<Target>>> {
  return new Map<string, () => Target | Promise<Target>>(
    Object.entries({
      ...tpmTargets(),
      ...logTargets(),
      ...partTargets(),
      ...documentTargets(),
      ...endorsementTargets(),
      ...textTargets(),
      ...expressionTargets(),
      ...offlineTargets(),
      ...(await messageTargets()),
      ...streamTargets(),
    }),
  );
}
