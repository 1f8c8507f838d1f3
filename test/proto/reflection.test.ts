import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ServerReflection } from '../../proto/gen/grpc/reflection/v1/reflection_pb.ts';
import type { ServerReflectionRequest } from '../../proto/gen/grpc/reflection/v1/reflection_pb.ts';
import { HealthRegistry } from '../../proto/health.ts';
import { makeReflection } from '../../proto/reflection.ts';
import { StatusError } from '../../proto/status.ts';
import { toPem } from '../../proto/tls-identity.ts';
import { echoServices } from '../support/echo.ts';
import { startTestService } from '../support/rpc.ts';
import type { TestService } from '../support/rpc.ts';

type Question = ServerReflectionRequest['messageRequest'];

const checkout = join(import.meta.dirname, '..', '..');
const run = promisify(execFile);

let service: TestService;
let folder: string;

beforeAll(async () => {
  const services = echoServices({
    submitEvidence: () => {
      throw new StatusError({
        code: 'FAILED_PRECONDITION',
        reason: 'HOST_PENDING',
        message: 'host waits for approval',
        retryAfterMillis: 3000,
      });
    },
  });
  const all = [...services, new HealthRegistry().service];
  service = await startTestService([...all, makeReflection(all)]);
  folder = await mkdtemp(join(tmpdir(), 'assay-reflection-'));
  await writeFile(join(folder, 'ca.pem'), toPem(service.authority.certificate));
});

afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

async function ask(...questions: readonly Question[]) {
  async function* requests() {
    for (const messageRequest of questions) yield { messageRequest };
  }
  const answers = [];
  const client = service.connect().client(ServerReflection);
  for await (const { messageResponse } of client.serverReflectionInfo(requests())) answers.push(messageResponse);
  return answers;
}

async function fileOf(question: Question): Promise<string> {
  const [answer] = await ask(question);
  if (answer?.case !== 'fileDescriptorResponse') return String(answer?.case);
  const [bytes = new Uint8Array()] = answer.value.fileDescriptorProto;
  return fromBinary(FileDescriptorProtoSchema, bytes).name;
}

describe('reflection', () => {
  test('lists the services', async () => {
    const [answer] = await ask({ case: 'listServices', value: '' });
    expect(answer?.case === 'listServicesResponse' && answer.value.service.map(({ name }) => name)).toEqual([
      'assay.v1.AttestationResultService',
      'assay.v1.AttestationService',
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
    ]);
  });

  test.each([
    ['a service', 'assay.v1.AttestationService', 'assay/v1/attestation.proto'],
    ['a method', 'assay.v1.AttestationService.Attest', 'assay/v1/attestation.proto'],
    ['a message', 'assay.v1.Evidence', 'assay/v1/evidence.proto'],
    ['an option', 'assay.v1.access', 'assay/v1/access.proto'],
    ['an error detail', 'google.rpc.BadRequest.FieldViolation', 'google/rpc/error_details.proto'],
    ['what is not there', 'assay.v1.Nothing', 'errorResponse'],
    ['nothing', '', 'errorResponse'],
  ])('finds the file of %s', async (_name, symbol, file) => {
    expect(await fileOf({ case: 'fileContainingSymbol', value: symbol })).toBe(file);
  });

  test('serves every file under the name by which others import it', async () => {
    const seen = new Set<string>();
    const waiting = ['assay/v1/attestation.proto', 'google/rpc/status.proto'];
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      if (seen.has(name)) continue;
      seen.add(name);
      const [answer] = await ask({ case: 'fileByFilename', value: name });
      if (answer?.case !== 'fileDescriptorResponse') throw new Error(`${name} is missing`);
      for (const bytes of answer.value.fileDescriptorProto) {
        waiting.push(...fromBinary(FileDescriptorProtoSchema, bytes).dependency);
      }
    }
    expect(seen).toContain('google/protobuf/descriptor.proto');
    expect(await fileOf({ case: 'fileByFilename', value: 'etc/passwd' })).toBe('errorResponse');
  });

  test('knows the extensions of a message', async () => {
    const containingType = 'google.protobuf.MethodOptions';
    const [numbers, unknown, empty] = await ask(
      { case: 'allExtensionNumbersOfType', value: containingType },
      { case: 'allExtensionNumbersOfType', value: 'assay.v1.Nothing' },
      { case: undefined },
    );
    expect(numbers?.value).toMatchObject({ extensionNumber: [50417] });
    expect([unknown?.case, empty?.case]).toEqual(['errorResponse', 'errorResponse']);
    const query = { $typeName: 'grpc.reflection.v1.ExtensionRequest', containingType, extensionNumber: 50417 } as const;
    expect(await fileOf({ case: 'fileContainingExtension', value: query })).toBe('assay/v1/access.proto');
    const other = { ...query, extensionNumber: 1 };
    expect(await fileOf({ case: 'fileContainingExtension', value: other })).toBe('errorResponse');
  });
});

describe("a stranger's client", () => {
  const buf = async (path: string, ...options: readonly string[]) => {
    const { port } = service.listener.address();
    const url = `https://localhost:${port}${path}`;
    const channel = ['--cacert', join(folder, 'ca.pem'), '--protocol', 'grpc'];
    return run(join(checkout, 'node_modules', '.bin', 'buf'), ['curl', ...channel, ...options, url], { cwd: folder });
  };

  test('finds and calls what it has no protos of', async () => {
    const listed = await buf('', '--list-services');
    expect(listed.stdout.trim().split('\n')).toContain('assay.v1.AttestationService');
    const unary = await buf('/assay.v1.AttestationService/CreateChallenge', '-d', '{"akName": "YWI="}');
    expect(JSON.parse(unary.stdout)).toEqual({ token: 'YWI=' });
    const bidi = await buf(
      '/assay.v1.AttestationService/Attest',
      '-d',
      '{"wish":{"reason":"one"}}{"wish":{"reason":"two"}}',
    );
    expect(bidi.stdout).toContain('two');
    const watch = await buf('/assay.v1.AttestationResultService/WatchAttestationResults', '-d', '{"resumeToken":"r"}');
    expect(watch.stdout.match(/resumeToken/g)).toHaveLength(3);
    const health = await buf('/grpc.health.v1.Health/Check', '-d', '{}');
    expect(JSON.parse(health.stdout)).toEqual({ status: 'NOT_SERVING' });
  });

  test('prints the details of an error', async () => {
    const failed: unknown = await buf('/assay.v1.AttestationService/SubmitEvidence', '-d', '{}').catch(
      (error: unknown) => error,
    );
    const { stderr } = failed as { readonly stderr: string };
    const { code, details } = JSON.parse(stderr) as {
      readonly code: string;
      readonly details: readonly { readonly type: string; readonly value: string }[];
    };
    expect(code).toBe('failed_precondition');
    const types = ['google.rpc.ErrorInfo', 'google.rpc.RequestInfo', 'google.rpc.RetryInfo'];
    expect(details.map(({ type }) => type)).toEqual(types);
    expect(Buffer.from(details[0]?.value ?? '', 'base64').toString('latin1')).toContain('HOST_PENDING');
  });

  const grpcurl = process.env['ASSAY_GRPCURL'];
  test.runIf(grpcurl)('named grpcurl lists, describes, calls and prints details', async () => {
    const { port } = service.listener.address();
    const call = (...words: readonly string[]) => {
      const [first = '', ...rest] = words;
      const options = first.startsWith('-') ? [first, rest.shift() ?? ''] : [];
      const verb = options.length > 0 ? rest : words;
      return run(String(grpcurl), ['-cacert', join(folder, 'ca.pem'), ...options, `localhost:${port}`, ...verb]);
    };
    expect((await call('list')).stdout).toContain('assay.v1.AttestationService');
    expect((await call('describe', 'assay.v1.AttestationService')).stdout).toContain('ROLE_AGENT');
    const answer = await call('-d', '{"ak_name": "YWI="}', 'assay.v1.AttestationService/CreateChallenge');
    expect(JSON.parse(answer.stdout)).toEqual({ token: 'YWI=' });
    const failed: unknown = await call('-d', '{}', 'assay.v1.AttestationService/SubmitEvidence').catch(
      (error: unknown) => error,
    );
    expect((failed as { readonly stderr: string }).stderr).toContain('HOST_PENDING');
  });
});
