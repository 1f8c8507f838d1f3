import { UsageError } from '../failure.ts';
import type { NamedFile } from '../inspect/trust-anchors.ts';
import { readNamedFile } from './context.ts';
import type { Context } from './context.ts';
import { fileReason } from '../file-reason.ts';

export interface FolderBounds {
  readonly maxFiles: number;
  /** Of one file. */
  readonly maxFileBytes: number;
  /** Of all files. */
  readonly maxBytes: number;
}

/** Names in a folder that an option or argument names; null where the path is one of a file. */
export async function listNamedFolder(
  context: Context,
  path: string,
  { limit, what }: { readonly limit: number; readonly what: string },
): Promise<readonly string[] | null> {
  try {
    return await context.listFolder(path, limit);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
    if (code === 'ENOTDIR') return null;
    throw new UsageError(`${what} ${path}: ${fileReason(cause)}`, { cause });
  }
}

/** Every file of a folder, or the one file that the path is. What is no file there is passed over. */
export async function readFolder(
  context: Context,
  path: string,
  { bounds, what }: { readonly bounds: FolderBounds; readonly what: string },
): Promise<readonly NamedFile[]> {
  const { maxFiles, maxFileBytes, maxBytes } = bounds;
  const names = await listNamedFolder(context, path, { limit: maxFiles, what });
  if (names === null) return [{ name: path, bytes: await readNamedFile(context, path, maxFileBytes, what) }];
  const files: NamedFile[] = [];
  let total = 0;
  for (const name of names) {
    const bytes = await readUnlessFolder(context, `${path}/${name}`, { limit: maxFileBytes, what });
    total += bytes?.length ?? 0;
    if (total > maxBytes) throw new UsageError(`${what} ${path}: too large`);
    if (bytes !== undefined) files.push({ name, bytes });
  }
  return files;
}

async function readUnlessFolder(
  context: Context,
  path: string,
  { limit, what }: { readonly limit: number; readonly what: string },
): Promise<Buffer | undefined> {
  try {
    return await readNamedFile(context, path, limit, what);
  } catch (error) {
    const { cause } = error instanceof UsageError ? error : {};
    if (cause instanceof Error && 'code' in cause && cause.code === 'EISDIR') return undefined;
    throw error;
  }
}
