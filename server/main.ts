import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';

import { Command } from 'commander';
import { pino } from 'pino';
import type { Logger } from 'pino';

import { formatDeploymentId } from '../proto/certificate-profile.ts';
import { toPem } from '../proto/tls-identity.ts';
import { ConfigError, makeRootKey, readConfig, readRootKey, writeConfig, writePrivateFile } from './config.ts';
import type { Config } from './config.ts';
import { issueClientCertificate } from './identity/ca.ts';
import { SealError } from './identity/seal.ts';
import { loadServiceKeys } from './identity/service-keys.ts';
import type { ServiceKeys } from './identity/service-keys.ts';
import { startService } from './service.ts';
import { openSqliteStore } from './store/sqlite.ts';
import { StoreError } from './store/store.ts';
import type { Store } from './store/store.ts';

const DEFAULT_CONFIG = 'assayd.yaml';
/** With the wall clock this far behind the store's, nothing could be said of validity until an operator has looked. */
const MAX_CLOCK_BEHIND = 5 * 60_000;
const random = (size: number): Buffer => randomBytes(size);

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
    if (!existsSync(profile)) {
      await writeProfile(profile, { name: 'operator', config, store, keys });
      say(`wrote the operator's profile ${profile}`);
    }
    say(`service fingerprint         ${keys.authority.fingerprint}`);
    say('');
    say('Start the service:          assayd serve --config ' + options.config);
    say('On each host:               ' + joinLine(config, keys));
    say(`As the operator:            assay --profile ${profile} host list`);
  });
}

async function operator(name: string, options: { readonly out: string; readonly config: string }): Promise<void> {
  const config = readConfig(options.config);
  await withStore(config, (store, keys) => writeProfile(options.out, { name, config, store, keys }));
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

async function serve(file: string): Promise<void> {
  const config = readConfig(file);
  const log = pino(
    { level: config.logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination(2),
  );
  makeRootKey(config, random);
  const store = await openStore(config, log);
  try {
    const behind = store.clockBehind();
    if (behind > MAX_CLOCK_BEHIND) {
      throw new ConfigError([
        `the wall clock is ${Math.round(behind / 1000)} s behind the latest time in the store: set the clock, or, if it is right, run assayd accept-clock`,
      ]);
    }
    const service = await startService({ config, store, root: readRootKey(config), random, log });
    const { host, port } = service.address;
    log.info({ host, port, fingerprint: service.fingerprint, admission: config.admission }, 'serving');
    log.info(
      {
        join: `assay agent join --server ${config.serverNames[0] ?? host}:${port} --service-fingerprint ${service.fingerprint}`,
      },
      'hosts join with this',
    );
    const signal = await stopSignal();
    log.info({ signal }, 'stopping');
    await service.stop();
    log.info({}, 'stopped');
  } finally {
    await store.close();
  }
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

function openStore(config: Config, log: Logger): Promise<Store> {
  return openSqliteStore({
    directory: config.dataDirectory,
    wallClock: () => Date.now(),
    monotonic: () => performance.now(),
    random,
    deployment: formatDeploymentId(random(10)),
    log: (level, message, facts) => log[level](facts, message),
  });
}

/** Makes a key, has it certified and writes it with all that a caller needs: the file is the identity. */
async function writeProfile(
  file: string,
  {
    name,
    config,
    store,
    keys,
  }: { readonly name: string; readonly config: Config; readonly store: Store; readonly keys: ServiceKeys },
): Promise<void> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  const lifetimeSeconds = config.identityCertificateLifetime;
  const now = new Date(store.now());
  const certificate = await issueClientCertificate(keys.authority, {
    publicKey: spki,
    subject: { name },
    lifetimeSeconds,
    now,
    random,
  });
  const identity = {
    name,
    roles: ['operator'] as const,
    keySha256: createHash('sha256').update(spki).digest('hex'),
    expireTime: now.getTime() + lifetimeSeconds * 1000,
  };
  await store.putIdentity(identity, { actor: 'service' });
  const profile = {
    server: serverName(config),
    authority: toPem(keys.authority.certificate),
    certificate: toPem(certificate),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
  };
  writePrivateFile(file, `${JSON.stringify(profile, null, 2)}\n`);
}

function serverName({ serverNames, listen }: Config): string {
  return `${serverNames[0] ?? listen.host}:${listen.port}`;
}

function joinLine(config: Config, { authority }: ServiceKeys): string {
  return `assay agent join --server ${serverName(config)} --service-fingerprint ${authority.fingerprint}`;
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
    else if (error instanceof StoreError) process.stderr.write(`assayd: ${error.message}\n`);
    else if (isSystemError(error)) process.stderr.write(`assayd: ${error.message}\n`);
    else throw error;
    process.exitCode = 1;
  }
}

/** An address in use, a directory that may not be written: the system says what is wrong. */
function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === 'string';
}

await program.parseAsync();
