import { expect, test } from 'vitest';
import { adviceFor } from '../../../client/agent/advice.ts';
import { AgentError } from '../../../client/agent/agent-error.ts';
import { SdkError } from '../../../client/sdk/sdk-error.ts';
import { TpmError } from '../../../tpm/device/tpm-error.ts';
import { rpcError } from '../support/agent-harness.ts';

test.each([
  { name: 'a service that is down', error: rpcError('UNAVAILABLE'), act: 'retry', least: 0 },
  { name: 'a service that is busy', error: rpcError('RESOURCE_EXHAUSTED', '', 5000), act: 'retry', least: 0 },
  { name: 'a ban', error: rpcError('PERMISSION_DENIED', 'HOST_REVOKED'), act: 'retry', least: 300_000 },
  {
    name: 'admission that is denied',
    error: rpcError('PERMISSION_DENIED', 'ADMISSION_DENIED'),
    act: 'retry',
    least: 0,
  },
  {
    name: 'a host that is not known',
    error: rpcError('UNAUTHENTICATED', 'HOST_UNKNOWN'),
    act: 'enroll_anew',
    least: 0,
  },
  {
    name: 'an AK that is not known',
    error: rpcError('FAILED_PRECONDITION', 'AK_UNKNOWN'),
    act: 'enroll_anew',
    least: 0,
  },
  { name: 'a TPM that is gone', error: new TpmError('UNREACHABLE', 'gone'), act: 'reopen_tpm', least: 0 },
  { name: 'a TCTI that is none', error: new TpmError('INVALID_TCTI', 'none'), act: 'give_up', least: 0 },
  { name: 'a false service', error: new AgentError('untrusted_service', 'x'), act: 'retry', least: 300_000 },
  { name: 'a clock that is wrong', error: new AgentError('outside_validity', 'x'), act: 'retry', least: 0 },
  { name: 'a full disk', error: new AgentError('state_unwritable', 'x'), act: 'retry', least: 0 },
  { name: 'an answer outside the contract', error: new SdkError('bad_answer', 'x'), act: 'retry', least: 0 },
  { name: 'a defect', error: new TypeError('x'), act: 'give_up', least: 0 },
])('what the agent does about $name', ({ error, act, least }) => {
  expect(adviceFor(error)).toMatchObject({ act, leastWaitMillis: least });
});

test('hands on how long the service asks to wait', () => {
  expect(adviceFor(rpcError('UNAVAILABLE', 'ENROLLMENT_BUSY', 2000)).retryDelayMillis).toBe(2000);
});
