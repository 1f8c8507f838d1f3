import { Command } from 'commander';
import { EXIT, UsageError } from '../failure.ts';
import { addAgentCommands } from './agent.ts';
import { outputOption, profileOption } from './context.ts';
import type { Context } from './context.ts';
import { addEndorsementCommands } from './endorsement.ts';
import { addHostCommands } from './host.ts';
import { addIdentityCommands } from './identity.ts';
import { addInspectEkCertificateCommand } from './inspect-ek-certificate.ts';
import { addInspectImaCommand } from './inspect-ima.ts';
import { addInspectQuoteCommand } from './inspect-quote.ts';
import { addInspectCommands } from './inspect.ts';
import { addKeyCommands } from './key.ts';
import { addKeyringCommands } from './keyring.ts';
import { addPlacementCommands } from './placement.ts';
import { addPolicyCommands } from './policy.ts';
import { addReferenceCommands } from './reference.ts';
import { addReportCommand } from './report.ts';
import { addResultCommands } from './result.ts';
import { addTokenCommands } from './token.ts';
import { addVerifyCommands } from './verify.ts';
import { addVersionCommand } from './version.ts';

const EXIT_CODES = `
Exit codes:
  ${EXIT.ok}  done
  ${EXIT.failed}  refused or failed
  ${EXIT.usage}  wrong usage
  ${EXIT.unreachable}  the service does not answer
  ${EXIT.unauthorised}  not authorised
  ${EXIT.notAffirming}  result get, token verify: the host is not AFFIRMING; placement: no host, or not this one, is selectable
  ${EXIT.banned}  agent join: the service has banned this host
  ${EXIT.interrupted}  interrupted

Files:
  --profile FILE or ASSAY_PROFILE says who calls which service; default ~/.config/assay/profile.json.
  --output json prints protobuf JSON of assay.v1; watch prints one object a line.
`;

/** The `assay` command line. `parseAsync` rejects with a CommanderError for wrong usage, which was printed by then. */
export function makeProgram(context: Context): Command {
  const program = new Command('assay')
    .description('Attester, operator and relying party of Assay, a trust attestation service')
    .addHelpText('after', EXIT_CODES)
    .helpCommand('help [command]')
    .exitOverride()
    .configureOutput({ writeOut: context.write, writeErr: context.writeError })
    .showSuggestionAfterError(true)
    .enablePositionalOptions()
    .addOption(profileOption())
    .addOption(outputOption())
    .hook('preAction', takeOver);
  addAgentCommands(context, program);
  addHostCommands(context, program);
  addPolicyCommands(context, program);
  addResultCommands(context, program);
  addReferenceCommands(context, program);
  addKeyringCommands(context, program);
  addPlacementCommands(context, program);
  addEndorsementCommands(context, program);
  addIdentityCommands(context, program);
  addTokenCommands(context, program);
  addReportCommand(context, program);
  addKeyCommands(context, program);
  addInspectCommands(context, program);
  addVersionCommand(context, program);
  addInspectImaCommand(context, program);
  addInspectEkCertificateCommand(context, program);
  addInspectQuoteCommand(context, program);
  addVerifyCommands(context, program);
  return program;
}

/** `--profile` and `--output` may stand before the command too; where they stand in both places the nearer one counts. */
function takeOver(program: Command, command: Command): void {
  for (const name of ['profile', 'output']) {
    const value: unknown = program.getOptionValue(name);
    if (value === undefined) continue;
    if (command.options.every((option) => option.attributeName() !== name)) {
      throw new UsageError(`--${name} means nothing to ${command.parent?.name() ?? ''} ${command.name()}`);
    }
    if (command.getOptionValueSource(name) === 'default') command.setOptionValue(name, value);
  }
}
