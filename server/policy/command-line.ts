/** The arguments of a kernel command line, as the kernel takes them apart (lib/cmdline.c, next_arg). */
export interface KernelArguments {
  /** What the kernel reads: up to `--`. */
  readonly kernel: readonly string[];
  /** What it hands on to the first process. */
  readonly init: readonly string[];
}

const END_OF_KERNEL = '--';

/** White space separates, but not between double quotes, which are no part of the argument. */
export function splitCommandLine(text: string): KernelArguments {
  const found: string[] = [];
  let current = '';
  let quoted = false;
  for (const character of text) {
    if (character === '"') quoted = !quoted;
    else if (!quoted && /[\s\0]/.test(character)) {
      if (current !== '') found.push(current);
      current = '';
    } else current += character;
  }
  if (current !== '') found.push(current);
  const end = found.indexOf(END_OF_KERNEL);
  return end < 0 ? { kernel: found, init: [] } : { kernel: found.slice(0, end), init: found.slice(end + 1) };
}

/** The name of an argument; to the kernel `-` and `_` are the same in it. */
export function argumentName(argument: string): string {
  return argument.split('=', 1)[0]?.replaceAll('-', '_') ?? '';
}

/** The same for equal arguments, however their name is spelt. */
export function plainArgument(argument: string): string {
  return argumentName(argument) + argument.slice(argumentName(argument).length);
}
