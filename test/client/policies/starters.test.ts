import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fromJson } from '@bufbuild/protobuf';
import type { JsonValue } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';

import { parsePolicyFile } from '../../../client/commands/policy-file.ts';
import { TrustPolicySchema } from '../../../proto/gen/assay/v1/trust_policy_pb.ts';
import { resolvePolicyDraft } from '../../../server/policy/policy.ts';
import { policyDraftFromProto } from '../../../server/rpc/convert-policy.ts';

const folder = join(import.meta.dirname, '..', '..', '..', 'deploy', 'policies');
const files = readdirSync(folder).filter((name) => name.endsWith('.yaml'));

test.each(files)(
  '%s is a policy of its own name that the service takes, for nobody until somebody says for whom',
  (file) => {
    const policies = parsePolicyFile(file, readFileSync(join(folder, file), 'utf8'));
    expect(policies).toHaveLength(1);
    const message = fromJson(TrustPolicySchema, policies[0]?.json as JsonValue);
    const outcome = resolvePolicyDraft(policyDraftFromProto(message));
    expect(outcome).toMatchObject({ policy: { id: file.replace(/\.yaml$/, ''), selector: null } });
  },
);

test('there are some', () => {
  expect(files.length).toBeGreaterThan(1);
});
