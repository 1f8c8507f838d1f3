import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import { CertificateError, parseFingerprint } from '../../proto/certificate-profile.ts';
import { AK_ALGORITHMS } from '../agent/host-tpm.ts';
import type { AkAlgorithm } from '../agent/host-tpm.ts';
import { DEFAULT_WISH_PAUSE_MS } from '../agent/watch.ts';
import { escapeText } from '../output.ts';
import { parseAddress } from '../sdk/profile.ts';
import { SdkError } from '../sdk/sdk-error.ts';
import type { Context } from './context.ts';

interface JoinFlags {
  readonly server: string;
  readonly serviceFingerprint: string;
  readonly state: string;
  readonly tcti: string;
  readonly akAlgorithm: AkAlgorithm;
  readonly bootLog: string;
  readonly userspaceLog: string;
  readonly imaLog: string;
}

interface RunFlags {
  readonly state: string;
  readonly watchMeasurements: number | 'off';
}

/** `assay agent`. */
export function addAgentCommands(context: Context, program: Command): void {
  const { defaults } = context;
  const agent = program.command('agent').description('the Attester on a host');

  agent
    .command('join')
    .description('make this host known to a service by its TPM')
    .requiredOption('--server <host:port>', 'the service', parseServer)
    // Without a pin anybody on the way could be the service, so there is no default.
    .requiredOption('--service-fingerprint <sha256:…>', "pin of the service's CA, as `assayd init` prints it", parsePin)
    .option('--state <dir>', 'where keys and certificates are kept', defaults.state)
    .option('--tcti <name>', 'the TPM', defaults.tcti)
    .addOption(
      new Option('--ak-algorithm <algorithm>', 'of the attestation key')
        .choices(AK_ALGORITHMS)
        .default('ecdsa-p256-sha256'),
    )
    .option('--boot-log <file>', 'boot log of the firmware', defaults.logs.boot)
    .option('--userspace-log <file>', 'userspace log of systemd', defaults.logs.userspace)
    .option('--ima-log <file>', 'IMA run-time list, binary', defaults.logs.ima)
    .action(async (flags: JoinFlags) => {
      const { server, serviceFingerprint, state, tcti, akAlgorithm } = flags;
      const logs = { boot: flags.bootLog, userspace: flags.userspaceLog, ima: flags.imaLog };
      const answer = await context.agent.join({ server, serviceFingerprint, state, tcti, akAlgorithm, logs });
      context.write(`${escapeText(describeJoin(answer))}\n`);
    });

  agent
    .command('run')
    .description('attest this host until ended by SIGTERM or SIGINT; enrols first where that is due')
    .option('--state <dir>', 'where keys and certificates are kept', defaults.state)
    .option(
      '--watch-measurements <seconds>',
      'from one challenge that is asked for after new measurements to the next, at least; or off',
      parseWatch,
      DEFAULT_WISH_PAUSE_MS / 1000,
    )
    .action(({ state, watchMeasurements }: RunFlags) => {
      const wishPause = watchMeasurements === 'off' ? watchMeasurements : watchMeasurements * 1000;
      return context.agent.run({ state, wishPause });
    });
}

function describeJoin({
  hostId,
  state,
  replacementPending,
}: {
  hostId: string;
  state: string;
  replacementPending: boolean;
}): string {
  if (replacementPending) return `${hostId}: the new attestation key waits for approval (assay host approve ${hostId})`;
  const next = state === 'PENDING' ? `; waits for approval (assay host approve ${hostId})` : '';
  return `enrolled as ${hostId} (${state})${next}`;
}

function parseServer(text: string): string {
  try {
    parseAddress(text);
    return text;
  } catch (error) {
    if (error instanceof SdkError) throw new InvalidArgumentError('It must be HOST:PORT.');
    throw error;
  }
}

function parseWatch(text: string): number | 'off' {
  if (text === 'off') return text;
  const seconds = /^[1-9]\d{0,3}$/.test(text) ? Number(text) : Infinity;
  if (seconds > 3600) throw new InvalidArgumentError('It must be off, or from 1 to 3600 seconds.');
  return seconds;
}

function parsePin(text: string): string {
  try {
    parseFingerprint(text);
    return text.toLowerCase();
  } catch (error) {
    if (error instanceof CertificateError)
      throw new InvalidArgumentError('It must be sha256: and 64 hexadecimal digits.');
    throw error;
  }
}
