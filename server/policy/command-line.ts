import {
  argumentName,
  keptCommandLine,
  looseArguments,
  plainArgument,
  splitCommandLine,
} from '../../tpm/eventlog/kernel-arguments.ts';

/** What a line lacks, or has and must not. */
export interface ArgumentFault {
  readonly kind: 'missing' | 'excess';
  readonly argument: string;
}

/** The first argument that is not as it must be, or null. */
export function findArgumentFault(
  text: string,
  { required, forbidden }: { readonly required: readonly string[]; readonly forbidden: readonly string[] },
): ArgumentFault | null {
  const { kernel, init } = splitCommandLine(text);
  const found = kernel.map(plainArgument);
  const kept = splitCommandLine(keptCommandLine(text)).kernel.map(plainArgument);
  const wanted = new Set(required.map(plainArgument));
  const names = new Set(required.map(argumentName));
  const missing = [...wanted].find((argument) => !found.includes(argument) || !kept.includes(argument));
  if (missing !== undefined) return { kind: 'missing', argument: missing };
  // The last of several values counts for most arguments: another one beside the required takes it back.
  const any = [...found, ...looseArguments(text).map(plainArgument)];
  const other = any.find((argument) => names.has(argumentName(argument)) && !wanted.has(argument));
  const banned = [...any, ...init.map(plainArgument)].find((argument) => isForbiddenArgument(argument, forbidden));
  const excess = other ?? banned;
  return excess === undefined ? null : { kind: 'excess', argument: excess };
}

/** An entry without `=` stands for every value of its name. */
export function isForbiddenArgument(argument: string, forbidden: readonly string[]): boolean {
  return forbidden.some((entry) =>
    entry.includes('=')
      ? plainArgument(entry) === plainArgument(argument)
      : argumentName(entry) === argumentName(argument),
  );
}
