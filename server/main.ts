import { randomBytes } from 'node:crypto';
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';

import { Command } from 'commander';
import { pino } from 'pino';
import type { Logger } from 'pino';

import { formatDeploymentId, isHostId, isIdentityName } from '../proto/certificate-profile.ts';
import { reportAudit } from './audit-report.ts';
import { reportEvidence } from './evidence-report.ts';
import type { LogWriter } from './evidence-report.ts';
import {
  ConfigError,
  isWritten,
  makeRootKey,
  readConfig,
  readRootKey,
  removePrivateFile,
  writeConfig,
} from './config.ts';
import type { Config } from './config.ts';
import { fileProblem } from './file-problem.ts';
import { CaError } from './identity/ca.ts';
import { SealError } from './identity/seal.ts';
import { loadServiceKeys } from './identity/service-keys.ts';
import type { ServiceKeys } from './identity/service-keys.ts';
import { joinLine, writeOperatorProfile } from './operator-profile.ts';
import { startService } from './service.ts';
import { MAX_CLOCK_BEHIND } from './store/clock.ts';
import { openSqliteStore } from './store/sqlite.ts';
import { StoreError } from './store/store.ts';
import type { Store } from './store/store.ts';

/**
 * Bytes that small buffers are cut from: a block lives as long as its last slice, and where blocks are large what they leave is what
 * each connection's read buffer is made of, which would stay untouched otherwise (docs/decisions.md).
 */
const BUFFER_POOL = 8 * 1024;

const DEFAULT_CONFIG = 'assayd.yaml';
/** What ends the service besides a signal: without its store it can answer nothing, and whoever watches it must start it anew. */
const STORE_FAILED = 'store failed';
const random = (size: number): Buffer => randomBytes(size);
const clocks = { wallClock: (): number => Date.now(), monotonic: (): number => performance.now() };

const program = new Command('assayd')
  .description('The Assay trust attestation service')
  .showHelpAfterError('(assayd --help shows the commands)')
  .exitOverride((error) => {
    process.exit(error.exitCode === 0 ? 0 : 2);
  });

program
  .command('init')
  .description('make configuration, keys and the first operator, and print how hosts join')
  .option('-c, --config <file>', 'configuration file; written when it is not there', DEFAULT_CONFIG)
  .option('--data <dir>', 'data directory (only for a new configuration file)')
  .option('--listen <host:port>', 'address to listen on (only for a new configuration file)')
  .option('--name <name...>', 'DNS names and addresses of the service (only for a new configuration file)')
  .option(
    '--admission <way...>',
    'ways into the service: certificate, inventory, approval (only for a new configuration file)',
  )
  .action((options: InitOptions) => run(() => init(options)));

program
  .command('serve')
  .description('run the service until SIGTERM')
  .option('-c, --config <file>', 'configuration file', DEFAULT_CONFIG)
  .action((options: { readonly config: string }) => run(() => serve(options.config)));

program
  .command('operator')
  .description('issue a profile for an operator, with the service stopped: the way back in when every profile is lost')
  .argument('<name>', 'name of the identity')
  .requiredOption('--out <file>', 'profile file to write')
  .option('-c, --config <file>', 'configuration file', DEFAULT_CONFIG)
  .action((name: string, options: { readonly out: string; readonly config: string }) =>
    run(() => operator(name, options)),
  );

program
  .command('accept-clock')
  .description('accept a wall clock that is behind the clock of the store; every result expires')
  .option('-c, --config <file>', 'configuration file', DEFAULT_CONFIG)
  .action((options: { readonly config: string }) => run(() => acceptClock(options.config)));

program
  .command('audit')
  .description('print the audit log as JSON lines, with the service stopped, and check its chain of hashes')
  .option('-c, --config <file>', 'configuration file', DEFAULT_CONFIG)
  .action((options: { readonly config: string }) => run(() => audit(options.config)));

program
  .command('evidence')
  .description('print what is kept of the boots of a host as JSON lines, with the service stopped')
  .argument('<host>', 'id of the host, or its node name')
  .option('--out <dir>', 'write the logs of each boot there; the directory must not be there yet')
  .option('-c, --config <file>', 'configuration file', DEFAULT_CONFIG)
  .action((host: string, options: { readonly out?: string; readonly config: string }) =>
    run(() => evidence(host, options)),
  );

interface InitOptions {
  readonly config: string;
  readonly data?: string;
  readonly listen?: string;
  readonly name?: readonly string[];
  readonly admission?: readonly string[];
}

async function init(options: InitOptions): Promise<void> {
  if (existsSync(options.config)) {
    const given = [options.data, options.listen, options.name, options.admission].some((value) => value !== undefined);
    if (given)
      throw new ConfigError([
        `${options.config} is there already: change it in an editor, or name another with --config`,
      ]);
  } else {
    writeConfig(options.config, {
      ...(options.data === undefined ? {} : { data_directory: options.data }),
      ...(options.listen === undefined ? {} : { listen: options.listen }),
      ...(options.name === undefined ? {} : { server_names: options.name }),
      ...(options.admission === undefined ? {} : { admission: options.admission }),
    });
    say(`wrote the configuration     ${options.config}`);
  }
  const config = readConfig(options.config);
  makeRootKey(config, random);
  await withStore(config, async (store, keys) => {
    const profile = join(config.dataDirectory, 'operator.json');
    // A profile that was moved to the operator's own machine must go on to be worth something.
    const issued = (await store.getIdentity('operator')) !== null;
    if (!issued) {
      // What stands there is of a process that was killed before the store knew of it.
      removePrivateFile(profile);
      await writeOperatorProfile(profile, { name: 'operator', config, store, keys, random });
      say(`wrote the operator's profile ${profile}`);
    }
    if (!isWritten(profile)) say('The operator has a profile already; if it is lost, run assayd operator.');
    const { fingerprint } = keys.authority;
    say(`service fingerprint         ${fingerprint}`);
    say('');
    say('Start the service:          assayd serve --config ' + options.config);
    say('On each host:               ' + joinLine(config, { port: config.listen.port, fingerprint }));
    say(`As the operator:            assay --profile ${profile} host list`);
  });
}

async function operator(name: string, options: { readonly out: string; readonly config: string }): Promise<void> {
  if (!isIdentityName(name)) {
    throw new ConfigError([`${JSON.stringify(name)} is no name of an identity: 1 to 64 of a-z, 0-9, ".", "_" and "-"`]);
  }
  const config = readConfig(options.config);
  await withStore(config, (store, keys) => writeOperatorProfile(options.out, { name, config, store, keys, random }));
  say(`wrote the operator's profile ${options.out}`);
}

async function acceptClock(file: string): Promise<void> {
  const store = await openStore(readConfig(file), silent());
  try {
    await store.acceptClock({ actor: 'service' });
    say('The wall clock is accepted; every result has expired.');
  } finally {
    await store.close();
  }
}

async function audit(file: string): Promise<void> {
  const store = await openStore(readConfig(file), silent());
  try {
    const broken = await reportAudit(store, (record) => say(JSON.stringify(record)));
    if (broken !== null) throw new ConfigError([`the chain of the audit log is broken at record ${broken}`]);
  } finally {
    await store.close();
  }
}

async function evidence(
  host: string,
  options: { readonly out?: string | undefined; readonly config: string },
): Promise<void> {
  const store = await openStore(readConfig(options.config), silent());
  try {
    const hostId = await findHost(store, host);
    const isKnown = (await store.getHost(hostId)) !== null;
    if (isKnown && options.out !== undefined) makeFolder(options.out);
    const boots = await reportEvidence(store, hostId, logWriter(options.out));
    if (boots === null) throw new ConfigError([`host ${JSON.stringify(host)} is not known`]);
    for (const boot of boots) say(JSON.stringify(boot));
  } finally {
    await store.close();
  }
}

/** By its id or its resource name, or by the operator's name for it. */
async function findHost(store: Store, named: string): Promise<string> {
  const id = named.replace(/^hosts\//, '');
  return isHostId(id) ? id : ((await store.findResult({ nodeName: named }, {}))?.hostId ?? id);
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    throw new ConfigError([fileProblem(error, folder)]);
  }
}

/** Names as the kernel and systemd have them: `assay inspect` reads these files. */
const LOG_FILES = {
  boot: 'binary_bios_measurements',
  userspace: 'tpm2-measure.log',
  ima: 'binary_runtime_measurements',
} as const;

/** Writes logs into a directory for each boot, for their owner alone; nowhere where no directory is given. */
function logWriter(directory: string | undefined): LogWriter {
  if (directory === undefined) return () => undefined;
  return (boot, kind, bytes) => {
    const file = join(directory, boot, LOG_FILES[kind]);
    try {
      mkdirSync(join(directory, boot), { recursive: true, mode: 0o700 });
      appendFileSync(file, bytes, { mode: 0o600 });
    } catch (error) {
      throw new ConfigError([fileProblem(error, file), `${directory} does not hold all of it: remove it`]);
    }
  };
}

async function serve(file: string): Promise<void> {
  Buffer.poolSize = BUFFER_POOL;
  const config = readConfig(file);
  const log = pino(
    { level: config.logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination(2),
  );
  makeRootKey(config, random);
  const failed = Promise.withResolvers<string>();
  const store = await openStore(config, log, () => failed.resolve(STORE_FAILED));
  try {
    const behind = store.clockBehind();
    if (behind > MAX_CLOCK_BEHIND) {
      throw new ConfigError([
        `the wall clock is ${Math.round(behind / 1000)} s behind the latest time in the store: set the clock, or, if it is right, run assayd accept-clock`,
      ]);
    }
    const root = readRootKey(config);
    const service = await startService({ config, store, root, random, ...clocks, log, version: readVersion() });
    const { host, port } = service.address;
    log.info({ host, port, fingerprint: service.fingerprint, admission: config.admission }, 'serving');
    if (service.webAddress !== null) log.info(service.webAddress, 'serving the keys of tokens by HTTPS');
    log.info({ join: joinLine(config, { port, fingerprint: service.fingerprint }) }, 'hosts join with this');
    const signal = await Promise.race([stopSignal(), failed.promise]);
    if (signal === STORE_FAILED) process.exitCode = 1;
    log.info({ signal }, 'stopping');
    await service.stop();
    log.info({}, 'stopped');
  } finally {
    await store.close();
  }
}

/** Version of the package that this program stands in. */
function readVersion(): string {
  const text = readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8');
  return (JSON.parse(text) as { readonly version: string }).version;
}

function stopSignal(): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  process.once('SIGTERM', resolve);
  process.once('SIGINT', resolve);
  return promise;
}

async function withStore(config: Config, act: (store: Store, keys: ServiceKeys) => Promise<void>): Promise<void> {
  const store = await openStore(config, silent());
  try {
    await act(
      store,
      await loadServiceKeys({ store, root: readRootKey(config), random, serverNames: config.serverNames }),
    );
  } finally {
    await store.close();
  }
}

function openStore(config: Config, log: Logger, onFailure: () => void = () => undefined): Promise<Store> {
  return openSqliteStore({
    directory: config.dataDirectory,
    ...clocks,
    random,
    deployment: formatDeploymentId(random(10)),
    log: (level, message, facts) => log[level](facts, message),
    onFailure,
  });
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function silent(): Logger {
  return pino({ level: 'warn', base: null }, pino.destination(2));
}

/** Faults of configuration and store are one plain line each; anything else is a bug and shows its stack. */
async function run(act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (error) {
    if (error instanceof ConfigError)
      for (const problem of error.problems) process.stderr.write(`assayd: ${problem}\n`);
    else if (error instanceof SealError)
      process.stderr.write('assayd: the stored keys do not open: they were sealed under another root key\n');
    else if (error instanceof StoreError) process.stderr.write(`assayd: ${error.message}${causeOf(error)}\n`);
    else if (error instanceof CaError) process.stderr.write(`assayd: ${error.message}\n`);
    else if (isSystemError(error)) {
      const { path, message } = error;
      process.stderr.write(`assayd: ${path === undefined ? message : fileProblem(error, path)}\n`);
    } else throw error;
    process.exitCode = 1;
  }
}

function causeOf({ cause }: StoreError): string {
  return cause instanceof Error && !(cause instanceof StoreError) ? `: ${cause.message}` : '';
}

/** An address in use, a directory that may not be written: the system says what is wrong. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === 'string';
}

// Who reads no further, as `head` does, has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});
await program.parseAsync();
