import { formatFields, formatTable } from '../output.ts';
import type { Cell, Colour, TableStyle } from '../output.ts';
import { formatOfflineFindings } from './findings-text.ts';
import type { CheckOutcome, QuoteCheck } from './quote.ts';
import type { QuoteReport } from './quote-report.ts';

const OUTCOME_COLOURS: Readonly<Record<CheckOutcome, Colour>> = {
  passed: 'green',
  failed: 'red',
  unchecked: 'yellow',
};

const CHECK_WORDS: Readonly<Record<QuoteCheck, string>> = {
  ak: 'attestation key',
  signature: 'signature',
  magic: 'made by a TPM',
  type: 'is a quote',
  extraData: 'extraData',
  selection: 'selection of PCRs',
  pcrDigest: 'PCR values',
};

/** A quote for a person. */
export function formatQuote(report: QuoteReport, style: TableStyle): string {
  return [
    formatFields([...quoteFacts(report), ['result', resultCell(report.result)]], style),
    formatFields(
      Object.entries(report.checks).map(([check, outcome]): readonly [string, Cell] => [
        CHECK_WORDS[check as QuoteCheck],
        { text: outcome, colour: OUTCOME_COLOURS[outcome] },
      ]),
      style,
    ),
    ...(report.pcrs === null ? [] : [formatPcrs(report.pcrs, style)]),
    formatOfflineFindings(report.findings, style),
  ].join('\n');
}

/** What was attested, and by which key. */
export function quoteFacts({ attest, ak, signature }: QuoteReport): readonly (readonly [string, Cell])[] {
  const banks = Object.entries(attest.selection ?? {}).map(([bank, pcrs]) => `${bank}:${pcrs.join(',')}`);
  return [
    ['type', `${attest.type} (magic ${attest.magic})`],
    ['qualified signer', attest.qualifiedSigner],
    ['extraData', attest.extraData === '' ? '(empty)' : attest.extraData],
    ['clock', `${attest.clock} ms${attest.safe ? '' : ', may have gone back'}`],
    ['resets, restarts', `${attest.resetCount}, ${attest.restartCount}`],
    ['firmware version', attest.firmwareVersion],
    ['PCRs', banks.length === 0 ? '-' : banks.join(' + ')],
    ['PCR digest', attest.pcrDigest ?? '-'],
    ['attestation key', `${ak.type}, SHA-256 ${ak.sha256}`],
    ['name of the key', ak.name ?? '-'],
    ['signature', `${signature.scheme}${signature.hash === null ? '' : ` with ${signature.hash}`} (${signature.form})`],
  ];
}

export function resultCell(result: QuoteReport['result']): Cell {
  return { text: result, colour: result === 'verified' ? 'green' : 'red' };
}

function formatPcrs(pcrs: NonNullable<QuoteReport['pcrs']>, style: TableStyle): string {
  const rows = Object.entries(pcrs).flatMap(([bank, values]) =>
    Object.entries(values).map(([pcr, value]): readonly Cell[] => [bank, pcr, value]),
  );
  return formatTable(['BANK', 'PCR', 'PROVEN VALUE'], rows, style);
}
