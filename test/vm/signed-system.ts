/** What the distribution signed, as `scripts/setup-machine.mjs` unpacked it: shim, GRUB, kernel and its modules. */
import { existsSync, globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';

const CACHE = join(import.meta.dirname, '..', '..', '.cache', 'machine');

/** Where everything for the machine is kept between runs. */
export const machineCache = CACHE;

export interface SignedSystem {
  /** Signed by Microsoft's UEFI CA. */
  readonly shim: string;
  /** Signed by the distribution, as the kernel is. */
  readonly grub: string;
  readonly kernel: string;
  /** Paths of the kernel's modules by name. */
  readonly modules: ReadonlyMap<string, string>;
}

/** Paths of what was unpacked. Throws where the set-up did not run. */
export function findSignedSystem(): SignedSystem {
  const root = join(CACHE, 'system');
  if (!existsSync(root)) throw new Error(`${root} is missing: node scripts/setup-machine.mjs`);
  const find = (pattern: string): readonly string[] =>
    globSync(pattern, { cwd: root })
      .toSorted()
      .map((path) => join(root, path));
  const one = (pattern: string): string => {
    const [path] = find(pattern);
    if (path === undefined) throw new Error(`the packages in ${root} have no ${pattern}`);
    return path;
  };
  const modules = find('{,usr/}lib/modules/*/kernel/**/*.ko{,.zst}').map((path) => {
    const name = basename(path).replace(/\.ko(?:\.zst)?$/, '');
    return [name.replaceAll('-', '_'), path] as const;
  });
  return {
    shim: one('usr/lib/shim/shimx64.efi.signed{,.latest}'),
    grub: one('usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed'),
    kernel: one('boot/vmlinuz-*'),
    modules: new Map(modules),
  };
}

/** Names of the packages that were unpacked. */
export async function readPackages(): Promise<readonly string[]> {
  const text = await readFile(join(CACHE, 'system', 'packages'), 'utf8');
  return text.trim().split('\n');
}

/** The modules, and those that they need before them. What is not there is part of the kernel itself. */
export async function readModules(
  { modules }: SignedSystem,
  names: readonly string[],
): Promise<readonly { readonly name: string; readonly content: Buffer }[]> {
  const loaded = new Map<string, Buffer>();
  const load = async (name: string): Promise<void> => {
    const path = modules.get(name);
    if (path === undefined || loaded.has(name)) return;
    const file = await readFile(path);
    const content = path.endsWith('.zst') ? zstdDecompressSync(file) : file;
    const needed = /\0depends=([^\0]*)\0/.exec(content.toString('latin1'))?.[1] ?? '';
    for (const other of needed.split(',')) await load(other.replaceAll('-', '_'));
    loaded.set(name, content);
  };
  for (const name of names) await load(name);
  return [...loaded].map(([name, content]) => ({ name, content }));
}
