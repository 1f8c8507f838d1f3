/** Machines whose PCRs and logs are those of real boots. */
import { hash } from 'node:crypto';

import { digestSize } from '../../tpm/crypto/digest.ts';
import { parseEventLog } from '../../tpm/eventlog/parse.ts';
import type { EventLog } from '../../tpm/eventlog/parse.ts';
import { hashAlgorithmByName } from '../../tpm/structures/constants.ts';
import type { BootRulesDraft } from '../../server/policy/boot-rules.ts';
import type { BootRecord } from '../../server/store/records.ts';
import { logsOf, recordBoot } from '../../server/verifier/boot-record.ts';
import { verifyBoot } from '../../server/verifier/verify-boot.ts';
import type { BootOutcome } from '../../server/verifier/verify-boot.ts';
import { verifyEvidence } from '../../server/verifier/verify-evidence.ts';
import { measuredLog, measuredPcrs } from '../tpm/eventlog/real-logs.ts';
import type { MeasuredBoot } from '../tpm/eventlog/real-logs.ts';
import { announce, demandOf, makeEvidence } from './evidence-builder.ts';
import type { Log } from './evidence-builder.ts';
import { SoftwareTpm } from './software-tpm.ts';

export const SECURE_BOOT: MeasuredBoot = 'sb-ms-shim-grub';
export const NO_SECURE_BOOT: MeasuredBoot = 'nosb-kernel-tis';

/** What authorised the capture with Secure Boot: Microsoft's UEFI CA 2011 and Debian's CA. */
export const SIGNERS = [
  '48e99b991f57fc52f76149599bff0a58c47154229b9f8d603ac40d3500248507',
  '079646974bce09b1f04da67bd722d1fb0947ae4c4010bccdbba52d5b23cbf1a2',
] as const;

/** A TPM that holds what a real boot left in it, in its three banks. */
export function bootedTpm(boot: MeasuredBoot): SoftwareTpm {
  const values = measuredPcrs(boot);
  const banks = [...values.keys()].flatMap((name) => hashAlgorithmByName(name)?.alg ?? []);
  const tpm = new SoftwareTpm({ banks });
  bootAs(tpm, boot);
  return tpm;
}

/** Sets the PCRs of a TPM to those of a boot. */
export function bootAs(tpm: SoftwareTpm, boot: MeasuredBoot): void {
  for (const [name, bank] of measuredPcrs(boot)) {
    const alg = hashAlgorithmByName(name)?.alg ?? 0;
    for (const [pcr, value] of bank) tpm.pcrs.get(alg)?.set(pcr, Buffer.from(value, 'hex'));
    // Of the PCRs of a dynamic launch the capture has the first.
    for (let pcr = 17; pcr <= 22; pcr++) tpm.pcrs.get(alg)?.set(pcr, Buffer.alloc(digestSize(alg), 0xff));
  }
}

export function bootLog(boot: MeasuredBoot, change: (log: Buffer) => Buffer = (log) => log) {
  return { kind: 'boot', data: change(measuredLog(boot)) } as const;
}

/** No rule. */
export const NO_RULES: BootRulesDraft = {
  secureBoot: undefined,
  allowedSigners: undefined,
  forbiddenSigners: undefined,
  allowedImages: undefined,
  forbiddenImages: undefined,
  sbatLevel: undefined,
  commandLine: undefined,
};

export const RULE = { severity: undefined, message: '' } as const;

/** Bytes of one event in a log. */
export interface EventSpan {
  readonly start: number;
  readonly end: number;
}

export function eventSpans(log: Buffer): readonly EventSpan[] {
  const { events }: EventLog = parseEventLog(log);
  return events.map(({ offset }, index) => ({ start: offset, end: events[index + 1]?.offset ?? log.length }));
}

/** Lines of systemd's log for records of one PCR each, and what they extend: the SHA-256 bank alone or all of them. */
export function userspaceRecord(pcr: number, text: string, banks: readonly string[]): string {
  const digests = banks.map((hashAlg) => ({ hashAlg, digest: hash(hashAlg, text, 'hex') }));
  return `\u001e${JSON.stringify({ pcr, digests, content_type: 'systemd', content: { eventType: 'phase', string: text } })}\n`;
}

/** What booted in the capture with Secure Boot: shim, GRUB and the kernel, which is measured twice. SHA-256. */
export const IMAGES = [
  '80a66d53a945d2286fcadd780fae1c225aa732079cd67b5225dc78aaab4e2ff8',
  'a68f6d71ebddaa19751ff8d729f67d11b0df8e4c49400c3e7e90de16119e1265',
  '5f21ff2c0d5d899842b28a8b19901ba72cf7a7ab93c02a77fadc6ff72be85b31',
] as const;

export const COMMAND_LINE =
  '/vmlinuz console=ttyS0,115200 ima_policy=tcb ima_template=ima-sig rootfstype=ramfs panic=-1';

/** What the logs of a machine prove, by a quote of every bank. */
export function proveBootOf(
  tpm: SoftwareTpm,
  logs: readonly Log[],
  unreadable = 'not found',
): { readonly record: BootRecord; readonly outcome: BootOutcome } {
  const ak = tpm.createAk();
  const extraData = Buffer.alloc(32, 1);
  const verified = verifyEvidence(makeEvidence(tpm, ak, extraData), demandOf(ak, extraData));
  if (verified.kind !== 'verified') throw new Error('the evidence does not verify');
  const missing = (['boot', 'userspace'] as const).filter((kind) => !logs.some((log) => log.kind === kind));
  const none = { offset: 0, size: 0, sha256: Buffer.alloc(0), unreadable };
  const announced = [...logs.map(announce), ...missing.map((kind) => ({ kind, ...none }))];
  const parts = logs.map(({ kind, data }) => ({ kind, offset: 0, data }));
  const record = recordBoot(verified.evidence, announced, parts);
  const outcome = record === null ? null : verifyBoot(record, logsOf(parts));
  if (record === null || outcome === null) throw new Error('the evidence proves no boot');
  return { record, outcome };
}
