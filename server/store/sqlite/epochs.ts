import { type Epochs, StoreError } from '../store.ts';
import { type Database, integer } from './database.ts';

export function readEpochs(database: Database): Epochs {
  const row = database.get('SELECT policy_epoch, endorsement_epoch FROM counter WHERE id = 1');
  if (row === undefined) throw new StoreError('corrupt', 'the counter row is missing');
  return { policy: integer(row, 'policy_epoch'), endorsement: integer(row, 'endorsement_epoch') };
}
