import { Document, isMap, isScalar, isSeq, Scalar } from 'yaml';
import { idOf } from '../output.ts';
import type { JsonObject } from '../sdk/resources.ts';
import type { LearnedBoot, LearnedValue } from './learn-boot.ts';
import { LearnError } from './learn-error.ts';
import { pcrKind } from './learned-pcrs.ts';

/** A policy that the boot satisfies, as the service reads it. */
export function policyOf(boot: LearnedBoot, name: string): JsonObject {
  const { pcrs, secureBoot, signers, images, sbat, commandLines } = boot;
  const valuesOf = (list: readonly LearnedValue[]): readonly string[] => list.map(({ value }) => value);
  const rules: JsonObject = {
    ...(secureBoot ? { secure_boot: {} } : {}),
    ...(signers.length === 0 ? {} : { allowed_signers: { certificates: valuesOf(signers) } }),
    ...(images.length === 0 ? {} : { allowed_images: { digests: valuesOf(images) } }),
    ...(sbat.size === 0 ? {} : { sbat_level: { minimum: Object.fromEntries(sbat) } }),
    ...(commandLines.length === 0 ? {} : { command_line: { allowed: valuesOf(commandLines) } }),
  };
  if (pcrs.length === 0 && Object.keys(rules).length === 0)
    throw new LearnError('NOT_LEARNABLE', `nothing is learned from ${boot.host}: ${boot.leftOut.join('; ')}`);
  return {
    name: `trustPolicies/${name}`,
    description: `Learned from ${boot.host}`,
    ...(pcrs.length === 0
      ? {}
      : { pcr_rules: pcrs.map(({ bank, index, value }) => ({ bank, index, allowed: [value] })) }),
    ...(Object.keys(rules).length === 0 ? {} : { boot: rules }),
  };
}

/** The same as a file for people: what each value is stands above it. */
export function writePolicy(boot: LearnedBoot, name: string, learnedAt: Date): string {
  const document = new Document(policyOf(boot, name));
  document.commentBefore = [
    ` Learned from ${boot.host} at ${learnedAt.toISOString()}: what its TPM proved of its present boot.`,
    ` SHA-256 of the boot log: ${boot.bootLogDigest}`,
    ' A value that was seen is no value that is good: look at each, and compare a second machine of the same kind.',
    ...boot.leftOut.map((why) => ` Left out: ${why}`),
  ].join('\n');
  commentAt(document, ['pcr_rules'], whoItIsFor(name));
  if (boot.pcrs.length === 0) commentAt(document, ['boot'], whoItIsFor(name));
  for (const [position, { index }] of boot.pcrs.entries()) {
    const rule = document.getIn(['pcr_rules', position], true);
    if (isMap(rule)) rule.commentBefore = ` ${describePcr(index)}`;
  }
  noteEach(document, ['boot', 'allowed_signers', 'certificates'], boot.signers);
  noteEach(document, ['boot', 'allowed_images', 'digests'], boot.images);
  noteEach(document, ['boot', 'command_line', 'allowed'], boot.commandLines);
  commentAt(document, ['boot', 'secure_boot'], ' Secure Boot was on, and held.');
  commentAt(document, ['boot', 'sbat_level'], " shim's revocation level may rise, and not fall.");
  return document.toString({ lineWidth: 0 });
}

function whoItIsFor(name: string): string {
  return [
    ` It judges hosts that name it (assay host policy HOST ${idOf(name)}), or those of a selector:`,
    ' selector: {match_labels: {role: compute}}',
  ].join('\n');
}

/** `PCR 4: the boot loaders that ran` */
export function describePcr(index: number): string {
  const kind = pcrKind(index);
  const moves = kind === undefined || kind.moves === '' ? '' : `; ${kind.moves}`;
  return `PCR ${index}: ${kind?.holds ?? 'unknown'}${moves}`;
}

function noteEach(document: Document, path: readonly string[], values: readonly LearnedValue[]): void {
  const list = document.getIn(path, true);
  if (!isSeq(list)) return;
  for (const [position, { note }] of values.entries()) {
    const item = list.items[position];
    if (isScalar(item)) item.commentBefore = ` ${note}`;
  }
}

/** Above the field, not between its name and its value. */
function commentAt(document: Document, path: readonly string[], comment: string): void {
  const map = document.getIn(path.slice(0, -1), true) ?? document.contents;
  if (!isMap(map)) return;
  const pair = map.items.find(({ key }) => isScalar(key) && key.value === path.at(-1));
  if (pair !== undefined && pair.key instanceof Scalar) pair.key.commentBefore = comment;
}
