/** Neither the type of an event nor what its digest does not cover is proven: an owner writes there what he likes. */
import { hash } from 'node:crypto';
import { describe, expect, it } from 'vitest';

import { digest } from '../../tpm/crypto/digest.ts';
import { EV_IPL, EVENT_TYPES } from '../../tpm/eventlog/event-types.ts';
import { parseEventLog } from '../../tpm/eventlog/parse.ts';
import { verifyBoot } from '../../server/verifier/verify-boot.ts';
import type { BootOutcome } from '../../server/verifier/verify-boot.ts';
import type { BootRecord } from '../../server/store/records.ts';
import type { BootRulesDraft } from '../../server/policy/boot-rules.ts';
import { judge } from '../server/policy/boot-input.ts';
import {
  bootedTpm,
  bootLog,
  eventSpans,
  IMAGES,
  proveBootOf,
  RULE,
  SECURE_BOOT,
  SIGNERS,
} from '../support/booted-machine.ts';
import { dataIsHere } from '../support/data.ts';

const here = dataIsHere('measured-boot');
const UNKNOWN_TYPES = [0x1234, 0x8000_00ff];
/** Of the pairs, one in so many is tried. */
const THINNED = 20;
const GRUB_PREFIXES = ['grub_cmd: ', 'kernel_cmdline: ', 'grub_kernel_cmdline ', 'module_cmdline: '];

/** Policies that the boot of the capture does not satisfy. */
const line = { ...RULE, allowed: [], required: [], forbidden: [] };
const policies: readonly (readonly [string, Partial<BootRulesDraft>])[] = [
  ['signers are allowed', { allowedSigners: { ...RULE, certificates: [SIGNERS[0]] } }],
  ['signers are forbidden', { forbiddenSigners: { ...RULE, certificates: [SIGNERS[1]] } }],
  ['images are allowed', { allowedImages: { ...RULE, digests: IMAGES.slice(1) } }],
  ['images are forbidden', { forbiddenImages: { ...RULE, digests: [IMAGES[2]] } }],
  ['a revocation level is asked for', { sbatLevel: { ...RULE, minimum: { shim: 5 } } }],
  ['arguments are forbidden', { commandLine: { ...line, forbidden: ['ima_policy'] } }],
  ['arguments are required', { commandLine: { ...line, required: ['lockdown=confidentiality'] } }],
];

interface Parts {
  readonly pcr: number;
  readonly type: number;
  /** Count and digests. */
  readonly digests: Buffer;
  readonly data: Buffer;
}

function partsOf(event: Buffer, dataLength: number): Parts {
  const end = event.length - dataLength - 4;
  return {
    pcr: event.readUInt32LE(0),
    type: event.readUInt32LE(4),
    digests: event.subarray(8, end),
    data: event.subarray(end + 4),
  };
}

function join({ pcr, type, digests, data }: Parts): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(pcr, 0);
  head.writeUInt32LE(type, 4);
  const size = Buffer.alloc(4);
  size.writeUInt32LE(data.length);
  return Buffer.concat([head, digests, size, data]);
}

/** What an owner may write beside digests that are proven. */
function disguises({ type, data, ...rest }: Parts): readonly Parts[] {
  const types = [...EVENT_TYPES.keys(), ...UNKNOWN_TYPES];
  const text = data.toString('latin1').replace(/^(?:grub_cmd|kernel_cmdline): /, '');
  const datas = [
    data,
    Buffer.alloc(0),
    Buffer.alloc(4),
    Buffer.from(text, 'latin1'),
    ...GRUB_PREFIXES.map((prefix) => Buffer.from(prefix + text, 'latin1')),
  ];
  return [
    ...types.flatMap((each) => [data, Buffer.alloc(0)].map((bytes) => ({ ...rest, type: each, data: bytes }))),
    ...datas.map((bytes) => ({ ...rest, type, data: bytes })),
  ];
}

function outcomeOf(record: BootRecord, log: Buffer): BootOutcome {
  const bootLogRecord = { ...record.bootLog, sha256: hash('sha256', log, 'hex'), size: log.length };
  const outcome = verifyBoot({ ...record, bootLog: bootLogRecord }, { boot: log, userspace: null });
  if (outcome === null) throw new Error('the log is not that of its record');
  return outcome;
}

describe.skipIf(!here)('an event with another type, or other data beside its digest', () => {
  it('turns no bad boot into a good one', () => {
    const { data: log } = bootLog(SECURE_BOOT);
    const { record } = proveBootOf(bootedTpm(SECURE_BOOT), [bootLog(SECURE_BOOT)]);
    const spans = eventSpans(log);
    const { events } = parseEventLog(log);
    const affirmed: string[] = [];
    let judged = 0;
    for (const [index, span] of spans.entries()) {
      const event = events[index];
      if (event === undefined || index === 0 || ![2, 4, 7, 8, 9, 12, 14].includes(event.pcr)) continue;
      for (const disguise of disguises(partsOf(log.subarray(span.start, span.end), event.data.length))) {
        const forged = Buffer.concat([log.subarray(0, span.start), join(disguise), log.subarray(span.end)]);
        const outcome = outcomeOf(record, forged);
        judged += 1;
        for (const [name, rules] of policies) {
          if (judge(rules, outcome).status !== 'affirming') continue;
          affirmed.push(`${name}: event ${index} as ${disguise.type.toString(16)}, ${disguise.data.length} bytes`);
        }
      }
    }
    expect(judged).toBeGreaterThan(1000);
    expect(affirmed).toEqual([]);
  });

  const good = [
    '/vmlinuz console=ttyS0,115200',
    '/vmlinuz console=ttyS0,115200 "ima_policy=tcb ima_template=ima-sig rootfstype=ramfs panic=-1"',
    'linux /vmlinuz console=ttyS0,115200',
  ];
  it.each(good)('hides no command line behind another that was measured after it: %s', (text) => {
    const { data: log } = bootLog(SECURE_BOOT);
    const tpm = bootedTpm(SECURE_BOOT);
    const { banks, events } = parseEventLog(log);
    for (const { alg } of banks) tpm.extend(8, Buffer.from(digest(alg, Buffer.from(text))), alg);
    const { record } = proveBootOf(tpm, [bootLog(SECURE_BOOT)]);
    const count = Buffer.from([banks.length, 0, 0, 0]);
    const digests = banks.flatMap(({ alg }) => [Buffer.from([alg & 0xff, alg >> 8]), digest(alg, Buffer.from(text))]);
    const data = Buffer.from(`kernel_cmdline: ${text}`);
    const later = join({ pcr: 8, type: EV_IPL, digests: Buffer.concat([count, ...digests]), data });
    // The command that loads the kernel, and its command line.
    const spans = eventSpans(log);
    const [command, own] = events.filter(({ pcr, data: said }) => pcr === 8 && said.includes('ima_policy=tcb'));
    const places = [command, own].map((event) => ({ event, span: spans[event?.index ?? -1] }));
    const [first = [], second = []] = places.map(({ event, span }) =>
      disguises(partsOf(log.subarray(span?.start, span?.end), event?.data.length ?? 0)).map(join),
    );
    expect(first.length * second.length).toBeGreaterThan(1000);
    const [before, after] = places.map(({ span }) => span);
    const affirmed: string[] = [];
    for (const [at, left] of first.entries()) {
      for (const right of second.filter((_, position) => (position + at) % THINNED === 0)) {
        const middle = log.subarray(before?.end, after?.start);
        const forged = [log.subarray(0, before?.start), left, middle, right, log.subarray(after?.end), later];
        const outcome = outcomeOf(record, Buffer.concat(forged));
        const verdict = judge({ commandLine: { ...line, forbidden: ['ima_policy'] } }, outcome);
        if (verdict.status === 'affirming') affirmed.push(`${left.toString('latin1')} ${right.toString('latin1')}`);
      }
    }
    expect(affirmed).toEqual([]);
  });
});
