import { REFERENCE_ALGORITHMS } from '../store/reference-store.ts';
import type { ReferenceAlgorithm, ReferenceEntryRecord } from '../store/reference-store.ts';

export const MAX_PATH_BYTES = 4096;

const BY_LENGTH = new Map(
  Object.entries(REFERENCE_ALGORITHMS).map(([name, size]) => [size * 2, name as ReferenceAlgorithm]),
);

export function isReferenceAlgorithm(name: string): name is ReferenceAlgorithm {
  return Object.hasOwn(REFERENCE_ALGORITHMS, name);
}

/** The algorithm of a digest in hexadecimal, which its length tells; a sentence where there is none. */
export function algorithmOfDigest(
  hex: string,
): { readonly algorithm: ReferenceAlgorithm } | { readonly problem: string } {
  if (!/^[0-9a-fA-F]+$/.test(hex)) return { problem: 'the digest is not hexadecimal' };
  const algorithm = BY_LENGTH.get(hex.length);
  if (algorithm !== undefined) return { algorithm };
  if (hex.length === 32) return { problem: 'an MD5 digest: IMA measures files by SHA-1 or SHA-2, hash the files anew' };
  return { problem: `a digest of ${hex.length} digits is none of SHA-1 or SHA-2` };
}

/** What is wrong with a path, or null. */
export function pathProblem(path: string): string | null {
  if (path === '') return 'the path is empty';
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return `the path is longer than ${MAX_PATH_BYTES} bytes`;
  if (path.includes('\0')) return 'the path holds a zero byte';
  return path.isWellFormed() ? null : 'the path is not Unicode';
}

/** An entry of a digest that names its algorithm by its length, or what is wrong with it. */
export function readEntry(
  hex: string,
  path: string,
): { readonly entry: ReferenceEntryRecord } | { readonly problem: string; readonly at: 'digest' | 'path' } {
  const found = algorithmOfDigest(hex);
  if ('problem' in found) return { problem: found.problem, at: 'digest' };
  const problem = pathProblem(path);
  if (problem !== null) return { problem, at: 'path' };
  return { entry: { algorithm: found.algorithm, digest: hex.toLowerCase(), path } };
}
