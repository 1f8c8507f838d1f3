/** The events of PCR 7 of a machine with Secure Boot, to be changed by tests. */
import { checkEvents } from '../../../tpm/eventlog/check-events.ts';
import { parseEventLog } from '../../../tpm/eventlog/parse.ts';
import { readSecureBoot } from '../../../tpm/eventlog/secure-boot.ts';
import type { SecureBoot } from '../../../tpm/eventlog/secure-boot.ts';
import type { Signature } from '../../../tpm/eventlog/signature-list.ts';
import type { SecureBootState, SignatureDatabaseName } from '../../../tpm/eventlog/secure-boot-state.ts';
import { OWNER, SHA256_TYPE, X509_TYPE, guid, makeLog, makeSignatureList, makeVariable } from './make-log.ts';
import type { MadeEvent } from './make-log.ts';

export const GLOBAL = '8be4df61-93ca-11d2-aa0d-00e098032b8c';
export const SECURITY = 'd719b2cb-3d3a-4596-a3bc-dad00e67656f';
export const SHIM = '605dab50-e046-4300-abb6-3dd810dd8b23';

export const certificate = Buffer.concat([Buffer.from('30820100', 'hex'), Buffer.alloc(0x100, 5)]);
export const other = Buffer.concat([Buffer.from('30820100', 'hex'), Buffer.alloc(0x100, 6)]);
export const hash = Buffer.alloc(32, 9);

export const variable = (vendor: string, name: string, data: Buffer): MadeEvent => ({
  pcr: 7,
  type: 0x8000_0001,
  data: makeVariable(vendor, name, data),
});
export const authority = (vendor: string, name: string, data: Buffer): MadeEvent => ({
  ...variable(vendor, name, data),
  type: 0x8000_00e0,
});
export const signed = (data: Buffer): Buffer => Buffer.concat([guid(OWNER), data]);

export const on = variable(GLOBAL, 'SecureBoot', Buffer.from([1]));
export const pk = variable(GLOBAL, 'PK', makeSignatureList(X509_TYPE, [certificate]));
export const kek = variable(GLOBAL, 'KEK', makeSignatureList(X509_TYPE, [certificate]));
export const db = variable(SECURITY, 'db', makeSignatureList(X509_TYPE, [certificate]));
export const dbx = variable(SECURITY, 'dbx', makeSignatureList(SHA256_TYPE, [hash, Buffer.alloc(32, 8)]));
export const separator: MadeEvent = { pcr: 7, type: 4, data: Buffer.alloc(4) };
export const used = authority(SECURITY, 'db', signed(certificate));
export const honest = [on, pk, kek, db, dbx, separator, used];

export function read(events: readonly MadeEvent[]): SecureBoot {
  return readSecureBoot(checkEvents(parseEventLog(makeLog(events))));
}

export function signatures(state: SecureBootState, name: SignatureDatabaseName): readonly Signature[] {
  const database = state.databases[name];
  return database.state === 'read' ? database.lists.signatures : [];
}

export function without(...left: readonly MadeEvent[]): readonly MadeEvent[] {
  return honest.filter((event) => !left.includes(event));
}

export function replaced(event: MadeEvent, by: MadeEvent): readonly MadeEvent[] {
  return honest.map((candidate) => (candidate === event ? by : candidate));
}
