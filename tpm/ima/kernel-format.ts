import { imaTemplate, isFixedMeaning } from './templates.ts';

/** By which a kernel is told to measure in a format that is no template of its own; to the kernel `-` and `_` are the same in it. */
const FORMAT_ARGUMENT = /^ima[-_]template[-_]fmt=/;

/**
 * The format that these arguments have the kernel write its list in, if bytes of one of its fields could be shown as those of another
 * under the name of a kernel's own template, which no hash covers: an attribute of a file as a measured buffer. Null where nothing says
 * so. `ima_template=` takes names of the kernel's own templates alone.
 */
export function ambiguousFormat(kernelArguments: readonly string[]): string | null {
  const asked = kernelArguments.flatMap((argument) => {
    const name = FORMAT_ARGUMENT.exec(argument)?.[0];
    return name === undefined ? [] : [argument.slice(name.length)];
  });
  return asked.find((format) => !isFixedMeaning(imaTemplate(format))) ?? null;
}
