/** EV_EFI_VARIABLE_AUTHORITY (PFP §10.4.4): with which entry of which database an image was verified. */
import { createHash } from 'node:crypto';
import type { EventLogPlace, FindingList } from './finding.ts';
import type { Authority, SignatureDatabase } from './secure-boot-state.ts';
import { readSignatureData } from './signature-list.ts';
import { EFI_IMAGE_SECURITY_DATABASE, SHIM_LOCK } from './uefi-variable.ts';
import type { UefiVariable } from './uefi-variable.ts';

const DER_SEQUENCE = 0x30;

/** The authority of an event, or undefined where its variable is none that images are verified with. */
export function readAuthority(
  variable: UefiVariable,
  { event, db, findings }: { readonly event: number; readonly db: SignatureDatabase; readonly findings: FindingList },
): Authority | undefined {
  const place: EventLogPlace = { event, pcr: 7 };
  const source = sourceOf(variable);
  if (source === undefined) {
    const message = `authority of an unknown variable ${variable.name} (${variable.guid})`;
    findings.add('SECURE_BOOT_AUTHORITY_MALFORMED', place, message);
    return undefined;
  }
  const { owner, data } = split(variable.data);
  if (data.length === 0) {
    findings.add('SECURE_BOOT_AUTHORITY_MALFORMED', place, `authority of ${variable.name} is empty`);
    return undefined;
  }
  if (owner === undefined && source === 'db') {
    findings.add('SECURE_BOOT_AUTHORITY_WITHOUT_OWNER', place, `authority of ${variable.name} without its owner`);
  }
  const sha256 = createHash('sha256').update(data).digest('hex');
  const inDb = source === 'db' && db.state === 'read' ? db.lists.has(data, owner) : undefined;
  if (inDb === false) {
    findings.add('SECURE_BOOT_AUTHORITY_NOT_IN_DB', place, `authority ${sha256} is not in the measured db`);
  }
  return { event, variable: variable.name, source, owner, data, sha256, inDb };
}

function sourceOf({ guid, name }: UefiVariable): Authority['source'] | undefined {
  if (guid === EFI_IMAGE_SECURITY_DATABASE && name === 'db') return 'db';
  return guid === SHIM_LOCK || (guid === EFI_IMAGE_SECURITY_DATABASE && name === 'vendor_db') ? 'shim' : undefined;
}

/** EFI_SIGNATURE_DATA; shim before 15.7 measured the certificate alone, which begins as DER does and no GUID of an owner should. */
function split(bytes: Buffer): { readonly owner: string | undefined; readonly data: Buffer } {
  if (isDerOfLength(bytes)) return { owner: undefined, data: bytes };
  const signature = readSignatureData(bytes);
  return signature ?? { owner: undefined, data: bytes };
}

/** A DER SEQUENCE with a two-byte length that is exactly these bytes. */
function isDerOfLength(bytes: Buffer): boolean {
  return (
    bytes.length > 4 && bytes[0] === DER_SEQUENCE && bytes[1] === 0x82 && bytes.readUInt16BE(2) === bytes.length - 4
  );
}
