import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import type { Channel } from '../../../proto/client.ts';
import { TrustPolicyService, VectorClaim } from '../../../proto/gen/assay/v1/trust_policy_pb.ts';
import type { RuleSeverity } from '../../../proto/gen/assay/v1/trust_policy_pb.ts';
import { failure } from '../../support/rpc.ts';
import { startAssay } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';

let running: Running;
let channel: Channel;
beforeAll(async () => {
  running = await startAssay();
  channel = running.connect(await running.identity('ada', ['operator']));
});
afterAll(async () => {
  await running[Symbol.asyncDispose]();
  expect(running.errors).toEqual([]);
});

const policies = () => channel.client(TrustPolicyService);
const pcrRules = [{ bank: 'sha256', index: 7, allowed: ['00'.repeat(32)] }];
const GOOD = { id: 'a', expression: 'identity.endorsed', claim: VectorClaim.HARDWARE };
const name = 'trustPolicies/expressions';

describe('expressions that are refused', () => {
  it.each([
    [
      'an unknown field',
      { ...GOOD, expression: '\n boot.nothing == 1' },
      'expression',
      'line 2, column 7: no such key: nothing',
    ],
    [
      'a type that does not fit',
      { ...GOOD, expression: 'tpm.reset_count == "1"' },
      'expression',
      'line 1, column 1: no such overload: int == string',
    ],
    [
      'a value that is neither true nor false',
      { ...GOOD, expression: 'tpm.reset_count' },
      'expression',
      'line 1, column 1: is of type int, not bool',
    ],
    ['too long a text', { ...GOOD, expression: 'x'.repeat(2049) }, 'expression', 'is longer than 2048 bytes'],
    ['no id', { ...GOOD, id: '' }, 'id', 'must be 1 to 63 of a-z, 0-9 and -'],
    ['no claim', { ...GOOD, claim: VectorClaim.UNSPECIFIED }, 'claim', 'is required'],
    ['a claim that is none', { ...GOOD, claim: 9 as VectorClaim }, 'claim', 'is not a known claim'],
    ['a severity that is none', { ...GOOD, severity: 9 as RuleSeverity }, 'severity', 'is not a known severity'],
    ['too long a sentence', { ...GOOD, message: 'x'.repeat(513) }, 'message', 'is longer than 512 bytes'],
  ])('have %s', async (_name, rule, field, description) => {
    const trustPolicy = { name, pcrRules, expressions: [rule] };
    const error = await failure(policies().createTrustPolicy({ trustPolicy }));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', reason: 'POLICY_INVALID' });
    expect(error.fieldViolations).toEqual([{ field: `trust_policy.expressions[0].${field}`, description }]);
    const { problems } = await policies().validateTrustPolicy({ trustPolicy });
    expect(problems).toMatchObject([{ field: `expressions[0].${field}`, message: description }]);
  });

  it.each([
    ['share an id', { pcrRules, expressions: [GOOD, GOOD] }, 'expressions[1].id'],
    ['are more than anybody reads', { pcrRules, expressions: Array.from({ length: 65 }, () => GOOD) }, 'expressions'],
    ['look at no measurement, and stand alone', { expressions: [GOOD] }, 'expressions'],
  ])('%s', async (_name, part, field) => {
    const { problems } = await policies().validateTrustPolicy({ trustPolicy: { name, ...part } });
    expect(problems.map((problem) => problem.field)).toEqual([field]);
  });
});

it('expressions come back as they were written', async () => {
  const expressions = [
    { ...GOOD, expression: 'identity.endorsed &&\n  pcrs.sha256[0] != ""', message: 'Ask the owner.' },
  ];
  await policies().createTrustPolicy({ trustPolicy: { name, expressions } });
  const { trustPolicy } = await policies().getTrustPolicy({ name });
  expect(trustPolicy?.expressions).toMatchObject(expressions);
  expect(trustPolicy?.pcrRules).toEqual([]);
});
