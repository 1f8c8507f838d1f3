/** An archive that the kernel unpacks as its first file system: "newc" (Linux, Documentation/driver-api/early-userspace/buffer-format.rst). */

const TYPE = { file: 0o100_000, directory: 0o040_000, link: 0o120_000, device: 0o020_000 } as const;
const TRAILER = 'TRAILER!!!';

export type CpioEntry =
  | { readonly kind: 'directory'; readonly path: string }
  | { readonly kind: 'file'; readonly path: string; readonly content: Uint8Array; readonly executable?: boolean }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  /** A character device. */
  | { readonly kind: 'device'; readonly path: string; readonly major: number; readonly minor: number };

/** Everything belongs to root and has no time, so that the same entries make the same bytes. Paths have no leading slash. */
export function makeCpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = [];
  for (const [index, entry] of withDirectories(entries).entries()) parts.push(...encodeEntry(entry, index + 1));
  parts.push(...encode(TRAILER, { inode: 0, mode: 0, content: Buffer.alloc(0) }));
  return Buffer.concat(parts);
}

/** Each folder once, before what is in it: the kernel makes none by itself. */
function withDirectories(entries: readonly CpioEntry[]): readonly CpioEntry[] {
  const all = new Map<string, CpioEntry>();
  for (const entry of entries) {
    const steps = entry.path.split('/');
    for (let depth = 1; depth < steps.length; depth += 1) {
      const path = steps.slice(0, depth).join('/');
      if (!all.has(path)) all.set(path, { kind: 'directory', path });
    }
    all.set(entry.path, entry);
  }
  return [...all.values()];
}

function encodeEntry(entry: CpioEntry, inode: number): readonly Buffer[] {
  switch (entry.kind) {
    case 'directory':
      return encode(entry.path, { inode, mode: TYPE.directory | 0o755, content: Buffer.alloc(0) });
    case 'file': {
      const mode = TYPE.file | (entry.executable === true ? 0o755 : 0o644);
      return encode(entry.path, { inode, mode, content: entry.content });
    }
    case 'link':
      return encode(entry.path, { inode, mode: TYPE.link | 0o777, content: Buffer.from(entry.target) });
    case 'device': {
      const device = [entry.major, entry.minor] as const;
      return encode(entry.path, { inode, mode: TYPE.device | 0o600, content: Buffer.alloc(0), device });
    }
  }
}

interface Node {
  readonly inode: number;
  readonly mode: number;
  readonly content: Uint8Array;
  readonly device?: readonly [major: number, minor: number];
}

function encode(path: string, { inode, mode, content, device = [0, 0] }: Node): readonly Buffer[] {
  const name = Buffer.from(`${path}\0`);
  const owner = [0, 0];
  const links = 1;
  const time = 0;
  const checksum = 0;
  const fields = [inode, mode, ...owner, links, time, content.length, 0, 0, ...device, name.length, checksum];
  const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
  return [header, name, padding(header.length + name.length), Buffer.from(content), padding(content.length)];
}

function padding(length: number): Buffer {
  return Buffer.alloc((4 - (length % 4)) % 4);
}
