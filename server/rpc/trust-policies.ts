import { TrustPolicySchema } from '../../proto/gen/assay/v1/trust_policy_pb.ts';
import type { TrustPolicy as ProtoPolicy, TrustPolicyService } from '../../proto/gen/assay/v1/trust_policy_pb.ts';
import type { Handlers } from '../../proto/service.ts';
import { StatusError } from '../../proto/status.ts';
import type { FieldViolation } from '../../proto/status.ts';
import { attachmentOf } from '../policy/attachment.ts';
import { isHostId } from '../../proto/certificate-profile.ts';
import { explainHost } from '../attestation/explain-host.ts';
import type { SimulationServices } from '../attestation/simulate.ts';
import { readPolicies } from '../policy/policy-snapshot.ts';
import { isPolicyId, referencesOf, resolvePolicyDraft } from '../policy/policy.ts';
import type { TrustPolicy } from '../policy/policy.ts';
import type { PolicyProblem } from '../policy/policy-problem.ts';
import { unknownReferences } from '../policy/unknown-references.ts';
import type { PolicyRecord } from '../store/records.ts';
import type { Store } from '../store/store.ts';
import type { Access } from './access.ts';
import { explanationToProto } from './convert-explanation.ts';
import { versionOfEtag } from './convert-host.ts';
import { policyDraftFromProto, policyToProto } from './convert-policy.ts';
import { idOf, required, safeInteger } from './invalid.ts';
import { fitPage, nextPageToken, pageOf } from './paging.ts';
import { Simulations } from './simulations.ts';

export interface TrustPolicyHandlersOptions {
  readonly access: Access;
  readonly store: Store;
  /** What rounds are judged with. */
  readonly services: Pick<SimulationServices, 'endorsements' | 'boots' | 'runtimes'>;
}

export function trustPolicyHandlers({
  access,
  store,
  services,
}: TrustPolicyHandlersOptions): Handlers<typeof TrustPolicyService> {
  const simulations = new Simulations({
    access,
    store,
    services,
    resolve: resolved,
    checkReferences: (policy) => checkReferences(store, policy),
  });
  const put = async (policy: TrustPolicy, options: Parameters<Store['putPolicy']>[1]): Promise<PolicyRecord> => {
    await checkReferences(store, policy);
    const attachment = attachmentOf(policy);
    const references = referencesOf(policy);
    return store.putPolicy({ id: policy.id, attachment, references, body: JSON.stringify(policy) }, options);
  };
  return {
    async createTrustPolicy({ trustPolicy }, context) {
      const policy = resolved(required(trustPolicy, 'trust_policy'));
      return { trustPolicy: policyToProto(await put(policy, { ...access.actor(context), expected: null })) };
    },

    async getTrustPolicy({ name, version }) {
      const record = await store.getPolicy(
        policyIdOf(name, 'name'),
        version === 0n ? null : safeInteger(version, 'version'),
      );
      if (record === null)
        throw new StatusError({
          code: 'NOT_FOUND',
          reason: 'NOT_FOUND',
          message: `${name} is not known in this version`,
        });
      return { trustPolicy: policyToProto(record) };
    },

    async listTrustPolicies(request) {
      const list = ['trustPolicies'];
      const found = await store.listPolicies(pageOf(request, list));
      const shape = { schema: TrustPolicySchema, toProto: policyToProto, keyOf: ({ id }: PolicyRecord) => id };
      const { messages, page } = fitPage(found, shape);
      return { trustPolicies: messages, nextPageToken: nextPageToken(page, list) };
    },

    async updateTrustPolicy({ trustPolicy }, context) {
      const given = required(trustPolicy, 'trust_policy');
      const policy = resolved(given);
      const expected = versionOfEtag(given.etag, 'trust_policy.etag') ?? 'any';
      if ((await store.getPolicy(policy.id, null)) === null) {
        throw new StatusError({
          code: 'NOT_FOUND',
          reason: 'NOT_FOUND',
          message: `trustPolicies/${policy.id} is not known`,
        });
      }
      return { trustPolicy: policyToProto(await put(policy, { ...access.actor(context), expected })) };
    },

    async deleteTrustPolicy({ name, etag }, context) {
      await store.deletePolicy(policyIdOf(name, 'name'), {
        ...access.actor(context),
        expected: versionOfEtag(etag, 'etag') ?? 'any',
      });
      return {};
    },

    async validateTrustPolicy({ trustPolicy }) {
      const outcome = resolvePolicyDraft(policyDraftFromProto(required(trustPolicy, 'trust_policy')));
      const problems = 'problems' in outcome ? outcome.problems : await unknownReferences(store, outcome.policy);
      return { problems: problems.map((problem) => ({ ...problem })) };
    },

    simulateTrustPolicy: (request, context) => simulations.run(request, context),

    async explainHost({ host: name }, context) {
      const hostId = idOf(name, { collection: 'hosts', field: 'host', isId: isHostId });
      const scope = access.scope(context);
      const host = await store.findHost(hostId, scope);
      const result = await store.findResult({ hostId }, scope);
      if (host === null || result === null)
        throw new StatusError({ code: 'NOT_FOUND', reason: 'NOT_FOUND', message: `${name} is not known` });
      return { explanation: explanationToProto(explainHost({ host, result }, await readPolicies(store))) };
    },
  };
}

function policyIdOf(name: string, field: string): string {
  return idOf(name, { collection: 'trustPolicies', field, isId: isPolicyId });
}

function resolved(given: ProtoPolicy): TrustPolicy {
  const outcome = resolvePolicyDraft(policyDraftFromProto(given));
  if ('policy' in outcome) return outcome.policy;
  throw new StatusError({
    code: 'INVALID_ARGUMENT',
    reason: 'POLICY_INVALID',
    message: `the policy has ${outcome.problems.length} ${outcome.problems.length === 1 ? 'problem' : 'problems'}`,
    fieldViolations: violationsOf(outcome.problems),
  });
}

/** The store looks again when it writes; here each name gets its place. */
async function checkReferences(store: Store, policy: TrustPolicy): Promise<void> {
  const problems = await unknownReferences(store, policy);
  const [first, ...others] = problems;
  if (first === undefined) return;
  throw new StatusError({
    code: 'FAILED_PRECONDITION',
    reason: 'REFERENCE_UNKNOWN',
    message: `${first.message}${others.length > 0 ? `, and ${others.length} more` : ''}`,
    fieldViolations: violationsOf(problems),
  });
}

function violationsOf(problems: readonly PolicyProblem[]): readonly FieldViolation[] {
  return problems.map(({ field, message }) => ({ field: `trust_policy.${field}`, description: message }));
}
