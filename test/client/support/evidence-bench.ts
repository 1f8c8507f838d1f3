import { hash } from 'node:crypto';
import { TPM_ALG_SHA1, TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import type { PcrBankSelection } from '../../../tpm/structures/pcr-selection.ts';
import { encodeSizedPublicArea } from '../../../tpm/structures/public-area.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import type { QuoteFields, SoftwareAk } from '../../support/software-tpm.ts';
import { makeEk, makeIntermediate, makeRoot, NOW } from '../../support/test-ek-pki.ts';
import { makeLog } from '../../tpm/eventlog/make-log.ts';
import type { MadeEvent } from '../../tpm/eventlog/make-log.ts';
import { digestField, fileEntries, hashedData, makeList, nameField } from '../../tpm/ima/list-builder.ts';
import type { EntryPlan } from '../../tpm/ima/list-builder.ts';
import { NONCE, pcrText } from './quote-bench.ts';
import { Shell } from './shell.ts';

/** What a test reads of the report on evidence. */
export interface EvidenceJson {
  readonly result: string;
  readonly quote: { readonly result: string; readonly findings: readonly Finding[] };
  readonly bootLog: BootPart | null;
  readonly imaList: ImaPart | null;
  readonly ekCertificates: readonly { readonly file: string; readonly status: string }[];
  readonly findings: readonly Finding[];
}

interface Finding {
  readonly code: string;
  readonly severity: string;
}

interface BootPart {
  readonly status: string;
  readonly reason?: string;
  readonly secureBoot?: { readonly mode: string } | null;
  readonly kernelCommandLines?: readonly { readonly text: string }[];
  readonly findings?: readonly Finding[];
}

interface ImaPart {
  readonly status: string;
  readonly reason?: string;
  readonly entries?: number;
  readonly waitingBytes?: number;
  readonly bootAggregate?: string | null;
  readonly findings?: readonly Finding[];
}

/** What the firmware of the host measured. */
export const EVENTS: readonly MadeEvent[] = eventsOf('quiet');
const NO_SIGNATURE = Buffer.alloc(0);
const PHASE = 'enter-initrd';

function eventsOf(commandLine: string): readonly MadeEvent[] {
  return [
    { pcr: 0, type: 8, data: Buffer.from('v1') },
    ...[0, 1, 2, 3, 4, 5, 6, 7].map((pcr) => ({ pcr, type: 4, data: Buffer.alloc(4) })),
    { pcr: 8, type: 13, data: Buffer.from(`kernel_cmdline: ${commandLine}\0`), measured: Buffer.from(commandLine) },
  ];
}

/** Of a host. */
interface BenchOptions {
  /** The one that is active. */
  readonly bank: number;
  /** Its kernel extends the bank by SHA-1 hashes and zeros. */
  readonly padded: boolean;
  readonly commandLine: string;
  /** How its list begins. */
  readonly first: 'aggregate' | 'zeros' | 'file' | 'other boot';
}

/** A host of which everything is known: its TPM, and what was measured into it. */
export class EvidenceBench {
  readonly shell: Shell;
  readonly tpm: SoftwareTpm;
  readonly ak: SoftwareAk;
  readonly entries: readonly EntryPlan[];
  /** Of the folder `host`. */
  readonly files = new Map<string, Buffer | string>();

  private constructor(shell: Shell, { bank, padded, commandLine, first }: BenchOptions) {
    this.shell = shell;
    this.tpm = new SoftwareTpm({ banks: [bank] });
    shell.time = NOW;
    const digestOf = (data: Buffer) => hash(bank === TPM_ALG_SHA1 ? 'sha1' : 'sha256', data, 'buffer');
    const entryDigest = (data: Buffer) =>
      padded ? Buffer.concat([hash('sha1', data, 'buffer'), Buffer.alloc(12)]) : digestOf(data);
    this.ak = this.tpm.createAk('ecdsa');
    const events = eventsOf(commandLine);
    for (const { pcr, data, measured = data } of events) this.tpm.extend(pcr, digestOf(measured), bank);
    const values = [...(this.tpm.read().get(bank) ?? new Map<number, Buffer>()).values()];
    const aggregate = digestOf(Buffer.concat(values.slice(0, bank === TPM_ALG_SHA1 ? 8 : 10)));
    this.tpm.extend(11, digestOf(Buffer.from(PHASE)), bank);
    const others = { zeros: Buffer.alloc(aggregate.length), 'other boot': digestOf(aggregate) };
    const held = first === 'zeros' || first === 'other boot' ? others[first] : aggregate;
    const beginning = {
      template: 'ima-sig',
      fields: [digestField(bank === TPM_ALG_SHA1 ? 'sha1' : 'sha256', held), nameField('boot_aggregate'), NO_SIGNATURE],
    };
    this.entries = [...(first === 'file' ? [] : [beginning]), ...fileEntries(10).slice(1)];
    for (const entry of this.entries.slice(0, 8)) this.tpm.extend(10, entryDigest(hashedData(entry)), bank);
    this.files
      .set('ak.pub', encodeSizedPublicArea(this.ak.publicArea))
      .set('pcrs', pcrText(this.tpm.read()))
      .set('extra-data.hex', `${NONCE.toString('hex')}\n`)
      .set('binary_bios_measurements', makeLog(events))
      .set('tpm2-measure.log', userspaceRecord(PHASE))
      .set('binary_runtime_measurements', makeList(this.entries))
      .set('ek.der', makeEk());
    this.quote();
  }

  static async open(options: Partial<BenchOptions> = {}): Promise<EvidenceBench> {
    const honest = { bank: TPM_ALG_SHA256, padded: false, commandLine: 'quiet', first: 'aggregate' } as const;
    return new EvidenceBench(await Shell.open(), { ...honest, ...options });
  }

  /** Quotes anew, over everything unless told otherwise. */
  quote(selection?: readonly PcrBankSelection[], lie?: (truth: QuoteFields) => QuoteFields): void {
    const { attest, signature } = this.tpm.quote(this.ak, {
      extraData: NONCE,
      ...(selection === undefined ? {} : { selection }),
      ...(lie === undefined ? {} : { lie }),
    });
    this.files.set('attest', attest).set('signature', signature);
  }

  /** PCRs of the bank that is active. */
  select(...pcrs: readonly number[]): readonly PcrBankSelection[] {
    return [{ hash: TPM_ALG_SHA256, pcrs }];
  }

  /** Exit code and report of `assay verify evidence`. */
  async verify(...options: readonly string[]): Promise<[number, EvidenceJson]> {
    const { shell } = this;
    this.#write();
    const code = await shell.assay('verify', 'evidence', 'host', '--output', 'json', ...options);
    return [code, shell.out === '' ? ({} as EvidenceJson) : (JSON.parse(shell.out) as EvidenceJson)];
  }

  /** What a person reads. */
  async text(...options: readonly string[]): Promise<string> {
    this.#write();
    await this.shell.assay('verify', 'evidence', 'host', ...options);
    return this.shell.out;
  }

  #write(): void {
    const { shell } = this;
    shell.out = '';
    shell.err = '';
    shell.binaries.clear();
    for (const [name, bytes] of this.files) shell.binaries.set(`host/${name}`, Buffer.from(bytes as Buffer));
    shell.binaries.set('anchors/root.der', makeRoot()).set('anchors/sub.der', makeIntermediate());
  }
}

/** A record as systemd-pcrextend writes it. */
export function userspaceRecord(text: string, measured = text, pcr = 11): string {
  const digests = ['sha1', 'sha256'].map((hashAlg) => ({
    hashAlg,
    digest: hash(hashAlg, Buffer.from(measured), 'hex'),
  }));
  const content = { eventType: 'phase', string: text, bootId: '0'.repeat(32), timestamp: 1_000_000 };
  return `\u001e${JSON.stringify({ pcr, digests, content_type: 'systemd', content })}\n`;
}
