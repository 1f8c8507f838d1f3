/**
 * IMA templates (kernel Documentation/security/IMA-templates.rst): which fields an entry's data holds, in order. The name of a
 * template is not covered by its hash, so whoever writes a list may relabel an entry: what a field means is believed only as far
 * as the fields fit the data.
 */

/** Fields that can stand in a template; `fields.ts` has a row for each. */
export const IMA_FIELD_IDS = [
  'd',
  'n',
  'd-ng',
  'd-ngv2',
  'n-ng',
  'sig',
  'buf',
  'd-modsig',
  'modsig',
  'evmsig',
  'xattrnames',
  'xattrlengths',
  'xattrvalues',
  'iuid',
  'igid',
  'imode',
] as const;

export type ImaFieldId = (typeof IMA_FIELD_IDS)[number];

/**
 * A template by the name that the list gives. `fields` is undefined for a name that is neither known nor a format of known
 * fields. Only the template `ima` has fields without length and is hashed in a form of its own.
 */
export interface ImaTemplate {
  readonly name: string;
  readonly fields: readonly ImaFieldId[] | undefined;
  readonly fixedForm: boolean;
}

/** Name and format of each template that kernels define. A custom format (`ima_template_fmt=`) is named by itself. */
const formats: readonly (readonly [string, string])[] = [
  ['ima', 'd|n'],
  ['ima-ng', 'd-ng|n-ng'],
  ['ima-sig', 'd-ng|n-ng|sig'],
  ['ima-buf', 'd-ng|n-ng|buf'],
  ['ima-modsig', 'd-ng|n-ng|sig|d-modsig|modsig'],
  ['ima-ngv2', 'd-ngv2|n-ng'],
  ['ima-sigv2', 'd-ngv2|n-ng|sig'],
  ['evm-sig', 'd-ng|n-ng|evmsig|xattrnames|xattrlengths|xattrvalues|iuid|igid|imode'],
];

/** TEMPLATE_NUM_FIELDS_MAX of the kernel. */
const MAX_FIELDS = 15;

const known = new Map<string, ImaTemplate>(
  formats.map(([name, format]) => [name, { name, fields: parseFormat(format), fixedForm: name === 'ima' }]),
);

/** A custom format that is one of these is named by it, and means the same. */
const knownFormats: ReadonlySet<string> = new Set(formats.map(([, format]) => format));

/** The names of the templates that kernels define. */
export const IMA_TEMPLATE_NAMES: readonly string[] = [...known.keys()];

/** The template of a name: a kernel's own, or a custom format such as `d-ng|n-ng|sig`. Never fails. */
export function imaTemplate(name: string): ImaTemplate {
  return known.get(name) ?? { name, fields: parseFormat(name), fixedForm: false };
}

/**
 * Whether the fields of a template mean what its name says, whatever name a list gives its entries: a kernel's own template or its
 * format, or digest, name, signature and owner in the order in which these have them. Under any other name the bytes of one field
 * could be shown as those of another, for the name is covered by no hash.
 */
export function isFixedMeaning({ name, fields = [] }: ImaTemplate): boolean {
  return (
    known.has(name) || knownFormats.has(name) || (FIXED_ORDER.test(name) && new Set(fields).size === fields.length)
  );
}

const FIXED_ORDER = /^d(?:-ng(?:v2)?)?\|n(?:-ng)?(?:\|sig(?:\|i(?:uid|gid|mode))*)?$/;

function parseFormat(format: string): readonly ImaFieldId[] | undefined {
  const parts = format.split('|', MAX_FIELDS + 1);
  return parts.length <= MAX_FIELDS && parts.every(isFieldId) ? parts : undefined;
}

function isFieldId(text: string): text is ImaFieldId {
  return (IMA_FIELD_IDS as readonly string[]).includes(text);
}

/** Bytes of the digest of the template `ima`, whose list tells no length for it. */
export const FIXED_DIGEST_SIZE = 20;
/** Bytes that the name is padded to before the template `ima` is hashed (IMA_EVENT_NAME_LEN_MAX + 1). */
const FIXED_NAME_SIZE = 256;
/** The longest name of the template `ima`: one byte of the padded form is the terminator. */
export const MAX_FIXED_NAME = FIXED_NAME_SIZE - 1;

/**
 * What the template hash is over. All templates but `ima` are hashed as they stand in the list, lengths included; `ima` is hashed
 * as digest ‖ name padded with zeros, without the length.
 */
export function templateHashInput(template: ImaTemplate, data: Buffer): Buffer {
  if (!template.fixedForm) return data;
  const input = Buffer.alloc(FIXED_DIGEST_SIZE + FIXED_NAME_SIZE);
  data.copy(input, 0, 0, FIXED_DIGEST_SIZE);
  data.copy(input, FIXED_DIGEST_SIZE, FIXED_DIGEST_SIZE + 4, FIXED_DIGEST_SIZE + 4 + MAX_FIXED_NAME);
  return input;
}
