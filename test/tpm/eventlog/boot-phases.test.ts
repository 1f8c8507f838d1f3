import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { readEventLog } from '../../../tpm/eventlog/read-event-log.ts';
import type { EventLogReading } from '../../../tpm/eventlog/read-event-log.ts';
import { dataIsHere, measuredBootPath } from '../../support/data.ts';
import { makeLog, sha256, u32 } from './make-log.ts';
import type { MadeEvent } from './make-log.ts';
import { measuredLog } from './real-logs.ts';

const grub = (prefix: string, text: string): MadeEvent => ({
  pcr: 8,
  type: 13,
  data: Buffer.from(`${prefix}: ${text}\0`),
  measured: Buffer.from(text),
});
const action = (text: string, pcr = 5): MadeEvent => ({ pcr, type: 0x8000_0007, data: Buffer.from(text) });
const read = (events: readonly MadeEvent[]): EventLogReading => readEventLog(makeLog(events));

const linux = grub('grub_cmd', 'linux /vmlinuz root=/dev/vda1');
const line = grub('kernel_cmdline', '/vmlinuz root=/dev/vda1');

describe('the command line of the kernel', () => {
  test('of GRUB is verified text', () => {
    const { boot } = read([linux, line]);
    expect(boot.kernel.commandLines).toEqual([
      { event: 2, pcr: 8, source: 'grub', text: '/vmlinuz root=/dev/vda1', verified: true },
    ]);
    expect(boot.findings).toEqual([]);
  });

  test('that is not what was measured is not verified', () => {
    const forged = { ...line, measured: Buffer.from('/vmlinuz init=/bin/sh') };
    expect(read([forged]).boot.kernel.commandLines).toMatchObject([{ verified: false }]);
  });

  test('of systemd-boot is UTF-16', () => {
    const data = Buffer.from('quiet splash\0', 'utf16le');
    expect(read([{ pcr: 12, type: 13, data }]).boot.kernel.commandLines).toEqual([
      { event: 1, pcr: 12, source: 'systemd', text: 'quiet splash', verified: true },
    ]);
  });

  test('of Linux’ EFI stub is a digest alone', () => {
    const text = Buffer.from('LOADED_IMAGE::LoadOptions\0');
    const data = Buffer.concat([u32(0x8f3b_22ed), u32(text.length), text]);
    expect(read([{ pcr: 9, type: 6, data, measured: Buffer.from('x') }]).boot.kernel.commandLines).toEqual([
      { event: 1, pcr: 9, source: 'efi-stub', text: undefined, verified: false },
    ]);
  });

  describe('of Linux’ EFI stub is the line of its loader', () => {
    const words = '/vmlinuz root=/dev/vda1';
    const text = Buffer.from('LOADED_IMAGE::LoadOptions\0');
    const data = Buffer.concat([u32(0x8f3b_22ed), u32(text.length), text]);
    const options = (measured: string, change: Partial<MadeEvent> = {}): MadeEvent => ({
      pcr: 9,
      type: 6,
      data,
      measured: Buffer.from(measured, 'utf16le'),
      ...change,
    });

    test.each([`BOOT_IMAGE=${words}\0`, `BOOT_IMAGE=${words}`, `${words}\0`, words])(
      'where it has the digest of it: %j',
      (measured) => {
        const { boot } = read([linux, line, options(measured)]);
        expect(boot.kernel.commandLines[1]).toEqual({
          event: 3,
          pcr: 9,
          source: 'efi-stub',
          text: words,
          verified: true,
        });
        expect(boot.findings).toEqual([]);
      },
    );

    test('where systemd-boot measured it', () => {
      const quiet = Buffer.from('quiet\0', 'utf16le');
      const { boot } = read([{ pcr: 12, type: 13, data: quiet }, options('quiet\0')]);
      expect(boot.kernel.commandLines.map(({ text: said }) => said)).toEqual(['quiet', 'quiet']);
    });

    const half = sha256(Buffer.from(words, 'utf16le'));
    test.each<[string, readonly MadeEvent[]]>([
      ['more arguments', [linux, line, options(`BOOT_IMAGE=${words} init=/bin/sh\0`)]],
      ['another line', [linux, line, options('quiet\0')]],
      [
        'the digest in one of two banks',
        [
          linux,
          line,
          options(words, {
            digests: [
              [4, Buffer.alloc(20)],
              [0xb, half],
            ],
          }),
        ],
      ],
      ['a line that is not verified', [linux, { ...line, measured: Buffer.from('x') }, options(words)]],
    ])('and not where it has %s', (_, events) => {
      expect(read(events).boot.kernel.commandLines.at(-1)).toMatchObject({ text: undefined, verified: false });
    });
  });

  test.each([
    'chainloader /vmlinuz init=/bin/sh',
    'chainloader',
    '! linux /vmlinuz init=/bin/sh',
    '!',
    'multiboot2 /xen',
    'module2 /vmlinuz init=/bin/sh',
    'xen_hypervisor /xen',
    'legacy_kernel /vmlinuz init=/bin/sh',
    'linux_x /vmlinuz',
    'appleloader CD',
    'exit',
    'fwsetup',
    'normal_exit',
    'rmmod tpm',
    'devicetree /evil.dtb',
    'acpi /evil.aml',
    'write_dword 0 1',
    '/vmlinuz root=/dev/vda1 init=/bin/sh',
    '(hd0,gpt1)/vmlinuz init=/bin/sh',
    '0+1 init=/bin/sh',
    ' linux /vmlinuz',
    'Set a=b',
    'set\tx',
    '[x',
    '=x',
    '2=3',
    '',
  ])('is ambiguous beside a command of GRUB that may start something else: %j', (text) => {
    expect(read([grub('grub_cmd', text), linux, line]).boot.findings).toEqual([
      expect.objectContaining({ code: 'KERNEL_COMMAND_LINE_AMBIGUOUS', event: 1 }),
    ]);
  });

  test('is one beside the commands of configurations that distributions generate', () => {
    const commands = [
      ...['[ -s (hd0,gpt2)/boot/grub/grubenv ]', 'set have_grubenv=true', 'load_env', '[  = 1 ]', 'font=unicode'],
      ...['export menuentry_id_option', 'menuentry_id_option=--id', 'loadfont unicode', 'load_video', 'insmod efi_gop'],
      ...[
        'terminal_output gfxterm',
        'recordfail',
        'save_env recordfail',
        'hwmatch (hd0)/gfxblacklist.txt 3',
        'gfxmode keep',
      ],
      ...[
        'menuentry Debian {\n\tchainloader /EFI/evil\n}',
        'submenu Advanced {\n}',
        'setparams Debian',
        'echo Loading ...',
      ],
      ...[
        'search --no-floppy --fs-uuid --set=root 1-2',
        'search.fs_uuid 1-2 root hd0,gpt1',
        'configfile (hd0)/grub.cfg',
      ],
      ...[
        'blscfg',
        'increment boot_counter',
        'sleep --interruptible 1',
        'source (hd0)/custom.cfg',
        'fwsetup --is-supported',
      ],
      ...[
        'btrfs-mount-subvol (hd0) /boot/grub2/x86_64-efi /@/boot',
        'gptpriority hd0 2 prioA',
        'initrd /initrd.img',
        'boot',
      ],
    ].map((text) => grub('grub_cmd', text));
    expect(read([...commands, linux, line]).boot.findings).toEqual([]);
  });

  test.each(['set root=/dev/vda1', 'linux root=/dev/vda1', 'a=b quiet', 'initrd quiet'])(
    'is ambiguous where a command could be it: %s',
    (text) => {
      const [finding] = read([grub('grub_cmd', `linux ${text}`), grub('kernel_cmdline', text)]).boot.findings;
      expect(finding?.code).toBe('KERNEL_COMMAND_LINE_AMBIGUOUS');
    },
  );

  test.each([
    ['lines', grub('kernel_cmdline', '/vmlinuz root=/dev/vda1')],
    ['commands that load one', grub('grub_cmd', 'linux /vmlinuz root=/dev/vda1')],
  ])('is ambiguous where more than 64 %s were measured', (_, event) => {
    const many = (count: number) => read([linux, line, ...Array.from({ length: count }, () => event)]).boot;
    expect(many(63).findings).toEqual([]);
    expect(many(64).findings.map(({ code }) => code)).toEqual(['KERNEL_COMMAND_LINE_AMBIGUOUS']);
    expect(many(999).kernel.commandLines.length).toBeLessThanOrEqual(64);
  });

  test.each<[string, readonly MadeEvent[]]>([
    ['a second one', [linux, line, grub('kernel_cmdline', '/vmlinuz init=/bin/sh')]],
    ['the command that made it hidden as another', [linux, line, grub('grub_cmd', 'linux /vmlinuz init=/bin/sh')]],
    [
      'an event of GRUB that nobody can read',
      [linux, line, { pcr: 8, type: 0x1234, data: Buffer.from('x'), measured: Buffer.from('y') }],
    ],
    [
      'the real one hidden as a command, where only the quotes of the false one differ',
      [
        grub('grub_cmd', 'linux /vmlinuz x=a init=/bin/sh'),
        grub('grub_cmd', '/vmlinuz x=a init=/bin/sh'),
        grub('kernel_cmdline', '/vmlinuz x="a init=/bin/sh"'),
      ],
    ],
    [
      'the real one hidden as a command, which begins with the quotes',
      [
        grub('grub_cmd', 'linux /vmlinuz lockdown=confidentiality'),
        grub('grub_cmd', '"/vmlinuz lockdown=confidentiality"'),
        grub('kernel_cmdline', '/vmlinuz lockdown=confidentiality'),
      ],
    ],
    ['a false one beside the real command', [linux, grub('kernel_cmdline', '/vmlinuz quiet')]],
  ])('is ambiguous with %s', (_, events) => {
    expect(read(events).boot.findings).toEqual([
      expect.objectContaining({ code: 'KERNEL_COMMAND_LINE_AMBIGUOUS', severity: 'warning' }),
    ]);
  });

  test('may be quoted in one event and not in the other', () => {
    const quoted = [grub('grub_cmd', 'linux /vmlinuz a="b c"'), grub('kernel_cmdline', '/vmlinuz "a=b c"')];
    expect(read(quoted).boot.findings).toEqual([]);
  });
});

test('images are listed by digest, whatever type they are said to be', () => {
  const image: MadeEvent = { pcr: 4, type: 0x8000_0003, data: Buffer.from('path'), measured: Buffer.from('shim') };
  const hidden: MadeEvent = { ...image, type: 0x1234, measured: Buffer.from('forbidden') };
  const { boot } = read([
    action('Calling EFI Application from Boot Option', 4),
    image,
    hidden,
    { pcr: 4, type: 4, data: Buffer.alloc(4) },
  ]);
  expect(boot.images.map(({ index }) => index)).toEqual([2, 3]);
});

test('an image is one also where its own bytes are the data of another event', () => {
  const { boot } = read([
    { pcr: 4, type: 5, data: Buffer.from('MZ, and the rest of what Authenticode hashes') },
    { pcr: 4, type: 0x8000_0007, data: Buffer.from('PE without a DOS header') },
    { pcr: 2, type: 6, data: Buffer.concat([u32(1), u32(2), Buffer.from('VZ')]), measured: Buffer.from('VZ') },
    { pcr: 4, type: 5, data: Buffer.alloc(1025, 0x20) },
    { pcr: 4, type: 5, data: Buffer.from('a word of the firmware') },
  ]);
  expect(boot.images.map(({ index }) => index)).toEqual([1, 2, 3, 4]);
});

test.each<[string, MadeEvent]>([
  ['an action', { pcr: 8, type: 5, data: Buffer.from('/vmlinuz init=/bin/sh') }],
  ['a command line of a module', grub('module_cmdline', '/vmlinuz init=/bin/sh')],
  ['a tag', { pcr: 12, type: 6, data: Buffer.concat([u32(1), u32(4), Buffer.from('text')]) }],
  ['a text without a prefix', { pcr: 8, type: 13, data: Buffer.from('/vmlinuz init=/bin/sh') }],
])('a command line beside which %s was measured is ambiguous', (_, hidden) => {
  expect(read([linux, hidden, line]).boot.findings.map(({ code }) => code)).toEqual(['KERNEL_COMMAND_LINE_AMBIGUOUS']);
});

describe('ExitBootServices', () => {
  const begun = action('Exit Boot Services Invocation');
  const failed = action('Exit Boot Services Returned with Failure');
  const done = action('Exit Boot Services Returned with Success');
  test.each<[string, readonly MadeEvent[], string, readonly string[]]>([
    ['succeeded', [begun, done], 'success', []],
    ['succeeded at the second time', [begun, failed, begun, done], 'success', []],
    ['failed', [begun, failed], 'failure', ['EXIT_BOOT_SERVICES_FAILED']],
    ['began', [begun], 'begun', []],
    ['is missing', [action('Something else')], 'missing', []],
    ['is missing where the text is forged', [{ ...done, measured: Buffer.from('x') }], 'missing', []],
  ])('%s', (_, events, outcome, codes) => {
    const { boot } = read(events);
    expect(boot.exitBootServices).toBe(outcome);
    expect(boot.findings.map(({ code }) => code)).toEqual(codes);
  });
});

describe.skipIf(!dataIsHere('measured-boot'))('a real boot through shim and GRUB', () => {
  const { boot } = dataIsHere('measured-boot') ? readEventLog(measuredLog('sb-ms-shim-grub')) : read([]);

  test('passes all phases in order, and no event is lost', () => {
    expect(boot.phases.map(({ phase }) => phase)).toEqual(['firmware', 'boot-manager', 'boot-loader', 'exit']);
    const indices = boot.phases.flatMap(({ events }) => events.map(({ index }) => index));
    expect(indices).toEqual(Array.from({ length: 47 }, (_, index) => index + 1));
    expect(boot.exitBootServices).toBe('success');
  });

  test('shows the command line that the kernel itself printed', () => {
    const [commandLine] = boot.kernel.commandLines;
    const printed = readFileSync(measuredBootPath('sb-ms-shim-grub', 'cmdline.txt'), 'utf8').trim();
    expect(commandLine).toMatchObject({ source: 'grub', verified: true });
    expect(printed).toContain(commandLine?.text?.replace('/vmlinuz ', '') ?? 'none');
  });

  test('shows the initrd by name and digest', () => {
    expect(boot.kernel.initrds).toMatchObject([{ source: 'grub', name: '/initrd.gz' }]);
    expect(boot.kernel.initrds[0]?.digests).toHaveLength(3);
  });
});
