import { openSqliteStore } from '../../../server/store/sqlite.ts';
import { StoreError } from '../../../server/store/store.ts';

/** Opens the store in a directory and says how that went. */
const [, , directory = ''] = process.argv;
try {
  const store = await openSqliteStore({
    directory,
    wallClock: () => 0,
    monotonic: () => 0,
    random: (size) => new Uint8Array(size),
  });
  await store.close();
  process.stdout.write('opened');
} catch (error) {
  process.stdout.write(error instanceof StoreError ? error.code : String(error));
}
