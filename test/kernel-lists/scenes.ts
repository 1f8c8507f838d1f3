/** What is booted, and what the guest does: one scene makes one list. */

export interface Scene {
  /** Folder of the list. */
  readonly name: string;
  readonly kernel: 'distribution' | 'minimal';
  /** Kernel parameters beside those that every guest needs. */
  readonly parameters: string;
  /** Lines of the IMA policy; none leaves the kernel's own. */
  readonly policy: readonly string[];
  /** What the guest runs then. */
  readonly script: readonly string[];
  /** What is started by kexec, if anything is. */
  readonly second?: {
    readonly parameters: string;
    readonly policy: readonly string[];
    readonly script: readonly string[];
  };
  /** Banks of the TPM. */
  readonly banks: string;
}

const ALL_BANKS = 'sha1,sha256,sha384';

/** Programs, and files of the one disk. */
const FILES = ['measure func=BPRM_CHECK', 'measure func=FILE_CHECK mask=MAY_READ fsname=ext4'];

const READ_ALL = ['for file in /files/*; do [ -d $file ] || cat $file >/dev/null; done', '/files/unsigned.sh'];
/** Written while another reads it, and read while another writes it. */
const VIOLATE = [
  'exec 3</files/read-and-written; echo more >>/files/read-and-written; exec 3<&-',
  'exec 4>>/files/written-and-read; cat /files/written-and-read >/dev/null; exec 4>&-',
];
const ENABLE_VERITY = ['fsverity enable /files/verity', 'fsverity enable /files/verity-signed'];
/** For the files of one owner: of a file that it matches and that is no verity file nothing is measured. */
const VERITY = 'measure func=FILE_CHECK mask=MAY_READ fowner=1000 digest_type=verity';

const addKeys = (pattern: string): readonly string[] => [
  'ring=%keyring:.ima',
  `for key in /keys/${pattern}; do keyctl padd asymmetric "" $ring <$key >/dev/null || say "$key is refused"; done`,
];
const ADD_KEYS = addKeys('*.der');
const KEYS = 'measure func=KEY_CHECK keyrings=.ima template=ima-buf';

const SECOND = 'scene.second';
/** `between` is done by the first kernel once the second one is loaded. */
const KEXEC = (parameters: string, between: readonly string[] = []): readonly string[] => [
  `kexec -s -l /vmlinuz --initrd=/second.cpio --command-line="$(cat /proc/cmdline) ${SECOND} ${parameters}"`,
  ...between,
  'hand_out',
  'kexec -e',
];

/** More than the space that the kernel keeps for what is measured once the next one is loaded: half a page, and what fills a page. */
const MUCH = [
  'n=0',
  'while [ $n -lt 60 ]; do n=$((n + 1)); echo $n >/files/late-$n; cat /files/late-$n >/dev/null; done',
];

export const SCENES: readonly Scene[] = [
  {
    name: 'distribution-ima',
    kernel: 'distribution',
    parameters: 'ima_template=ima ima_hash=sha1',
    policy: FILES,
    script: [...READ_ALL, ...VIOLATE],
    banks: ALL_BANKS,
  },
  {
    name: 'distribution-ngv2',
    kernel: 'distribution',
    parameters: 'ima_template=ima-ngv2',
    policy: [VERITY, ...FILES],
    script: [...ENABLE_VERITY, ...READ_ALL],
    banks: ALL_BANKS,
  },
  {
    name: 'distribution-sigv2',
    kernel: 'distribution',
    parameters: 'ima_template=ima-sigv2',
    policy: [VERITY, ...FILES],
    script: [...ENABLE_VERITY, ...READ_ALL, ...VIOLATE],
    banks: `${ALL_BANKS},sha512`,
  },
  {
    name: 'distribution-evm-sig',
    kernel: 'distribution',
    parameters: 'ima_template=evm-sig',
    policy: FILES,
    script: READ_ALL,
    banks: ALL_BANKS,
  },
  {
    name: 'distribution-custom',
    kernel: 'distribution',
    parameters: 'ima_template_fmt=d-ngv2|n-ng|sig|iuid|igid|imode',
    policy: FILES,
    script: READ_ALL,
    banks: 'sha256',
  },
  {
    name: 'distribution-kexec',
    kernel: 'distribution',
    parameters: 'ima_policy=critical_data',
    policy: [...FILES, 'measure func=KEXEC_CMDLINE', 'measure func=KEXEC_KERNEL_CHECK'],
    script: [...READ_ALL, ...KEXEC('')],
    second: { parameters: '', policy: FILES, script: READ_ALL },
    banks: ALL_BANKS,
  },
  {
    name: 'distribution-selinux',
    kernel: 'distribution',
    parameters: 'security=selinux selinux=1 ima_policy=critical_data',
    policy: ['measure func=CRITICAL_DATA label=selinux template=ima-buf', ...FILES],
    script: [
      'mount -t selinuxfs none /sys/fs/selinux && echo 1 >/sys/fs/selinux/enforce && echo 0 >/sys/fs/selinux/enforce',
      ...READ_ALL,
    ],
    banks: 'sha256',
  },
  {
    name: 'minimal-modsig',
    kernel: 'minimal',
    parameters: 'ima_template=ima-sigv2',
    policy: [
      KEYS,
      'measure func=MODULE_CHECK template=ima-modsig',
      'appraise func=MODULE_CHECK appraise_type=imasig|modsig',
      'measure func=KEXEC_KERNEL_CHECK template=ima-modsig',
      'appraise func=KEXEC_KERNEL_CHECK appraise_type=imasig|modsig',
      VERITY,
      ...FILES,
    ],
    script: [
      ...ADD_KEYS,
      '/kmod/insmod /measured.ko || say "the module is refused"',
      'kexec -s -l /vmlinuz-signed || say "the kernel is refused"',
      ...ENABLE_VERITY,
      ...READ_ALL,
    ],
    banks: `${ALL_BANKS},sha512`,
  },
  {
    name: 'minimal-keys',
    kernel: 'minimal',
    parameters: 'ima_policy=critical_data',
    policy: [
      'measure func=KEY_CHECK keyrings=.ima|.builtin_trusted_keys template=ima-buf',
      'measure func=CRITICAL_DATA template=ima-buf',
      ...FILES,
    ],
    script: [
      ...ADD_KEYS,
      'truncate -s 1M /tmp/linear && device=$(losetup -f) && losetup $device /tmp/linear',
      'dmsetup create linear --table "0 2048 linear $device 0"',
      'dmsetup remove linear',
      ...READ_ALL,
    ],
    banks: ALL_BANKS,
  },
  {
    name: 'minimal-sha512',
    kernel: 'minimal',
    parameters: 'ima_hash=sha512',
    policy: FILES,
    script: [...READ_ALL, ...VIOLATE],
    banks: 'sha512',
  },
  {
    name: 'minimal-kexec',
    kernel: 'minimal',
    parameters: 'ima_policy=critical_data',
    policy: [KEYS, 'measure func=KEXEC_CMDLINE template=ima-buf', 'measure func=KEXEC_KERNEL_CHECK', ...FILES],
    script: [...addKeys('signer-rsa.der'), ...READ_ALL, ...VIOLATE, ...KEXEC('')],
    second: {
      parameters: '',
      policy: [KEYS, ...FILES],
      script: [...ADD_KEYS, ...READ_ALL],
    },
    banks: ALL_BANKS,
  },
  {
    name: 'minimal-kexec-silent',
    kernel: 'minimal',
    parameters: '',
    policy: FILES,
    script: [...READ_ALL, ...KEXEC('')],
    second: { parameters: '', policy: FILES, script: READ_ALL },
    banks: ALL_BANKS,
  },
  {
    name: 'minimal-kexec-other-template',
    kernel: 'minimal',
    parameters: '',
    policy: FILES,
    script: [...READ_ALL, ...KEXEC('ima_template=ima-ngv2')],
    second: { parameters: 'ima_template=ima-ngv2', policy: FILES, script: READ_ALL },
    banks: ALL_BANKS,
  },
  {
    name: 'minimal-kexec-late',
    kernel: 'minimal',
    parameters: '',
    policy: FILES,
    script: KEXEC('', MUCH),
    second: { parameters: '', policy: FILES, script: READ_ALL },
    banks: ALL_BANKS,
  },
];
