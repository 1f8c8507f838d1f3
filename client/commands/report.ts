import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import { collectLabel, profileOption, withService, writeJson } from './context.ts';
import type { Context } from './context.ts';
import { formatReport, formatReportMarkdown } from './report-text.ts';
import { tokenRequest, withTokenOptions } from './token.ts';

const FORMATS = ['text', 'markdown', 'json', 'jwt'] as const;

interface ReportOptions {
  readonly profile: string;
  readonly format: (typeof FORMATS)[number];
  readonly label?: Record<string, string>;
  readonly maxExceptions?: number;
  readonly audience?: string;
  readonly nonce?: Buffer;
}

/** `assay report`. */
export function addReportCommand(context: Context, program: Command): void {
  const report = program
    .command('report')
    .description('the security status of the platform; as jwt it is signed')
    .addOption(profileOption().default(context.defaults.profile))
    .addOption(new Option('--format <form>', 'what it is printed as').choices(FORMATS).default('text'))
    .option('--label <key=value>', 'only hosts with this label; may be repeated', collectLabel)
    .option('--max-exceptions <count>', 'list at most so many hosts that are not AFFIRMING (100; up to 500)', countOf);
  withTokenOptions(report).action((options: ReportOptions) => printReport(context, options));
}

async function printReport(context: Context, options: ReportOptions): Promise<void> {
  const { format, label, maxExceptions, profile } = options;
  const request = { matchLabels: label ?? {}, ...(maxExceptions === undefined ? {} : { maxExceptions }) };
  const settings = { signal: context.signal };
  await withService(context, { profile, output: 'table' }, async (client) => {
    if (format === 'jwt') {
      const { jwt } = await client.reports.token(request, tokenRequest(options), settings);
      return context.write(`${jwt}\n`);
    }
    const found = await client.reports.get(request, settings);
    if (format === 'json') return writeJson(context, found.json);
    context.write(format === 'markdown' ? formatReportMarkdown(found) : formatReport(found, context.style));
  });
}

function countOf(text: string): number {
  const count = Number(text);
  if (!/^[0-9]{1,3}$/.test(text) || count < 1 || count > 500)
    throw new InvalidArgumentError('It must be from 1 to 500.');
  return count;
}
