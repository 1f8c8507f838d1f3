/** Lets the service trust the manufacturer of the machines' TPMs. */
import { toPem } from '../../proto/tls-identity.ts';
import { makeIntermediate, makeRoot } from '../support/test-ek-pki.ts';
import type { CrashingService } from './crashing-service.ts';

export async function trustTestAnchors(service: CrashingService): Promise<void> {
  const client = await service.client();
  try {
    for (const certificate of [makeRoot(), makeIntermediate()]) {
      await client.endorsements.importAnchors(Buffer.from(toPem(certificate)));
    }
  } finally {
    client.close();
  }
}
