import type { Endorsements } from '../endorsement/endorsements.ts';
import type { ApplicablePolicy } from '../policy/appraise.ts';
import type { HostFacts } from '../policy/expression-claims.ts';
import type { HostRecord } from '../store/records.ts';
import type { Epochs } from '../store/store.ts';
import { endorsableEks } from './endorsable-eks.ts';
import { KeptKey } from './kept-key.ts';
import type { AttestationServices } from './services.ts';

/** What a host is judged by: it stays the same until something outside changes. */
export interface Known {
  readonly ak: KeptKey;
  readonly applicable: ApplicablePolicy;
  readonly endorsed: boolean;
  /** For expressions. */
  readonly facts: HostFacts;
  readonly revoked: string | null;
  readonly endorsementEnds: number | null;
  readonly epochs: Epochs;
}

export async function readKnown(
  { policies, endorsements, verdictParts }: Pick<AttestationServices, 'policies' | 'endorsements' | 'verdictParts'>,
  host: HostRecord,
): Promise<Known> {
  const { applicable, epoch } = await policies.resolve(host);
  const { epoch: endorsement, facts, ...endorsed } = await endorsementOf(endorsements, host);
  const { certified, host: told } = facts;
  return {
    ak: new KeptKey(host.ak),
    applicable,
    ...endorsed,
    // TPMs of one make are told of alike.
    facts: { certified, host: { ...told, eks: verdictParts.data(told.eks) } },
    epochs: { policy: epoch, endorsement },
  };
}

/** Who vouches for a host now, and the version of what says so. */
export async function endorsementOf(
  endorsements: Pick<Endorsements, 'judge'>,
  host: HostRecord,
): Promise<Pick<Known, 'endorsed' | 'facts' | 'revoked' | 'endorsementEnds'> & { readonly epoch: number }> {
  const { certified, registered, revoked, endsAt, epoch } = await endorsements.judge(endorsableEks(host));
  return {
    endorsed: certified || registered,
    facts: hostFacts(host, certified),
    revoked: revoked?.detail ?? null,
    endorsementEnds: endsAt,
    epoch,
  };
}

/** What expressions may know of a host, without its certificates. */
function hostFacts({ nodeName, labels, admission, eks }: HostRecord, certified: boolean): HostFacts {
  const brief = eks.map(({ algorithm, manufacturer, model, deviations }) => ({
    algorithm,
    manufacturer,
    model,
    deviations,
  }));
  return { host: { nodeName, labels, admission, eks: brief }, certified };
}
