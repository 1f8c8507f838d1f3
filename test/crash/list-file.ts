import { join } from 'node:path';

/** Where a machine writes down what it measures, and its agent reads it. */
export function listFile(directory: string, machine: string): string {
  return join(directory, `${machine}.ima`);
}
