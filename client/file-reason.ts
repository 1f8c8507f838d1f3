/** What a person may know the system's error codes by, and what can be done about them. */
const FILE_REASONS: Readonly<Record<string, readonly [reason: string, hint: string]>> = {
  ENOENT: ['not found', 'make the folder that it lies in, or name another'],
  EACCES: ['permission denied', 'name a file in a folder that you may write to'],
  EPERM: ['permission denied', 'name a file in a folder that you may write to'],
  EROFS: ['on a file system that cannot be written', 'name a file elsewhere'],
  EISDIR: ['is a directory', 'name a file'],
  ENOTDIR: ['is no directory', 'name a file in a folder'],
  EEXIST: ['is there already', 'name another'],
  EFBIG: ['too large', 'name another'],
  ENAMETOOLONG: ['too long a name', 'name another'],
  ENOSPC: ['the disk is full', 'make room and try again'],
  EDQUOT: ['your quota of the disk is used up', 'make room and try again'],
};

/** Why a file could not be read or written. */
export function fileReason(error: unknown): string {
  const code = codeOf(error);
  return FILE_REASONS[code]?.[0] ?? (code === '' && error instanceof Error ? error.message : code);
}

/** What to do where a file could not be written. */
export function writeHint(error: unknown): string {
  return FILE_REASONS[codeOf(error)]?.[1] ?? 'name another file';
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
