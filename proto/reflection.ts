import { createRegistry, toBinary } from '@bufbuild/protobuf';
import type { DescFile, Registry, MessageInitShape } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { file_google_rpc_error_details } from './gen/google/rpc/error_details_pb.ts';
import { file_google_rpc_status } from './gen/google/rpc/status_pb.ts';
import { ServerReflection } from './gen/grpc/reflection/v1/reflection_pb.ts';
import type {
  ServerReflectionRequest,
  ServerReflectionResponseSchema,
} from './gen/grpc/reflection/v1/reflection_pb.ts';
import { bindService } from './service.ts';
import type { BoundService } from './service.ts';
import { STATUS_CODES } from './status.ts';

type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse']>;

/** Beside the services' own files: with these, grpcurl prints the details of errors. */
const ERROR_FILES = [file_google_rpc_status, file_google_rpc_error_details];

/** grpc.reflection.v1 over the generated descriptors of the given services and of itself. */
export function makeReflection(services: readonly BoundService[]): BoundService {
  const descriptors = [...services.map(({ descriptor }) => descriptor), ServerReflection];
  const files = closure([...descriptors.map(({ file }) => file), ...ERROR_FILES]);
  const registry = createRegistry(...files.values());
  const names = descriptors.map(({ typeName }) => ({ name: typeName })).toSorted((a, b) => (a.name < b.name ? -1 : 1));

  const answer = ({ messageRequest }: ServerReflectionRequest): Answer => {
    switch (messageRequest.case) {
      case 'listServices':
        return { case: 'listServicesResponse', value: { service: names } };
      case 'fileByFilename':
        return encodeFile(files.get(messageRequest.value));
      case 'fileContainingSymbol':
        return encodeFile(fileOf(registry, messageRequest.value));
      case 'fileContainingExtension': {
        const { containingType, extensionNumber } = messageRequest.value;
        return encodeFile(
          extensionsOf(registry, containingType).find(({ number }) => number === extensionNumber)?.file,
        );
      }
      case 'allExtensionNumbersOfType': {
        const extensionNumber = extensionsOf(registry, messageRequest.value).map(({ number }) => number);
        return registry.getMessage(messageRequest.value)
          ? { case: 'allExtensionNumbersResponse', value: { baseTypeName: messageRequest.value, extensionNumber } }
          : notFound();
      }
      case undefined:
        return error('INVALID_ARGUMENT', 'request asks nothing');
    }
  };

  return bindService(ServerReflection, {
    async *serverReflectionInfo(requests) {
      for await (const originalRequest of requests) {
        const validHost = originalRequest.host;
        yield { validHost, originalRequest, messageResponse: answer(originalRequest) };
      }
    },
  });
}

/** Files and all that they import, by the name under which they are imported. */
function closure(roots: readonly DescFile[]): ReadonlyMap<string, DescFile> {
  const files = new Map<string, DescFile>();
  const waiting = [...roots];
  for (let file = waiting.pop(); file !== undefined; file = waiting.pop()) {
    if (files.has(file.proto.name)) continue;
    files.set(file.proto.name, file);
    waiting.push(...file.dependencies);
  }
  return files;
}

/** The file that defines a type, service or extension, or the method or field `name.of.parent.member`. */
function fileOf(registry: Registry, symbol: string): DescFile | undefined {
  const found = registry.get(symbol) ?? registry.get(symbol.slice(0, Math.max(0, symbol.lastIndexOf('.'))));
  return found?.file;
}

function extensionsOf(registry: Registry, typeName: string) {
  return [...registry]
    .filter((type) => type.kind === 'extension')
    .filter(({ extendee }) => extendee.typeName === typeName);
}

function encodeFile(file: DescFile | undefined): Answer {
  if (!file) return notFound();
  const fileDescriptorProto = [toBinary(FileDescriptorProtoSchema, file.proto)];
  return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
}

function notFound(): Answer {
  return error('NOT_FOUND', 'symbol is not known');
}

function error(code: 'NOT_FOUND' | 'INVALID_ARGUMENT', errorMessage: string): Answer {
  return { case: 'errorResponse', value: { errorCode: STATUS_CODES[code], errorMessage } };
}
