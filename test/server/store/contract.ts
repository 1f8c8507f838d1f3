import { describe } from 'vitest';
import { describeAudit } from './contract/audit.ts';
import { describeClock } from './contract/clock.ts';
import { describeEndorsementVersions } from './contract/endorsement-versions.ts';
import { describeEndorsements } from './contract/endorsements.ts';
import { describeEnrollment } from './contract/enrollment.ts';
import { describeExpiry } from './contract/expiry.ts';
import { givenStore, type StorePlace } from './contract/harness.ts';
import { describeFormerBoots } from './contract/former-boots.ts';
import { describeHosts } from './contract/hosts.ts';
import { describeIdentities } from './contract/identities.ts';
import { describeKeyrings } from './contract/keyrings.ts';
import { describeLogs } from './contract/logs.ts';
import { describePlatform } from './contract/platform.ts';
import { describePlacements } from './contract/placements.ts';
import { describePolicies } from './contract/policies.ts';
import { describeReappraisals } from './contract/reappraisals.ts';
import { describeReferenceSets } from './contract/reference-sets.ts';
import { describeReferences } from './contract/references.ts';
import { describeReplacement } from './contract/replacement.ts';
import { describeRounds } from './contract/rounds.ts';
import { describeScopes } from './contract/scopes.ts';
import { describeRuntimes } from './contract/runtimes.ts';
import { describeStreams } from './contract/streams.ts';
import { describeWatching } from './contract/watching.ts';

/** What every store promises; each store's test file runs it on its own kind of place. */
export function describeStoreContract(name: string, makePlace: () => Promise<StorePlace>): void {
  describe(`the store contract on ${name}`, () => {
    const given = givenStore(makePlace);
    describeEnrollment(given);
    describeReplacement(given);
    describeHosts(given);
    describeRounds(given);
    describeStreams(given);
    describeExpiry(given);
    describeLogs(given);
    describeFormerBoots(given);
    describeRuntimes(given);
    describeReappraisals(given);
    describeWatching(given);
    describePlatform(given);
    describeScopes(given);
    describePlacements(given);
    describePolicies(given);
    describeReferenceSets(given);
    describeKeyrings(given);
    describeReferences(given);
    describeEndorsements(given);
    describeEndorsementVersions(given);
    describeIdentities(given);
    describeAudit(given);
    describeClock(given);
  });
}
