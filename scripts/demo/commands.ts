import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { toPem } from '../../proto/tls-identity.ts';
import { parseProfile } from '../../client/sdk/profile.ts';
import type { Demonstrator } from './demonstrator.ts';
import type { Programs, Service } from './programs.ts';

/** Prints commands that work when they are pasted into another terminal, in this checkout. */
export async function printCommands(
  show: Demonstrator,
  { programs, host, service }: { readonly programs: Programs; readonly host: string; readonly service: Service },
): Promise<void> {
  const profile = parseProfile(await readFile(programs.profile, 'utf8'));
  const files = {
    ca: join(programs.directory, 'ca.pem'),
    certificate: join(programs.directory, 'operator.pem'),
    key: join(programs.directory, 'operator.key'),
  };
  await writeFile(files.ca, toPem(profile.authority));
  await writeFile(files.certificate, toPem(profile.certificate));
  await writeFile(files.key, profile.key, { mode: 0o600 });
  show.step('Try it yourself (in another terminal, in this directory)');
  const commands = [
    `export ASSAY_PROFILE=${programs.profile}`,
    'npx assay host list',
    `npx assay host get ${host}`,
    `npx assay result get ${host}`,
    'npx assay result watch',
    'npx assay policy get approved-boot',
    'npx assay placement select --explain 10',
    'npx assay report',
    '',
    ...grpcCommands(files, { host, server: service.server }),
    '',
    // Last: what is pasted after it sees a banned host.
    `npx assay host revoke ${host} --reason "tampered with"`,
  ];
  for (const command of commands) show.answer(command);
  show.note('Everything runs until Ctrl-C.');
}

function grpcCommands(
  files: { readonly ca: string; readonly certificate: string; readonly key: string },
  { host, server }: { readonly host: string; readonly server: string },
): readonly string[] {
  const request = JSON.stringify({ host: `hosts/${host}` });
  const grpcurl = process.env['ASSAY_GRPCURL'];
  if (grpcurl !== undefined && existsSync(grpcurl)) {
    const tls = `-cacert ${files.ca} -cert ${files.certificate} -key ${files.key}`;
    return [
      `${grpcurl} ${tls} ${server} list`,
      `${grpcurl} ${tls} -d '${request}' ${server} assay.v1.AttestationResultService/GetAttestationResult`,
      `${grpcurl} ${tls} ${server} assay.v1.AttestationResultService/WatchAttestationResults`,
    ];
  }
  const tls = `--protocol grpc --cacert ${files.ca} --cert ${files.certificate} --key ${files.key}`;
  return [
    `npx buf curl ${tls} --list-methods https://${server}`,
    `npx buf curl ${tls} -d '${request}' https://${server}/assay.v1.AttestationResultService/GetAttestationResult`,
    `npx buf curl ${tls} -d '{}' https://${server}/assay.v1.AttestationResultService/WatchAttestationResults`,
  ];
}
