import { formatFields, formatTable } from '../output.ts';
import type { Cell, TableStyle } from '../output.ts';
import type { RuntimeNumbers, RuntimeReport } from '../sdk/runtime-report.ts';

/** What ran on a host, for people: how far it is proven first, then numbers, then what speaks against it. */
export function describeRuntime(report: RuntimeReport, style: TableStyle): string {
  const keys = report.signatureKeys.map(({ fingerprint, files }): readonly Cell[] => [fingerprint, String(files)]);
  const findings = report.findings.map(({ reason, entry, path, digest, detail }): readonly Cell[] => [
    String(entry),
    { text: reason, colour: 'red' },
    path,
    digest,
    detail,
  ]);
  return [
    formatFields(summaryOf(report), style),
    ...(keys.length === 0 ? [] : [formatTable(['SIGNED BY KEY', 'FILES'], keys, style)]),
    ...(findings.length === 0 ? [] : [formatTable(['ENTRY', 'FINDING', 'PATH', 'DIGEST', 'DETAIL'], findings, style)]),
  ].join('\n');
}

function summaryOf({ host, state, checkpoint, ...report }: RuntimeReport): readonly (readonly [string, Cell])[] {
  if (state !== 'FOLLOWED' || checkpoint === undefined) {
    return [
      ['host', host],
      ['run-time list', { text: 'not judged: no policy asks, or nothing explains a quote yet', colour: 'yellow' }],
    ];
  }
  const { entries, offset, waitingBytes, pcrs } = checkpoint;
  return [
    ['host', host],
    ['run-time list', { text: `${entries} entries (${offset} bytes) proven and judged`, colour: 'green' }],
    ...(waitingBytes === 0 ? [] : [['waiting', `${waitingBytes} bytes, for a quote that covers them`] as const]),
    ...pcrs.map(({ bank, index, value, modes }): readonly [string, Cell] => [
      `${bank} pcr ${index}`,
      modes.includes('bankHash') ? value : `${value} (SHA-1 hashes, padded)`,
    ]),
    ['boot aggregate', report.bootAggregate === '' ? { text: 'none', colour: 'red' } : report.bootAggregate],
    ...numbersOf(report.counts),
    ...report.referenceSets.map(({ referenceSet, files }): readonly [string, Cell] => [referenceSet, `${files} files`]),
    ...report.hostKeys.map(({ keyring, fingerprint }): readonly [string, Cell] => [
      'key added by the host',
      `${keyring}: ${fingerprint}`,
    ]),
  ];
}

/** What is good where it is there, and what is not. */
const NUMBERS: readonly (readonly [keyof RuntimeNumbers, string, 'plain' | 'bad'])[] = [
  ['files', 'files', 'plain'],
  ['allowed', 'allowed', 'plain'],
  ['excluded', 'excluded', 'plain'],
  ['unknown', 'unknown', 'bad'],
  ['forbidden', 'forbidden', 'bad'],
  ['validSignatures', 'valid signatures', 'plain'],
  ['invalidSignatures', 'invalid signatures', 'bad'],
  ['unknownKeySignatures', 'signatures of unknown keys', 'plain'],
  ['violations', 'violations', 'bad'],
  ['buffers', 'buffers', 'plain'],
  ['otherKernels', 'records of other kernels', 'bad'],
  ['unreadable', 'unreadable entries', 'bad'],
  ['inconsistent', 'inconsistent entries', 'bad'],
];

function numbersOf(counts: RuntimeNumbers): readonly (readonly [string, Cell])[] {
  return NUMBERS.filter(([name]) => name === 'files' || counts[name] > 0).map(([name, label, kind]) => {
    const text = String(counts[name]);
    return [label, kind === 'bad' ? { text, colour: 'red' } : text];
  });
}
