import { randomBytes } from 'node:crypto';
import { openSqliteStore } from '../../../server/store/sqlite.ts';
import { commit, digest, enrolled, round, verdict } from './fixtures.ts';

/** Commits rounds of host h-a in the store of a directory, each another verdict, and says the number of each that is acknowledged. */
const [, , directory = ''] = process.argv;
const store = await openSqliteStore({
  directory,
  wallClock: Date.now,
  monotonic: () => performance.now(),
  random: (size) => randomBytes(size),
});
const first = (await store.getHost('h-a')) ?? (await enrolled(store, 'a'));
for (let number = first.round; ; number++) {
  const input = await round(store, 'h-a', {
    verdict: verdict(first, { inputDigest: digest(String(number)) }),
    logs: [{ kind: 'ima', offset: number * 4, data: Buffer.from('line') }],
  });
  const outcome = await commit(store, input);
  if (outcome.outcome !== 'changed') throw new Error(`round ${number} ended ${outcome.outcome}`);
  process.stdout.write(`${outcome.moved.round}\n`);
}
