/** Walks the events of PCR 7 in their phases: configuration, separator, authorities (PFP §3.3.4.8). */
import { CodecError } from '../codec/codec-error.ts';
import type { CheckedEvent } from './check-events.ts';
import {
  EV_ACTION_TYPES,
  EV_EFI_VARIABLE_AUTHORITY,
  EV_EFI_VARIABLE_DRIVER_CONFIG,
  EV_SEPARATOR,
  SEPARATOR_ERROR,
} from './event-types.ts';
import type { FindingList } from './finding.ts';
import { DMA_PROTECTION_DISABLED, UEFI_DEBUG_MODE } from './known-digests.ts';
import { EV_NO_ACTION } from './parse.ts';
import { readAuthority } from './secure-boot-authority.ts';
import { SIGNATURE_DATABASES } from './secure-boot-state.ts';
import type {
  Authority,
  SecureBootMode,
  SecureBootState,
  SignatureDatabase,
  SignatureDatabaseName,
} from './secure-boot-state.ts';
import { SignatureLists } from './signature-list.ts';
import { EFI_GLOBAL_VARIABLE, EFI_IMAGE_SECURITY_DATABASE, SHIM_LOCK, readVariable } from './uefi-variable.ts';
import type { UefiVariable } from './uefi-variable.ts';

const SECURE_BOOT_PCR = 7;

/** Variables of the configuration, and the vendor GUID that alone makes them what their names say. */
const VARIABLE_GUIDS: ReadonlyMap<string, string> = new Map([
  ...['SecureBoot', 'PK', 'KEK', 'SetupMode', 'AuditMode', 'DeployedMode'].map(
    (name) => [name, EFI_GLOBAL_VARIABLE] as const,
  ),
  ...['db', 'dbx', 'dbt', 'dbr'].map((name) => [name, EFI_IMAGE_SECURITY_DATABASE] as const),
]);

/** SPDM's device policy and authorities stand in PCR 7 too, and say nothing of images. */
const SPDM_TYPES: readonly number[] = [0x8000_00e3, 0x8000_00e4];

type ReadState = Omit<SecureBootState, 'mokMeasurements'>;

export function readSecureBootEvents(events: readonly CheckedEvent[], findings: FindingList): ReadState {
  const walk = new SecureBootWalk(findings);
  for (const event of events) {
    if (event.pcr === SECURE_BOOT_PCR && event.type !== EV_NO_ACTION) walk.take(event);
  }
  return walk.state();
}

class SecureBootWalk {
  readonly #findings: FindingList;
  readonly #variables = new Map<string, { readonly event: number; readonly data: Buffer }>();
  readonly #authorities: { readonly event: number; readonly variable: UefiVariable }[] = [];
  #separator: number | undefined;
  #debugMode = false;
  #dmaProtectionDisabled = false;
  #sbatLevel: string | undefined;
  #mokListTrusted: boolean | undefined;

  constructor(findings: FindingList) {
    this.#findings = findings;
  }

  take(event: CheckedEvent): void {
    const { index, type, measured } = event;
    const place = { event: index, pcr: SECURE_BOOT_PCR, offset: event.offset };
    if (measured === undefined) {
      const message = 'what an event of pcr 7 says is not what was measured';
      this.#findings.add('SECURE_BOOT_EVENT_UNVERIFIED', place, message);
      return;
    }
    if (SPDM_TYPES.includes(type)) return;
    if (type === EV_SEPARATOR) this.#takeSeparator(index, measured);
    else if (EV_ACTION_TYPES.includes(type)) this.#takeAction(event, measured);
    else if (type === EV_EFI_VARIABLE_DRIVER_CONFIG) this.#takeVariable(event, measured);
    else if (type === EV_EFI_VARIABLE_AUTHORITY) this.#takeAuthority(event, measured);
    else this.#findings.add('SECURE_BOOT_EVENT_UNEXPECTED', place, 'an event of this type does not belong into pcr 7');
  }

  state(): ReadState {
    const databases = Object.fromEntries(SIGNATURE_DATABASES.map((name) => [name, this.#readDatabase(name)])) as Record<
      SignatureDatabaseName,
      SignatureDatabase
    >;
    return {
      mode: this.#readMode(),
      setupMode: this.#readFlag('SetupMode'),
      auditMode: this.#readFlag('AuditMode'),
      deployedMode: this.#readFlag('DeployedMode'),
      databases,
      authorities: this.#readAuthorities(databases.db),
      sbatLevel: this.#sbatLevel,
      mokListTrusted: this.#mokListTrusted,
      debugMode: this.#debugMode,
      dmaProtectionDisabled: this.#dmaProtectionDisabled,
      separator: this.#separator,
    };
  }

  /** An error separator, and one too many, are found where all separators are checked. */
  #takeSeparator(index: number, measured: Buffer): void {
    if (!measured.equals(SEPARATOR_ERROR)) this.#separator ??= index;
  }

  #takeAction({ index, offset }: CheckedEvent, measured: Buffer): void {
    const text = measured.toString('latin1').replace(/\0+$/, '');
    const place = { event: index, pcr: SECURE_BOOT_PCR, offset };
    if (text === UEFI_DEBUG_MODE) {
      this.#debugMode = true;
      this.#findings.add('UEFI_DEBUG_MODE', place, 'the debugger of the firmware is enabled');
    } else if (text === DMA_PROTECTION_DISABLED) {
      this.#dmaProtectionDisabled = true;
      this.#findings.add('DMA_PROTECTION_DISABLED', place, 'the firmware ran without protection against DMA');
    } else {
      this.#findings.add('SECURE_BOOT_EVENT_UNEXPECTED', place, `the action "${text}" does not belong into pcr 7`);
    }
  }

  #takeVariable({ index, offset }: CheckedEvent, measured: Buffer): void {
    const variable = readVariable(measured);
    // That a verified event of this type is such a structure was checked with its digest.
    if (variable === undefined) return;
    const place = { event: index, pcr: SECURE_BOOT_PCR, offset };
    const { guid, name, data } = variable;
    const expected = VARIABLE_GUIDS.get(name);
    if (this.#separator !== undefined) {
      this.#findings.add('SECURE_BOOT_VARIABLE_LATE', place, `${name} was measured after the separator`);
    } else if (expected !== undefined && guid !== expected) {
      this.#findings.add('SECURE_BOOT_VARIABLE_GUID', place, `${name} of ${guid} is not the variable of that name`);
    } else if (this.#variables.has(name)) {
      this.#findings.add('SECURE_BOOT_VARIABLE_REPEATED', place, `${name} was measured before`);
    } else {
      this.#variables.set(name, { event: index, data });
    }
  }

  #takeAuthority({ index, offset }: CheckedEvent, measured: Buffer): void {
    const variable = readVariable(measured);
    if (variable === undefined) return;
    const { guid, name, data } = variable;
    if (guid === SHIM_LOCK && name === 'SbatLevel') {
      this.#sbatLevel ??= data.toString('latin1');
    } else if (guid === SHIM_LOCK && name === 'MokListTrusted') {
      this.#mokListTrusted ??= data[0] === 1;
    } else if (this.#separator === undefined) {
      const place = { event: index, pcr: SECURE_BOOT_PCR, offset };
      this.#findings.add('SECURE_BOOT_AUTHORITY_EARLY', place, 'an authority was used before the separator');
    } else {
      this.#authorities.push({ event: index, variable });
    }
  }

  #readMode(): SecureBootMode {
    const variable = this.#variables.get('SecureBoot');
    if (variable === undefined) return 'unknown';
    if (variable.data.length === 0) return 'unset';
    const [value] = variable.data;
    if (variable.data.length === 1 && value === 1) return 'enabled';
    if (variable.data.length === 1 && value === 0) return 'disabled';
    this.#malformed(variable.event, 'SecureBoot is neither 0 nor 1');
    return 'unknown';
  }

  #readFlag(name: string): boolean | undefined {
    const variable = this.#variables.get(name);
    if (variable === undefined || variable.data.length === 0) return undefined;
    if (variable.data.length === 1) return variable.data[0] === 1;
    this.#malformed(variable.event, `${name} is not one byte`);
    return undefined;
  }

  #readDatabase(name: SignatureDatabaseName): SignatureDatabase {
    const variable = this.#variables.get(name);
    if (variable === undefined) return { state: 'absent' };
    const { event, data } = variable;
    try {
      const lists = SignatureLists.read(data);
      for (const type of lists.unknownTypes) {
        const message = `${name} holds signatures of the unknown type ${type}`;
        this.#findings.add('SIGNATURE_TYPE_UNKNOWN', { event, pcr: SECURE_BOOT_PCR }, message);
      }
      return { state: 'read', event, lists };
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      this.#malformed(event, `${name}: ${error.message}`);
      return { state: 'malformed', event, raw: data };
    }
  }

  /** Firmware and shim may say the same authority for each image that it verified: once is enough. */
  #readAuthorities(db: SignatureDatabase): readonly Authority[] {
    const authorities: Authority[] = [];
    const seen = new Set<string>();
    for (const { event, variable } of this.#authorities) {
      const authority = readAuthority(variable, { event, db, findings: this.#findings });
      if (authority === undefined) continue;
      const { variable: name, sha256, owner = '' } = authority;
      const key = `${sha256} ${owner} ${name}`;
      if (seen.has(key)) {
        const message = `authority ${authority.sha256} was measured before`;
        this.#findings.add('SECURE_BOOT_AUTHORITY_REPEATED', { event, pcr: SECURE_BOOT_PCR }, message);
      }
      seen.add(key);
      authorities.push(authority);
    }
    return authorities;
  }

  #malformed(event: number, message: string): void {
    this.#findings.add('SECURE_BOOT_VARIABLE_MALFORMED', { event, pcr: SECURE_BOOT_PCR }, message);
  }
}
