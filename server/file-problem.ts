const OTHER_PATH = 'name another path';
const ROOM = 'make room and try again';

/** What the system's refusal of a file means, and what can be done about it. */
const PROBLEMS: Readonly<Record<string, readonly [fact: string, advice: string]>> = {
  EEXIST: ['is there already', 'name another'],
  ENOENT: ['is not there, or its folder is not', 'make the folder, or name another path'],
  EACCES: ['is closed to this user', 'run assayd as its owner, or name another path'],
  EPERM: ['is closed to this user', 'run assayd as its owner, or name another path'],
  EROFS: ['lies on a file system that cannot be written', OTHER_PATH],
  EISDIR: ['is a folder', 'name a file'],
  ENOTDIR: ['lies below what is no folder', OTHER_PATH],
  ENAMETOOLONG: ['has too long a name', OTHER_PATH],
  ENOSPC: ['cannot be written, for the disk is full', ROOM],
  EDQUOT: ['cannot be written, for the quota of this user is used up', ROOM],
};

/**
 * A sentence that names the file that was meant, or the folder that cannot be made for it, and says what to do: the system names none
 * where it fails to write, and another where a file gets its name only when it is whole. `missing`: what to do where it is to be read
 * and is not there.
 */
export function fileProblem(error: unknown, file: string, missing?: string): string {
  const { code = '', syscall, path = file } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' && missing !== undefined) return `${file} is not there: ${missing}`;
  const known = PROBLEMS[code];
  if (known !== undefined) return `${syscall === 'mkdir' ? path : file} ${known.join(': ')}`;
  return `${file}: ${error instanceof Error ? error.message : String(error)}`;
}
