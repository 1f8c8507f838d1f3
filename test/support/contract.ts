/** Every service of the contract, found by its generated files: one that is added is found by itself. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

import type { DescMethod, DescService } from '@bufbuild/protobuf';

const GENERATED = join(import.meta.dirname, '..', '..', 'proto', 'gen', 'assay', 'v1');

export async function servicesOfContract(): Promise<readonly DescService[]> {
  const files = readdirSync(GENERATED).filter((name) => name.endsWith('_pb.ts'));
  const modules = await Promise.all(
    files.map((name) => import(join(GENERATED, name)) as Promise<Readonly<Record<string, unknown>>>),
  );
  return modules.flatMap((exports) => Object.values(exports)).filter(isService);
}

export async function methodsOfContract(): Promise<readonly DescMethod[]> {
  return (await servicesOfContract()).flatMap(({ methods }) => methods);
}

export function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function isService(value: unknown): value is DescService {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'service';
}
