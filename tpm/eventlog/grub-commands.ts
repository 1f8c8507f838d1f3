/** What GRUB's commands may do to the kernel that boots: GRUB measures each of them, with its arguments, before it runs it. */

export type GrubCommand =
  | { readonly kind: 'linux'; readonly arguments: string }
  | { readonly kind: 'initrd'; readonly files: readonly string[] }
  | { readonly kind: 'harmless' }
  /** It may start something else, such as chainloader, or stop the measuring: nobody knows it here. */
  | { readonly kind: 'unknown' };

const LINUX = /^linux(?:efi|16)?(?: (?<arguments>.*))?$/s;
const INITRD = /^initrd(?:efi|16)?(?: (?<files>.*))?$/s;

/**
 * Commands that load no kernel, start no program and leave the measuring on, in the configurations that distributions generate
 * (Debian, Ubuntu, Fedora and its relatives, SUSE, Container-Optimized OS) and people write. A command that is not here is taken for
 * one that does. What scripts and menu entries do is measured command by command when it is done.
 */
const HARMLESS: ReadonlySet<string> = new Set([
  // The language: conditions, variables, menus, scripts.
  ...['[', 'test', 'true', 'false', 'set', 'unset', 'export', 'setparams', 'shift', 'return', 'break', 'continue'],
  ...['menuentry', 'submenu', 'hiddenentry', 'source', '.', 'configfile', 'normal', 'eval', 'regexp', 'increment'],
  ...['blscfg', 'bls_import', 'load_env', 'save_env', 'list_env', 'password', 'password_pbkdf2', 'boot'],
  // Modules, devices, files.
  ...['insmod', 'search', 'search.fs_uuid', 'search.fs_label', 'search.file', 'probe', 'ls', 'cat', 'cryptomount'],
  ...['loopback', 'gptpriority', 'smbios', 'cpuid', 'date', 'hwmatch', 'btrfs-mount-subvol', 'btrfs-list-subvols'],
  ...['net_bootp', 'net_dhcp', 'net_add_addr', 'net_add_dns', 'net_add_route', 'net_get_dhcp_option', 'net_ls_addr'],
  // The screen.
  ...['echo', 'clear', 'sleep', 'loadfont', 'terminal_input', 'terminal_output', 'terminfo', 'serial', 'videoinfo'],
  ...['background_image', 'background_color', 'keystatus', 'play'],
  // Functions of generated configurations: their bodies are commands like these, and measured.
  ...['load_video', 'gfxmode', 'recordfail', 'initrdfail', 'savedefault', 'font'],
]);

/** Asks whether there is such a thing, at each boot of many distributions; without the option it leaves GRUB. */
const FIRMWARE_QUESTION = 'fwsetup --is-supported';

export function readGrubCommand(text: string): GrubCommand {
  const linux = LINUX.exec(text)?.groups;
  if (linux !== undefined) return { kind: 'linux', arguments: linux['arguments'] ?? '' };
  const initrd = INITRD.exec(text)?.groups;
  if (initrd !== undefined) return { kind: 'initrd', files: initrd['files']?.split(' ') ?? [] };
  return isHarmless(text) ? { kind: 'harmless' } : { kind: 'unknown' };
}

/** Of a word with `=` no command has the name: it is an assignment. */
function isHarmless(text: string): boolean {
  const name = nameOf(text);
  return HARMLESS.has(name) || /^[A-Za-z_]\w*=/.test(name) || text === FIRMWARE_QUESTION;
}

/** A command line that begins like a command could stand in a log as one. */
export function looksLikeGrubCommand(text: string): boolean {
  return readGrubCommand(text).kind !== 'unknown';
}

function nameOf(text: string): string {
  const end = text.indexOf(' ');
  return end < 0 ? text : text.slice(0, end);
}
