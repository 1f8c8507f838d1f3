/** What a person may know the system's error codes by. */
const FILE_REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'not found',
  EACCES: 'permission denied',
  EISDIR: 'is a directory',
  ENOTDIR: 'is no directory',
  EFBIG: 'too large',
};

/** Why a file could not be read. */
export function fileReason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return FILE_REASONS[code] ?? (code === '' && error instanceof Error ? error.message : code);
}
