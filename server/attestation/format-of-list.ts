import { looseArguments } from '../../tpm/eventlog/kernel-arguments.ts';
import { ambiguousFormat } from '../../tpm/ima/kernel-format.ts';
import type { KnownBoot } from '../verifier/boot-cache.ts';
import type { BootClaims } from '../verifier/boot-claims.ts';

/** By boot: its command lines do not change while it is known. */
const formats = new WeakMap<BootClaims['commandLines'], string | null>();

/** The {@link ambiguousFormat} that the boot's command lines ask for. */
export function ambiguousFormatOf(boot: KnownBoot | null): string | null {
  if (boot?.outcome.kind !== 'verified') return null;
  const { commandLines } = boot.outcome.boot;
  const known = formats.get(commandLines);
  if (known !== undefined) return known;
  const found = ambiguousFormat(commandLines.flatMap(({ text }) => looseArguments(text ?? '')));
  formats.set(commandLines, found);
  return found;
}
