/** Hosts with a software TPM that is extended as a real boot extended its own. */
import { Tpm } from '../../tpm/device/tpm.ts';
import { EV_NO_ACTION, parseEventLog } from '../../tpm/eventlog/parse.ts';
import { measuredLog } from '../tpm/eventlog/real-logs.ts';
import type { MeasuredBoot } from '../tpm/eventlog/real-logs.ts';
import { AttestedHost } from './attested-host.ts';
import { measuredBootPath } from './data.ts';
import type { Deployment } from './deployment.ts';
import type { Ended } from './programs.ts';

/** A host that booted as the capture did and whose TPM the service trusts; it has not joined yet. */
export async function bootHost(deployment: Deployment, capture: MeasuredBoot): Promise<AttestedHost> {
  const host = await AttestedHost.start({ banks: 'sha1,sha256,sha384' });
  try {
    await deployment.trust(host.tpm.caCertificates);
    await measureBoot(host, capture);
    return host;
  } catch (error) {
    await host[Symbol.asyncDispose]();
    throw error;
  }
}

/** Extends the PCRs of a TPM that was reset by the events of a capture. */
export async function measureBoot(host: AttestedHost, capture: MeasuredBoot): Promise<void> {
  const { banks, events } = parseEventLog(measuredLog(capture));
  await using tpm = await Tpm.open({ tcti: host.tpm.tcti });
  for (const { pcr, type, digests } of events) {
    if (type === EV_NO_ACTION) continue;
    const extended = banks.flatMap(({ alg }, bank) => {
      const digest = digests[bank];
      return digest === undefined ? [] : [{ hash: alg, digest }];
    });
    // oxlint-disable-next-line no-await-in-loop -- a TPM extends one after another
    await tpm.pcrExtend(pcr, extended);
  }
}

/** Joins with a boot log, and with no other. */
export function joinWithLog(host: AttestedHost, deployment: Deployment, log: string): Promise<Ended> {
  return host.join(deployment, '--boot-log', log, '--userspace-log', '/nowhere', '--ima-log', '/nowhere');
}

export function bootLogPath(capture: MeasuredBoot): string {
  return measuredBootPath(capture, 'binary_bios_measurements');
}
