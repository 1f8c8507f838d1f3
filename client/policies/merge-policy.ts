import { isMap, isScalar, isSeq, parseDocument, Scalar } from 'yaml';
import type { Document, YAMLSeq } from 'yaml';
import type { BootReport } from '../sdk/boot-report.ts';
import { provenPcr } from './learn-boot.ts';
import type { LearnedBoot, LearnedPart, LearnedValue } from './learn-boot.ts';
import { LearnError } from './learn-error.ts';
import { findField } from './policy-yaml.ts';

export interface MergedPolicy {
  readonly text: string;
  /** How many values the file did not have. */
  readonly added: number;
}

export interface MergeChoice {
  /** Undefined: whatever the policy has rules for. */
  readonly parts?: ReadonlySet<LearnedPart>;
  /** Undefined: those of the policy's rules. */
  readonly pcrs?: readonly number[];
}

/**
 * Adds what a host booted to the lists of a policy, as further allowed values. A rule that is not there is not made, for the hosts
 * that the policy judges already may not satisfy it; a rule that has no list of allowed values is not softened.
 * @param text one policy, which was read before: {@link findField} finds its fields
 */
export function mergePolicy(
  text: string,
  report: BootReport,
  boot: LearnedBoot,
  choice: MergeChoice = {},
): MergedPolicy {
  const document = parseDocument(text, { keepSourceTokens: true });
  const wanted = (part: LearnedPart): boolean => choice.parts?.has(part) ?? true;
  let added = 0;
  const root = document.contents;
  refuseMissingRules(root, choice);
  if (wanted('pcrs')) {
    for (const { list, bank, index } of pcrListsOf(root)) {
      if (choice.pcrs?.includes(index) === false) continue;
      added += append(document, list, [{ value: provenPcr(report, bank, index), note: report.host }]);
    }
  }
  const rules = field(root, 'boot');
  if (wanted('secureBoot') && field(rules, 'secure_boot') !== undefined && !boot.secureBoot) {
    throw differs(report, 'boot.secure_boot', whyNot(boot, 'Secure Boot'));
  }
  const lists = [
    { part: 'signers', rule: 'allowed_signers', list: 'certificates', values: boot.signers, name: 'signers' },
    { part: 'images', rule: 'allowed_images', list: 'digests', values: boot.images, name: 'images' },
    { part: 'commandLine', rule: 'command_line', list: 'allowed', values: boot.commandLines, name: 'command line' },
  ] as const;
  for (const { part, rule, list, values, name } of lists) {
    const allowed = field(field(rules, rule), list);
    if (!wanted(part) || !isSeq(allowed) || allowed.items.length === 0) continue;
    if (values.length === 0) throw differs(report, `boot.${rule}`, whyNot(boot, name));
    added += append(
      document,
      allowed,
      values.map(({ value, note }) => ({ value, note: `${report.host}: ${note}` })),
    );
  }
  refuseForbidden(report, rules, boot);
  if (wanted('sbat')) refuseLowSbat(report, field(field(rules, 'sbat_level'), 'minimum'), boot);
  return { text: added === 0 ? text : document.toString({ lineWidth: 0 }), added };
}

/** Where a part that was named has its rule. */
const PLACES: Readonly<Record<Exclude<LearnedPart, 'pcrs'>, readonly [string, string?]>> = {
  secureBoot: ['secure_boot'],
  signers: ['allowed_signers', 'certificates'],
  images: ['allowed_images', 'digests'],
  sbat: ['sbat_level', 'minimum'],
  commandLine: ['command_line', 'allowed'],
};

/** What was named and has no place in the policy would be left out without a word. */
function refuseMissingRules(root: unknown, { parts, pcrs = [] }: MergeChoice): void {
  const boot = field(root, 'boot');
  for (const part of parts ?? []) {
    if (part === 'pcrs') continue;
    const [rule, list] = PLACES[part];
    const found = list === undefined ? field(boot, rule) : field(field(boot, rule), list);
    if (found === undefined) throw noRule(`boot.${[rule, ...(list === undefined ? [] : [list])].join('.')}`);
  }
  const missing = pcrs.find((pcr) => pcrListsOf(root).every(({ index }) => index !== pcr));
  if (missing !== undefined) throw noRule(`pcr_rules for PCR ${missing}`);
}

function noRule(rule: string): LearnError {
  return new LearnError('NOT_LEARNABLE', `the policy has no ${rule}, and a merge makes none`);
}

function differs({ host }: BootReport, rule: string, why: string): LearnError {
  return new LearnError('HOST_DIFFERS', `${host} does not satisfy ${rule}, and no further value would help: ${why}`);
}

function whyNot({ leftOut }: LearnedBoot, name: string): string {
  return leftOut.find((why) => why.startsWith(`${name}: `)) ?? `${name}: not proven`;
}

/** The value of a field, whichever way it is spelled. */
function field(node: unknown, name: string): unknown {
  return isMap(node) ? findField(node, name)?.value : undefined;
}

function pcrListsOf(
  root: unknown,
): readonly { readonly list: YAMLSeq; readonly bank: string; readonly index: number }[] {
  const rules = field(root, 'pcr_rules');
  if (!isSeq(rules)) return [];
  return rules.items.flatMap((rule) => {
    const list = field(rule, 'allowed');
    const bank = field(rule, 'bank');
    const index = field(rule, 'index');
    // Zero may be left out: it is what a number is that nobody gave.
    const number = index === undefined ? 0 : isScalar(index) ? Number(index.value) : Number.NaN;
    return isSeq(list) && isScalar(bank) ? [{ list, bank: String(bank.value), index: number }] : [];
  });
}

function append(document: Document, list: YAMLSeq, values: readonly LearnedValue[]): number {
  const known = new Set(textsOf(list));
  const missing = values.filter(({ value }) => !known.has(value.toLowerCase()));
  // JSON has no comments, and a list in brackets is short.
  const commented = list.flow !== true;
  for (const { value, note } of missing) {
    const item = document.createNode(value) as Scalar;
    if (commented) item.commentBefore = ` ${note}`;
    else item.type = Scalar.QUOTE_DOUBLE;
    list.items.push(item);
  }
  return missing.length;
}

function textsOf(list: unknown): readonly string[] {
  return isSeq(list) ? list.items.map((item) => (isScalar(item) ? String(item.value).trim().toLowerCase() : '')) : [];
}

/** What is forbidden stays so. */
function refuseForbidden(report: BootReport, rules: unknown, { signers }: LearnedBoot): void {
  const ofSigners = new Set(textsOf(field(field(rules, 'forbidden_signers'), 'certificates')));
  const signer = signers.find(({ value }) => ofSigners.has(value));
  if (signer !== undefined) throw differs(report, 'boot.forbidden_signers', `${signer.value} is forbidden`);
  const ofImages = new Set(textsOf(field(field(rules, 'forbidden_images'), 'digests')));
  const image = report.images.flatMap(({ digests }) => digests).find((digest) => digest !== '' && ofImages.has(digest));
  if (image !== undefined) throw differs(report, 'boot.forbidden_images', `${image} is forbidden`);
}

function refuseLowSbat(report: BootReport, minimum: unknown, { sbat }: LearnedBoot): void {
  if (!isMap(minimum)) return;
  for (const { key, value } of minimum.items) {
    const component = isScalar(key) ? String(key.value) : '';
    const generation = isScalar(value) ? Number(value.value) : 0;
    const level = sbat.get(component) ?? 0;
    if (level < generation) throw differs(report, 'boot.sbat_level', `its ${component} is at ${level}`);
  }
}
