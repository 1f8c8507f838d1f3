/** The arguments of a kernel command line, as the kernel takes them apart (lib/cmdline.c, next_arg). */
export interface KernelArguments {
  /** What the kernel reads: up to `--`. */
  readonly kernel: readonly string[];
  /** What it hands on to the first process. */
  readonly init: readonly string[];
}

const END_OF_KERNEL = '--';

/** What the kernel calls white space (lib/ctype.c): bytes, so that 0xA0 is some even within a character of UTF-8. */
const WHITE_SPACE = /[\t\n\v\f\r \u00a0]/;

/**
 * What a kernel keeps of its line at least: the 2,048 bytes of x86 and arm64 without the terminator, and without the name of the
 * argument that GRUB puts before the image (BOOT_IMAGE=).
 */
const KEPT_BYTES = 2047 - 11;

/** White space separates, but not between double quotes. */
export function splitCommandLine(text: string): KernelArguments {
  const found = argumentsOf(Buffer.from(text, 'utf8').toString('latin1'));
  const end = found.indexOf(END_OF_KERNEL);
  return end < 0 ? { kernel: found, init: [] } : { kernel: found.slice(0, end), init: found.slice(end + 1) };
}

/**
 * Every argument that somebody may find in a line: the decompressor of x86 knows no quotes, and the first process has its own. What
 * must not be there must not be here.
 */
export function looseArguments(text: string): readonly string[] {
  const bytes = Buffer.from(text, 'utf8')
    .toString('latin1')
    .replaceAll(/["'\\]/g, '');
  return bytes.split(/[\0- \u00a0]/).flatMap((argument) => (argument === '' ? [] : [decoded(argument)]));
}

/** The beginning of a line: what every kernel reads of it. */
export function keptCommandLine(text: string): string {
  return Buffer.from(text, 'utf8').subarray(0, KEPT_BYTES).toString('utf8');
}

function argumentsOf(bytes: string): readonly string[] {
  const found: string[] = [];
  let start = 0;
  let quoted = false;
  for (let at = 0; at <= bytes.length; at++) {
    const character = bytes.charAt(at);
    if (character === '"') quoted = !quoted;
    if (at < bytes.length && (quoted || !WHITE_SPACE.test(character))) continue;
    if (at > start) found.push(decoded(unquoted(bytes.slice(start, at))));
    start = at + 1;
  }
  return found;
}

function decoded(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/**
 * The kernel takes away a quote that begins the argument or its value, and then one at the end. Any other is a part of the argument:
 * `lock"down"` is not `lockdown`.
 */
function unquoted(argument: string): string {
  const inner = argument.startsWith('"') ? argument.slice(1) : argument;
  const begun = inner.length < argument.length;
  const equals = inner.indexOf('=', 1);
  const valueBegun = equals > 0 && inner[equals + 1] === '"';
  const plain = valueBegun ? inner.slice(0, equals + 1) + inner.slice(equals + 2) : inner;
  return (begun || valueBegun) && plain.endsWith('"') ? plain.slice(0, -1) : plain;
}

/** The name of an argument; to the kernel `-` and `_` are the same in it. */
export function argumentName(argument: string): string {
  return argument.split('=', 1)[0]?.replaceAll('-', '_') ?? '';
}

/** The same for equal arguments, however their name is spelt. */
export function plainArgument(argument: string): string {
  return argumentName(argument) + argument.slice(argumentName(argument).length);
}
