import { hash } from 'node:crypto';

/**
 * Writes IMA lists as kernels do, for tests: fields, template hash and record. Written from the format's description, not with the
 * code that reads lists.
 */

type Order = 'little' | 'big';

export function number(value: number, size: 2 | 4, order: Order = 'little'): Buffer {
  const bytes = Buffer.alloc(size);
  if (order === 'little') bytes.writeUIntLE(value, 0, size);
  else bytes.writeUIntBE(value, 0, size);
  return bytes;
}

/** `sha256:` NUL digest. A prefix such as `verity:` makes it that of `d-ngv2`. */
export function digestField(algorithm: string, digest: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${algorithm}:\0`), digest]);
}

export function nameField(name: string): Buffer {
  return Buffer.from(`${name}\0`);
}

export interface EntryPlan {
  readonly template: string;
  readonly fields: readonly Buffer[];
  readonly pcr?: number;
  readonly violation?: boolean;
  /** The hash that template hashes are of. */
  readonly hash?: { readonly node: string; readonly size: number };
  readonly order?: Order;
  /** A template hash that is not that of the fields. */
  readonly claimedHash?: Buffer;
}

export function templateData({ template, fields, order }: EntryPlan): Buffer {
  return Buffer.concat(
    fields.flatMap((field, index) =>
      template === 'ima' && index === 0 ? [field] : [number(field.length, 4, order), field],
    ),
  );
}

/** What the kernel hashes: for `ima` the digest and the name in 256 bytes, for the others all data. */
export function hashedData(plan: EntryPlan): Buffer {
  const [digest = Buffer.alloc(0), name = Buffer.alloc(0)] = plan.fields;
  return plan.template === 'ima' ? Buffer.concat([digest, name, Buffer.alloc(256 - name.length)]) : templateData(plan);
}

export function makeRecord(plan: EntryPlan): Buffer {
  const { template, pcr = 10, violation = false, hash: own = { node: 'sha1', size: 20 }, order = 'little' } = plan;
  const data = templateData(plan);
  const computed = violation ? Buffer.alloc(own.size) : hash(own.node, hashedData(plan), 'buffer');
  const length = template === 'ima' ? [] : [number(data.length, 4, order)];
  return Buffer.concat([
    number(pcr, 4, order),
    plan.claimedHash ?? computed,
    number(template.length, 4, order),
    Buffer.from(template),
    ...length,
    data,
  ]);
}

export function makeList(plans: readonly EntryPlan[]): Buffer {
  return Buffer.concat(plans.map(makeRecord));
}

export type Padding = 'bankHash' | 'paddedSha1' | 'paddedViolations';

/** The PCR that a kernel would have extended by these entries, in the given way. */
export function extendAll(
  plans: readonly EntryPlan[],
  node: string,
  size: number,
  padding: Padding = 'bankHash',
  pcr = 10,
): Buffer {
  let value: Buffer = Buffer.alloc(size);
  for (const plan of plans) {
    if ((plan.pcr ?? 10) !== pcr) continue;
    const own =
      padding === 'bankHash'
        ? hash(node, hashedData(plan), 'buffer')
        : pad(hash('sha1', hashedData(plan), 'buffer'), size);
    const ones = padding === 'paddedViolations' ? pad(Buffer.alloc(20, 0xff), size) : Buffer.alloc(size, 0xff);
    value = hash(node, Buffer.concat([value, plan.violation === true ? ones : own]), 'buffer');
  }
  return value;
}

function pad(digest: Buffer, size: number): Buffer {
  return Buffer.concat([digest, Buffer.alloc(size - digest.length)]);
}

/** A list that begins as kernels' do and goes on with files; every ninth entry is a violation where asked for. */
export function fileEntries(
  count: number,
  options: { readonly violations?: boolean; readonly pcr?: number } = {},
): EntryPlan[] {
  return Array.from({ length: count }, (_, index) => {
    const name = index === 0 ? 'boot_aggregate' : `/usr/bin/tool-${index}`;
    const violation = options.violations === true && index % 9 === 8;
    const digest = violation ? Buffer.alloc(32) : hash('sha256', name, 'buffer');
    const fields = [digestField('sha256', digest), nameField(name), Buffer.alloc(0)];
    return { template: 'ima-sig', fields, violation, ...(options.pcr === undefined ? {} : { pcr: options.pcr }) };
  });
}
