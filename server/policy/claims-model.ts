/** What an expression may look at: every name, its type, what it means and when it is not there. docs/policy.md shows this table. */
import { DEVIATION } from '../../tpm/endorsement/deviation.ts';
import { HASH_ALGORITHMS } from '../../tpm/structures/constants.ts';

/** A type as CEL writes it; a name with a capital is a row of {@link CLAIM_TYPES}. */
export interface ClaimField {
  readonly type: string;
  readonly meaning: string;
  /** When a proven state of the host does not have it: `has()` is false then. Empty where it is always there. */
  readonly absent: string;
  /** PCRs that a claim of the boot log rests on: each round proves that they have not moved. */
  readonly pcrs?: readonly number[];
  /** The texts that it, or an element of it, can be; or that it is a digest, in lower-case hex. Left out where it may be any text. */
  readonly texts?: readonly string[] | 'digests';
}

export type ClaimType = Readonly<Record<string, ClaimField>>;

const pcrs = (bank: string): ClaimField => ({
  type: 'map<int, string>',
  meaning: `PCRs of the ${bank} bank, lower-case hex, by their number: \`pcrs.${bank}[7]\``,
  absent: 'the TPM has no active bank of it, or the bank no such PCR',
  texts: 'digests',
});

export const CLAIM_TYPES: Readonly<Record<string, ClaimType>> = {
  Identity: {
    endorsed: {
      type: 'bool',
      meaning: 'a trust anchor certifies every EK, or the inventory lists them',
      absent: '',
    },
    revoked: { type: 'bool', meaning: 'an issuer of an EK certificate has revoked it', absent: '' },
    admission: {
      type: 'string',
      meaning: 'how the host was admitted: `certificate`, `inventory` or `approval`',
      absent: '',
      texts: ['certificate', 'inventory', 'approval'],
    },
    ek_algorithms: { type: 'list<string>', meaning: 'of each EK, such as `RSA-2048`', absent: '' },
    manufacturer: {
      type: 'string',
      meaning: 'of the TPM, by its EK certificate: its vendor id as text, such as `STM` or `IFX`',
      absent: 'no trust anchor certifies the EKs',
    },
    model: {
      type: 'string',
      meaning: 'of the TPM, by its EK certificate',
      absent: 'no trust anchor certifies the EKs',
    },
    deviations: {
      type: 'list<string>',
      meaning: 'in what the EK certificates differ from the profile, by code',
      absent: 'no trust anchor certifies the EKs',
      texts: Object.keys(DEVIATION),
    },
  },
  Tpm: {
    firmware_version: { type: 'int', meaning: 'firmwareVersion of the quote, 64 bits', absent: '' },
    reset_count: { type: 'int', meaning: 'resetCount of the quote', absent: '' },
    restart_count: { type: 'int', meaning: 'restartCount of the quote', absent: '' },
    active_banks: {
      type: 'list<string>',
      meaning: 'PCR banks, proven since the last reset',
      absent: '',
      texts: [...HASH_ALGORITHMS.values()].map(({ name }) => name),
    },
  },
  Pcrs: { sha1: pcrs('sha1'), sha256: pcrs('sha256'), sha384: pcrs('sha384'), sha512: pcrs('sha512') },
  Boot: {
    secure_boot: { type: 'SecureBoot', meaning: 'the state of Secure Boot', absent: '', pcrs: [7, 14] },
    authorities: {
      type: 'list<string>',
      meaning: 'SHA-256 of each certificate or hash that an image was verified with',
      absent: 'none was measured',
      pcrs: [7, 14],
      texts: 'digests',
    },
    sbat_level: {
      type: 'map<string, int>',
      meaning: "shim's revocation level: generation by component",
      absent: 'none was measured',
      pcrs: [7, 14],
    },
    dbx: {
      type: 'list<string>',
      meaning:
        "what the firmware's dbx revokes: digests of images, SHA-256 of certificates, digests of their signed parts",
      absent: '',
      pcrs: [7],
      texts: 'digests',
    },
    images: {
      type: 'list<BootImage>',
      meaning: 'boot applications (PCR 4) and drivers (PCR 2)',
      absent: 'no boot application was measured',
      pcrs: [2, 4, 7, 14],
    },
    command_line: {
      type: 'string',
      meaning: "the kernel's command line, as it was measured",
      absent: 'none was measured',
      pcrs: [8, 9, 12],
    },
    kernel_arguments: {
      type: 'list<string>',
      meaning: 'the arguments that every kernel reads of it: ask here for what must be there',
      absent: 'none was measured',
      pcrs: [8, 9, 12],
    },
    any_arguments: {
      type: 'list<string>',
      meaning: 'every argument that a kernel or a first process may read of it: ask here for what must not be there',
      absent: 'none was measured',
      pcrs: [8, 9, 12],
    },
  },
  SecureBoot: {
    mode: {
      type: 'string',
      meaning: '`enabled`, `disabled` or `unset`',
      absent: '',
      texts: ['enabled', 'disabled', 'unset'],
    },
    setup_mode: { type: 'bool', meaning: 'anybody may enrol keys', absent: '' },
    audit_mode: { type: 'bool', meaning: 'what is not signed is only logged', absent: '' },
    debug_mode: { type: 'bool', meaning: 'a firmware debugger was on', absent: '' },
    used: { type: 'bool', meaning: 'an image was verified with db', absent: '' },
    shim_off: { type: 'bool', meaning: 'shim was told to verify nothing (MokSBState)', absent: '' },
    mok_measurements: { type: 'list<string>', meaning: 'names of what shim measured of its owner', absent: '' },
  },
  BootImage: {
    pcr: { type: 'int', meaning: '4 or 2', absent: '' },
    digests: {
      type: 'list<string>',
      meaning: 'Authenticode digests, one for each active bank that has it',
      absent: '',
      texts: 'digests',
    },
  },
  Runtime: {
    entries: { type: 'int', meaning: 'entries of the list that are proven', absent: '' },
    files: { type: 'int', meaning: 'files that it holds', absent: '' },
    violations: {
      type: 'int',
      meaning:
        'files that were written while they were measured or in use, but for those that `violations.apply_excludes` excludes; since the last reset of the TPM',
      absent: '',
    },
    other_kernels: {
      type: 'int',
      meaning: 'entries that tell of another kernel, loaded or started; since the last reset of the TPM',
      absent: '',
    },
    boot_aggregate: { type: 'bool', meaning: 'the list began in the boot that the TPM speaks of', absent: '' },
    allowed_files: { type: 'int', meaning: 'files that a rule allows', absent: 'the policy has no rule `files`' },
    excluded_files: {
      type: 'int',
      meaning: 'files that only an exclude lets pass',
      absent: 'the policy has no rule `files`',
    },
    unknown_files: {
      type: 'int',
      meaning: 'files that nothing allows; since the last reset of the TPM',
      absent: 'the policy has no rule `files`',
    },
    forbidden_files: {
      type: 'int',
      meaning: 'forbidden files; since the last reset of the TPM',
      absent: 'the policy has no rule `forbidden_files`',
    },
    valid_signatures: {
      type: 'int',
      meaning: 'files with a valid signature of a key that counts',
      absent: 'no rule `files` names keys',
    },
    unknown_key_signatures: {
      type: 'int',
      meaning: 'files with a signature of another key',
      absent: 'no rule `files` names keys',
    },
    invalid_signatures: {
      type: 'int',
      meaning: 'files with a signature that is not valid; since the last reset of the TPM',
      absent: 'no rule `files` names keys',
    },
  },
  Host: {
    node_name: { type: 'string', meaning: 'set by an operator', absent: 'none is set' },
    labels: { type: 'map<string, string>', meaning: 'set by operators', absent: '' },
  },
};

/** The names that an expression starts from. */
export const CLAIM_ROOTS: Readonly<Record<string, string>> = {
  identity: 'Identity',
  tpm: 'Tpm',
  pcrs: 'Pcrs',
  boot: 'Boot',
  runtime: 'Runtime',
  host: 'Host',
};

/** Every claim by its whole name, for people. */
export function everyClaim(): readonly (ClaimField & { readonly name: string })[] {
  return Object.entries(CLAIM_ROOTS).flatMap(([root, type]) => claimsUnder(root, type));
}

function claimsUnder(prefix: string, typeName: string): readonly (ClaimField & { readonly name: string })[] {
  return Object.entries(CLAIM_TYPES[typeName] ?? {}).flatMap(([name, field]) => {
    const path = `${prefix}.${name}`;
    const { element } = shapeOf(field.type);
    const inner = element === null ? [] : claimsUnder(field.type === element ? path : `${path}[]`, element);
    return [{ ...field, name: path }, ...inner];
  });
}

/** What a type is made of, as far as an expression can go into it. */
export interface ClaimShape {
  readonly kind: 'scalar' | 'list' | 'map' | 'message';
  /** The message, or that of the list's elements; null where there is none. */
  readonly element: string | null;
}

export function shapeOf(type: string): ClaimShape {
  const list = /^list<(\w+)>$/.exec(type)?.[1];
  if (list !== undefined) return { kind: 'list', element: Object.hasOwn(CLAIM_TYPES, list) ? list : null };
  if (type.startsWith('map<')) return { kind: 'map', element: null };
  return Object.hasOwn(CLAIM_TYPES, type) ? { kind: 'message', element: type } : { kind: 'scalar', element: null };
}
