import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

const READY_WITHIN_MS = 60_000;
const POLL_MS = 2;

export interface SwtpmOptions {
  /**
   * Manufacture the TPM with EKs in persistent handles and EK certificates in NV (RSA-2048 L-1 and P-384 H-3), or with
   * neither. Default true.
   */
  readonly ekCertificates?: boolean;
  /** Active PCR banks, such as `sha1,sha256`. Default `sha256`. */
  readonly banks?: string;
}

export interface SwtpmCertificate {
  readonly path: string;
  readonly pem: string;
}

/** A software TPM on unix sockets in a temporary directory of its own. */
export interface Swtpm extends AsyncDisposable {
  /** What `Tpm.open` and TPM2TOOLS_TCTI take. */
  readonly tcti: string;
  readonly directory: string;
  /** The CA of this directory alone that issued the EK certificates: the issuer, then its root. Empty without them. */
  readonly caCertificates: readonly SwtpmCertificate[];
  /** Ends the TPM and removes the directory. */
  stop(): Promise<void>;
  /** Cuts the power: SIGKILL. The state stays, for `restart`. */
  kill(): Promise<void>;
  /** A reboot of the machine: ends the TPM if it runs and starts it on the same state. */
  restart(): Promise<void>;
}

/** Manufactures and starts a TPM; works as root and as any other user. */
export async function startSwtpm(options: SwtpmOptions = {}): Promise<Swtpm> {
  const directory = await mkdtemp(join(tmpdir(), 'assay-swtpm-'));
  try {
    await manufacture(directory, options);
    const caCertificates = options.ekCertificates === false ? [] : await readCaCertificates(directory);
    return await powerOn(directory, caCertificates);
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

async function powerOn(directory: string, caCertificates: readonly SwtpmCertificate[]): Promise<Swtpm> {
  let child = await spawnSwtpm(directory);
  const swtpm: Swtpm = {
    tcti: `swtpm:path=${join(directory, 'socket')}`,
    directory,
    caCertificates,
    kill: () => end(child, 'SIGKILL'),
    restart: async () => {
      await end(child, 'SIGTERM');
      child = await spawnSwtpm(directory);
    },
    stop: async () => {
      await end(child, 'SIGTERM');
      await rm(directory, { recursive: true, force: true });
    },
    [Symbol.asyncDispose]: () => swtpm.stop(),
  };
  return swtpm;
}

/**
 * Makes a TPM's state in `state` of the directory, and its CA beside it: swtpm_setup with a configuration of its own, for the
 * packaged one keeps its CA where only root and the tss user write.
 */
export async function manufacture(directory: string, options: SwtpmOptions = {}): Promise<void> {
  const ca = join(directory, 'ca');
  await Promise.all([mkdir(ca), mkdir(join(directory, 'state'))]);
  await Promise.all([
    writeFile(
      join(directory, 'setup.conf'),
      [
        'create_certs_tool = /usr/bin/swtpm_localca',
        `create_certs_tool_config = ${join(directory, 'localca.conf')}`,
        `create_certs_tool_options = ${join(directory, 'localca.options')}`,
        'active_pcr_banks = sha256',
        '',
      ].join('\n'),
    ),
    writeFile(
      join(directory, 'localca.conf'),
      [
        `statedir = ${ca}`,
        `signingkey = ${join(ca, 'signkey.pem')}`,
        `issuercert = ${join(ca, 'issuercert.pem')}`,
        `certserial = ${join(ca, 'certserial')}`,
        '',
      ].join('\n'),
    ),
    writeFile(
      join(directory, 'localca.options'),
      '--platform-manufacturer Assay\n--platform-version 1.0\n--platform-model Test\n',
    ),
  ]);
  await run('swtpm_setup', [
    '--tpm2',
    ...['--tpmstate', join(directory, 'state')],
    ...['--config', join(directory, 'setup.conf')],
    ...['--pcr-banks', options.banks ?? 'sha256'],
    ...(options.ekCertificates === false ? [] : ['--create-ek-cert']),
  ]);
}

/** The CA that `manufacture` made: the issuer, then its root. */
export async function readCaCertificates(directory: string): Promise<readonly SwtpmCertificate[]> {
  const paths = ['issuercert.pem', 'swtpm-localca-rootca-cert.pem'].map((name) => join(directory, 'ca', name));
  return Promise.all(paths.map(async (path) => ({ path, pem: await readFile(path, 'utf8') })));
}

/** The control socket's name is what the TCTI makes of the other's: `<path>.ctrl`. */
async function spawnSwtpm(directory: string): Promise<ChildProcess> {
  const sockets = ['socket', 'socket.ctrl'].map((name) => join(directory, name));
  await Promise.all(sockets.map((path) => rm(path, { force: true })));
  // The kernel ends the TPM with this process, even where a test run is killed and no handler runs.
  const child = spawn(
    'setpriv',
    [
      ...['--pdeathsig', 'KILL', '--', 'swtpm', 'socket'],
      '--tpm2',
      ...['--tpmstate', `dir=${join(directory, 'state')}`],
      ...['--server', `type=unixio,path=${sockets[0]}`],
      ...['--ctrl', `type=unixio,path=${sockets[1]}`],
      ...['--flags', 'not-need-init,startup-clear'],
      ...['--log', `file=${join(directory, 'swtpm.log')}`],
    ],
    { stdio: 'ignore' },
  );
  await once(child, 'spawn');
  try {
    for (const path of sockets) await untilListening(path, child, directory);
  } catch (error) {
    await end(child, 'SIGKILL');
    throw error;
  }
  return child;
}

async function untilListening(path: string, child: ChildProcess, directory: string): Promise<void> {
  const deadline = Date.now() + READY_WITHIN_MS;
  while (!(await accepts(path))) {
    if (hasEnded(child) || Date.now() > deadline) {
      const log = await readFile(join(directory, 'swtpm.log'), 'utf8').catch(() => '');
      throw new Error(`swtpm does not listen on ${path}: ${log}`);
    }
    await delay(POLL_MS);
  }
}

function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

async function end(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  if (hasEnded(child)) return;
  const ended = once(child, 'exit');
  child.kill(signal);
  await ended;
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
