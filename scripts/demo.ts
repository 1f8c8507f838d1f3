/**
 * The main job, shown: a host with a (software) TPM enrols, is attested, is tampered with, and its verdict turns. Ends by itself
 * with exit code 0 when all of that happened; `--keep` leaves it running with commands to try.
 */
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { EXIT } from '../client/failure.ts';
import { Tpm } from '../tpm/device/tpm.ts';
import { TPM_ALG_SHA256 } from '../tpm/structures/constants.ts';
import { startSwtpm } from '../test/support/swtpm.ts';
import type { Swtpm } from '../test/support/swtpm.ts';
import { printCommands } from './demo/commands.ts';
import { Demonstrator } from './demo/demonstrator.ts';
import { DemoImage, STRANGE_FILE } from './demo/image.ts';
import { Programs } from './demo/programs.ts';
import type { Service } from './demo/programs.ts';

/** What a real machine's firmware would have measured; a software TPM has none that could. */
const BOOT = [
  { pcr: 0, what: 'the firmware', text: 'demo firmware 1.0' },
  { pcr: 4, what: 'the boot loader', text: 'demo boot loader 2.12' },
  { pcr: 7, what: 'the Secure Boot settings', text: 'demo secure boot on' },
] as const;

/** Lines of the report that are shown. */
const REPORTED = /^(?:verified|issuer|expires|AFFIRMING|CONTRAINDICATED):? /;

const keep = process.argv.includes('--keep');
const unknown = process.argv.slice(2).filter((argument) => argument !== '--keep');
if (unknown.length > 0) {
  process.stderr.write(`demo: unknown argument ${unknown.join(' ')}; known is --keep\n`);
  process.exit(2);
}

const show = new Demonstrator(process.stdout);
const directory = await mkdtemp(join(tmpdir(), 'assay-demo-'));
const programs = new Programs(directory);
const stopped = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopped.abort());

const swtpm = await startSwtpm();
const image = new DemoImage(directory, swtpm);
try {
  await demonstrate();
} catch (error) {
  if (!stopped.signal.aborted) {
    show.failed(error instanceof Error ? error.message : String(error), programs.lastLines());
    process.exitCode = 1;
  }
} finally {
  await programs.stop();
  await swtpm.stop();
  await rm(directory, { recursive: true, force: true });
}

async function demonstrate(): Promise<void> {
  show.title('Assay: is this host what it should be? Its TPM answers.');
  const service = await startEverything(swtpm);
  const host = await enrol(swtpm, service);
  await applyPolicy(swtpm, host);
  await watchItTurn(swtpm, host);
  if (!keep) {
    show.note('Run it with `npm run demo -- --keep` to keep everything running and try commands of your own.');
    return;
  }
  await printCommands(show, { programs, host, service });
  if (!stopped.signal.aborted) await once(stopped.signal, 'abort');
}

async function startEverything(tpm: Swtpm): Promise<Service> {
  show.step('Start a TPM, a boot and the service');
  show.line('swtpm', 'a TPM 2.0 in software, in the place of the chip; its maker gave it EK certificates');
  const device = await Tpm.open({ tcti: tpm.tcti });
  for (const { pcr, text } of BOOT) await device.pcrExtend(pcr, [{ hash: TPM_ALG_SHA256, digest: await sha256(text) }]);
  await device.close();
  show.line('boot', `played: ${BOOT.map(({ pcr, what }) => `${what} into PCR ${pcr}`).join(', ')}`);
  const files = await image.boot();
  show.line('kernel', `played: IMA measures each file before it runs, with its signature: ${files.join(', ')}`);
  const service = await programs.startService();
  show.line('assayd', `the service, on ${service.server}; agents pin its CA:`);
  show.more(service.fingerprint);
  const anchors = tpm.caCertificates.map(({ path }) => path);
  await programs.assay(['endorsement', 'import', ...anchors]);
  show.line('operator', "imported the TPM maker's CA: `assay endorsement import CERTIFICATE…`");
  return service;
}

async function enrol(tpm: Swtpm, service: Service): Promise<string> {
  show.step('Enrol: which TPM is this, and which service?');
  const none = join(directory, 'no-such-log');
  const logs = ['--boot-log', none, '--userspace-log', none, '--ima-log', image.list];
  const join_ = ['agent', 'join', '--server', service.server, '--service-fingerprint', service.fingerprint];
  show.command(
    `assay agent join --server ${service.server} --service-fingerprint ${service.fingerprint.slice(0, 19)}…`,
  );
  const answer = await programs.assay([...join_, '--state', programs.agentState, '--tcti', tpm.tcti, ...logs]);
  show.answer(answer);
  const [host] = await programs.hosts();
  if (host === undefined) throw new Error('the host is not listed after its enrolment');
  const certified = host.admission === 'certificate' && host.endorsementKeys.every((ek) => ek.certified);
  if (!certified) throw new Error('the host was admitted without certificates for its endorsement keys');
  const eks = host.endorsementKeys.map(({ algorithm }) => algorithm).join(' and ');
  show.proof(`the TPM is genuine: its endorsement keys (${eks}) are certified by the imported CA`);
  show.proof(
    'the attestation key lives in that TPM: only it could open the credentials that the service sealed to these ' +
      'endorsement keys and this attestation key (TPM2_MakeCredential, TPM2_ActivateCredential)',
  );
  show.proof(
    'the service is the pinned one: it signed the challenge, and it holds the secret that only this TPM could open',
  );
  return host.name.slice('hosts/'.length);
}

async function applyPolicy(tpm: Swtpm, host: string): Promise<void> {
  show.step('Say what the host must be');
  const device = await Tpm.open({ tcti: tpm.tcti });
  const values = await device.pcrRead([{ hash: TPM_ALG_SHA256, pcrs: BOOT.map(({ pcr }) => pcr) }]);
  await device.close();
  show.command('assay keyring import vendor vendor.pem');
  show.answer(await programs.assay(['keyring', 'import', 'vendor', image.keyFile]));
  const rules = values.map(({ index, value }) => {
    const what = BOOT.find(({ pcr }) => pcr === index)?.what ?? 'it';
    return `  - bank: sha256\n    index: ${index}\n    allowed: [${value.toString('hex')}]\n    message: Not ${what} as approved.`;
  });
  const policy = `name: trustPolicies/approved-boot\nselector: {all_hosts: true}\nquote: {interval: 1s, validity: 5s}\nruntime:\n  files:\n    keyrings: [keyrings/vendor]\n    unknown: RUNTIME_ACTION_WARNING\n    message: Only what the vendor signed may run.\n  invalid_signatures: {action: RUNTIME_ACTION_WARNING}\n  violations: {action: RUNTIME_ACTION_WARNING}\npcr_rules:\n${rules.join('\n')}\n`;
  await writeFile(programs.policyFile, policy);
  show.command('assay policy apply -f approved-boot.yaml');
  for (const line of policy.trimEnd().split('\n').slice(0, 14)) show.more(line.slice(0, 90));
  show.more('…');
  show.answer(await programs.assay(['policy', 'apply', '-f', programs.policyFile]));
  await programs.assay(['host', 'name', host, 'rack-1-server-7']);
}

async function watchItTurn(tpm: Swtpm, host: string): Promise<void> {
  show.step('Attest it, for as long as it runs');
  show.command('assay agent run       (on the host: nonce, quote and verdict every second)');
  show.command('assay result watch    (anywhere: verdicts as they change)');
  await programs.startAgent();
  const affirmed = await programs.untilStatus(host, 'AFFIRMING', stopped.signal);
  show.verdict(affirmed);

  show.step('Place a workload: the orchestration engine asks where it may go');
  await select({ found: true });

  show.step('Run something that nobody signed');
  show.line(
    'somebody',
    `starts ${STRANGE_FILE}: the kernel measures it into PCR 10, and no key of the vendor's signed it`,
  );
  await image.runStrangeFile();
  show.verdict(await programs.untilStatus(host, 'WARNING', stopped.signal));
  show.line('meaning', 'that it ran is not undone by ending it: the warning stands until the host is rebooted');
  await changeSoftware(host);

  show.step('Tamper with it');
  show.line('attacker', 'boots a boot loader that nobody approved: PCR 4 is extended by its hash');
  const device = await Tpm.open({ tcti: tpm.tcti });
  await device.pcrExtend(4, [{ hash: TPM_ALG_SHA256, digest: await sha256('evil boot loader') }]);
  await device.close();
  const refused = await programs.untilStatus(host, 'CONTRAINDICATED', stopped.signal);
  show.verdict(refused);

  show.step('Place another workload');
  await select({ found: false });
  show.line('meaning', 'an orchestration engine places nothing more there, and evacuates what runs there');

  show.step('Tell those who use the cloud: a signed report, which anybody can check offline');
  await report();
}

/** The other ways in which software can turn out not to be the vendor's. */
async function changeSoftware(host: string): Promise<void> {
  show.step('Change a signed file; write to one that runs');
  const changed = await image.runChangedFile();
  show.line('somebody', `starts ${changed} with other contents, under the signature of what it was`);
  show.verdict(await programs.untilReason(host, 'FILE_SIGNATURE_INVALID', stopped.signal));
  const written = await image.writeRunningFile();
  show.line('somebody', `writes to ${written} while it runs: what runs now was never measured`);
  show.verdict(await programs.untilReason(host, 'IMA_VIOLATION', stopped.signal));

  show.step("Withdraw the vendor's key");
  show.command(`assay keyring remove-key vendor ${image.key.slice(0, 16)}…`);
  show.answer(await programs.assay(['keyring', 'remove-key', 'vendor', image.key]));
  show.verdict(await programs.untilReason(host, 'FILE_UNKNOWN', stopped.signal, '4: '));
  show.line('meaning', 'each host that ran something of that key is judged anew at once, and no other host');
}

/** The consumer's view: the platform's status, signed by the service, and verified with nothing but its published keys. */
async function report(): Promise<void> {
  const files = { token: join(directory, 'report.jwt'), keys: join(directory, 'keys.json') };
  show.command('assay key jwks > keys.json; assay report --format jwt > report.jwt');
  await writeFile(files.keys, await programs.assay(['key', 'jwks']));
  await writeFile(files.token, await programs.assay(['report', '--format', 'jwt']));
  show.command('assay token verify report.jwt --jwks keys.json');
  const verified = await programs.assay(['token', 'verify', files.token, '--jwks', files.keys]);
  const exceptions = verified.slice(verified.indexOf('not affirmed:'));
  for (const line of verified.split('\n').filter((each) => REPORTED.test(each))) show.answer(line);
  show.answer(exceptions);
  if (!exceptions.includes('PCR_MISMATCH')) throw new Error('the report does not say that the host was tampered with');
}

/** The orchestration engine's view: which hosts satisfy the policy now, and why the others do not. */
async function select({ found }: { readonly found: boolean }): Promise<void> {
  const command = ['placement', 'select', '--policy', 'approved-boot', '--explain', '10'];
  show.command(`assay ${command.join(' ')}`);
  const answer = await programs.assay(command, found ? EXIT.ok : EXIT.notAffirming);
  show.answer(answer);
  const expected = found ? '1 of 1 selectable' : 'STATUS_CONTRAINDICATED (PCR_MISMATCH,';
  if (!answer.includes(expected)) throw new Error(`the selection does not say ${expected}`);
}

async function sha256(text: string): Promise<Buffer> {
  return Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(text)));
}
