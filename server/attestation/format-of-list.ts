import { imaTemplate, isFixedMeaning } from '../../tpm/ima/templates.ts';
import { argumentName, looseArguments } from '../policy/command-line.ts';
import type { KnownBoot } from '../verifier/boot-cache.ts';
import type { BootClaims } from '../verifier/boot-claims.ts';

/** By which a kernel is told to measure in a format that is no template of its own. */
const FORMAT_ARGUMENT = 'ima_template_fmt';

/** By boot: its command lines do not change while it is known. */
const formats = new WeakMap<BootClaims['commandLines'], string | null>();

/**
 * The format that the boot's command line has the kernel write its list in, if bytes of one of its fields could be shown as those of
 * another under the name of a kernel's own template, which no hash covers: an attribute of a file as a measured buffer. Null where
 * nothing says so.
 */
export function ambiguousFormat(boot: KnownBoot | null): string | null {
  if (boot?.outcome.kind !== 'verified') return null;
  const { commandLines } = boot.outcome.boot;
  const known = formats.get(commandLines);
  if (known !== undefined) return known;
  const asked = commandLines
    .flatMap(({ text }) => looseArguments(text ?? ''))
    .filter((argument) => argumentName(argument) === FORMAT_ARGUMENT)
    .map((argument) => argument.slice(FORMAT_ARGUMENT.length + 1));
  const found = asked.find((format) => !isFixedMeaning(imaTemplate(format))) ?? null;
  formats.set(commandLines, found);
  return found;
}
