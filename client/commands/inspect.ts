import type { Command } from 'commander';
import { hasErrors } from '../../tpm/eventlog/finding.ts';
import { MAX_LOG_BYTES } from '../../tpm/eventlog/parse.ts';
import { readEventLog } from '../../tpm/eventlog/read-event-log.ts';
import { readSigners } from '../../tpm/eventlog/signers.ts';
import { MAX_USERSPACE_LOG_BYTES } from '../../tpm/eventlog/userspace-log.ts';
import { eventLogToJson } from '../inspect/eventlog.ts';
import { decodeLogFile, parsePcrFile } from '../inspect/eventlog-input.ts';
import { formatEventLog } from '../inspect/eventlog-text.ts';
import { outputOption, readNamedFile, writeJson } from './context.ts';
import type { Context } from './context.ts';

/** Exit codes of `assay inspect`, which scripts branch on. */
export const INSPECT_EXIT = { consistent: 0, findings: 1, unreadable: 2 } as const;

/** Base64 takes four bytes for three, and line breaks. */
export const MAX_LOG_FILE_BYTES = 2 * MAX_LOG_BYTES;
const MAX_PCR_FILE_BYTES = 64 * 1024;

interface EventLogCommandOptions {
  readonly output: 'table' | 'json';
  readonly pcrs?: string;
  readonly userspaceLog?: string;
}

/** The command that the others stand under. */
export function inspectCommand(program: Command): Command {
  return (
    program.commands.find((command) => command.name() === 'inspect') ??
    program.command('inspect').description('look into evidence offline, without a service')
  );
}

/** `assay inspect`: debugging without a service. */
export function addInspectCommands(context: Context, program: Command): void {
  inspectCommand(program)
    .command('eventlog <file>')
    .description('check and replay a TCG boot log, binary or base64; - is standard input')
    .option(
      '--pcrs <file>',
      'PCR values that the log must explain: lines of BANK PCR HEX, or the output of tpm2_pcrread',
    )
    .option('--userspace-log <file>', "systemd's tpm2-measure.log, which goes on where the boot log ends")
    .addOption(outputOption().default('table'))
    .addHelpText('after', '\nExit codes: 0 parsed and consistent, 1 findings of severity error, 2 not parseable')
    .action((file: string, options: EventLogCommandOptions) => inspectEventLog(context, file, options));
}

async function inspectEventLog(context: Context, file: string, options: EventLogCommandOptions): Promise<void> {
  const content = await readNamedFile(context, file, MAX_LOG_FILE_BYTES, 'boot log');
  const userspaceLog =
    options.userspaceLog === undefined
      ? undefined
      : await readNamedFile(context, options.userspaceLog, MAX_USERSPACE_LOG_BYTES, 'userspace log');
  const pcrs =
    options.pcrs === undefined
      ? undefined
      : parsePcrFile(
          options.pcrs,
          (await readNamedFile(context, options.pcrs, MAX_PCR_FILE_BYTES, 'PCR file')).toString('utf8'),
        );
  const read = readEventLog(decodeLogFile(content), { userspaceLog, pcrs });
  const signers = readSigners(read.secureBoot);
  const reading = { ...read, findings: [...read.findings, ...signers.findings] };
  if (options.output === 'json') writeJson(context, eventLogToJson(reading, signers));
  else context.write(formatEventLog(reading, signers, context.style));
  if (!isReadable(reading.log.events.length, reading.log.findings)) context.setExitCode(INSPECT_EXIT.unreadable);
  else if (hasErrors(reading.findings)) context.setExitCode(INSPECT_EXIT.findings);
}

/** Nothing of a log without an event, or with a header that does not parse, can be believed. */
function isReadable(events: number, findings: readonly { readonly code: string }[]): boolean {
  return events > 0 && findings.every(({ code }) => code !== 'SPEC_ID_MALFORMED');
}
