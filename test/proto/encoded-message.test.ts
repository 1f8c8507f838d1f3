import { create, toBinary } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { EncodedMessage } from '../../proto/encoded-message.ts';
import { AttestationResultService } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import { echoServices } from '../support/echo.ts';
import { all, failure, startTestService } from '../support/rpc.ts';
import type { TestService } from '../support/rpc.ts';

const results = (service: TestService) => service.connect().client(AttestationResultService);

describe('a handler that answers bytes', () => {
  const schema = AttestationResultService.method.watchAttestationResults.output;
  const bytesOf = (resumeToken: string) => Buffer.from(toBinary(schema, create(schema, { resumeToken })));
  const answering = (message: () => EncodedMessage<typeof schema>) =>
    echoServices(
      {},
      {
        async *watchAttestationResults() {
          yield { resumeToken: 'a' };
          yield message();
        },
      },
    );

  test('has them sent as they are, among others', async () => {
    await using service = await startTestService(answering(() => new EncodedMessage(schema, bytesOf('b'))));
    const events = await all(results(service).watchAttestationResults({}));
    expect(events.map(({ resumeToken }) => resumeToken)).toEqual(['a', 'b']);
  });

  test('of another message is a fault of ours', async () => {
    const other = AttestationResultService.method.getAttestationResult.output as unknown as typeof schema;
    await using service = await startTestService(answering(() => new EncodedMessage(other, bytesOf('b'))));
    expect((await failure(all(results(service).watchAttestationResults({})))).code).toBe('INTERNAL');
  });

  test('of more than is sent is refused', async () => {
    const huge = bytesOf('x'.repeat(5 * 1024 * 1024));
    await using service = await startTestService(answering(() => new EncodedMessage(schema, huge)));
    expect(await failure(all(results(service).watchAttestationResults({})))).toMatchObject({
      code: 'RESOURCE_EXHAUSTED',
      reason: 'RESPONSE_TOO_LARGE',
    });
  });
});
