/** The data of an event, decoded for people: best effort, a hint wherever the event is not verified. */
import type { CheckedEvent } from './check-events.ts';
import { formatDevicePath } from './device-path.ts';
import {
  EV_ACTION,
  EV_EFI_ACTION,
  EV_EFI_BOOT_SERVICES_APPLICATION,
  EV_EFI_BOOT_SERVICES_DRIVER,
  EV_EFI_GPT_EVENT,
  EV_EFI_GPT_EVENT2,
  EV_EFI_HCRTM_EVENT,
  EV_EFI_PLATFORM_FIRMWARE_BLOB,
  EV_EFI_PLATFORM_FIRMWARE_BLOB2,
  EV_EFI_RUNTIME_SERVICES_DRIVER,
  EV_EFI_VARIABLE_AUTHORITY,
  EV_EFI_VARIABLE_BOOT,
  EV_EFI_VARIABLE_BOOT2,
  EV_EFI_VARIABLE_DRIVER_CONFIG,
  EV_EVENT_TAG,
  EV_IPL,
  EV_SEPARATOR,
  EV_S_CRTM_VERSION,
  grubPrefix,
} from './event-types.ts';
import { readGptEvent } from './gpt.ts';
import type { GptPartition } from './gpt.ts';
import { tryRead } from './little-endian.ts';
import { EV_NO_ACTION } from './parse.ts';
import { startupLocality } from './startup.ts';
import { readVariable } from './uefi-variable.ts';

export type EventData =
  | { readonly kind: 'text'; readonly text: string; readonly prefix: string }
  | { readonly kind: 'variable'; readonly guid: string; readonly name: string; readonly value: Buffer }
  | {
      readonly kind: 'boot-option';
      readonly name: string;
      readonly active: boolean;
      readonly description: string;
      readonly path: string;
    }
  | { readonly kind: 'image'; readonly base: bigint; readonly size: bigint; readonly path: string }
  | { readonly kind: 'firmware'; readonly base: bigint; readonly size: bigint; readonly description: string }
  | { readonly kind: 'partition-table'; readonly diskGuid: string; readonly partitions: readonly GptPartition[] }
  | { readonly kind: 'tag'; readonly id: number; readonly content: Buffer; readonly text: string }
  | { readonly kind: 'separator'; readonly value: Buffer }
  | { readonly kind: 'startup-locality'; readonly locality: number }
  | { readonly kind: 'reference-manifest'; readonly vendor: number; readonly manifestGuid: string }
  | { readonly kind: 'bytes'; readonly bytes: Buffer };

type Decode = (event: CheckedEvent) => EventData | undefined;

const DECODERS: ReadonlyMap<number, Decode> = new Map<number, Decode>([
  [EV_NO_ACTION, readNoAction],
  [EV_SEPARATOR, ({ data }) => ({ kind: 'separator', value: data })],
  [EV_ACTION, readText],
  [EV_EFI_ACTION, readText],
  [EV_EFI_HCRTM_EVENT, readText],
  [EV_S_CRTM_VERSION, readText],
  [EV_IPL, readText],
  [EV_EVENT_TAG, readTag],
  [EV_EFI_VARIABLE_DRIVER_CONFIG, readVariableEvent],
  [EV_EFI_VARIABLE_AUTHORITY, readVariableEvent],
  [EV_EFI_VARIABLE_BOOT, readBootVariable],
  [EV_EFI_VARIABLE_BOOT2, readBootVariable],
  [EV_EFI_BOOT_SERVICES_APPLICATION, readImage],
  [EV_EFI_BOOT_SERVICES_DRIVER, readImage],
  [EV_EFI_RUNTIME_SERVICES_DRIVER, readImage],
  [EV_EFI_PLATFORM_FIRMWARE_BLOB, readBlob],
  [EV_EFI_PLATFORM_FIRMWARE_BLOB2, readBlob2],
  [EV_EFI_GPT_EVENT, readPartitions],
  [EV_EFI_GPT_EVENT2, readPartitions],
]);

/** Shorter data is shown as bytes: four printable bytes may be a number. */
const MIN_TEXT_BYTES = 5;

/** Decodes the data of an event; what does not decode is text if it looks so, else its bytes. Never throws. */
export function decodeEventData(event: CheckedEvent): EventData {
  const decoded = DECODERS.get(event.type)?.(event);
  if (decoded !== undefined) return decoded;
  const text = event.data.length < MIN_TEXT_BYTES ? undefined : readLoggedText(event.data);
  return text === undefined ? { kind: 'bytes', bytes: event.data } : { kind: 'text', text, prefix: '' };
}

const PRINTABLE = /^[\t\n\x20-\x7e\u00a0-\uffff]+$/;

/**
 * Text as firmware and loaders log it: ASCII or UTF-8, or UTF-16 where every second byte of the beginning is zero. Undefined where
 * it is no text. One terminator is taken off; a zero byte within stays visible to whoever escapes it.
 */
export function readLoggedText(bytes: Buffer): string | undefined {
  const wide = bytes.length >= 4 && bytes[1] === 0 && bytes[3] === 0 && bytes[0] !== 0;
  const text = wide ? bytes.subarray(0, bytes.length & ~1).toString('utf16le') : bytes.toString('utf8');
  const shown = text.endsWith('\0') ? text.slice(0, -1) : text;
  return PRINTABLE.test(shown.replaceAll('\0', ' ')) ? shown : undefined;
}

function readText({ data }: CheckedEvent): EventData | undefined {
  const prefix = grubPrefix(data);
  const text = readLoggedText(data.subarray(prefix.length));
  return text === undefined ? undefined : { kind: 'text', text, prefix: prefix.replace(/:? $/, '') };
}

function readNoAction(event: CheckedEvent): EventData | undefined {
  const locality = startupLocality(event);
  if (locality !== undefined) return { kind: 'startup-locality', locality };
  if (!event.data.subarray(0, 16).toString('latin1').startsWith('SP800-155 Event')) return undefined;
  return tryRead(event.data.subarray(16), (reader) => {
    return { kind: 'reference-manifest', vendor: reader.u32(), manifestGuid: reader.guid() };
  });
}

function readTag({ data }: CheckedEvent): EventData | undefined {
  return tryRead(data, (reader) => {
    const id = reader.u32();
    const content = reader.bytes(reader.u32());
    return { kind: 'tag', id, content, text: readLoggedText(content) ?? '' };
  });
}

function readVariableEvent({ data }: CheckedEvent): EventData | undefined {
  const variable = readVariable(data);
  if (variable === undefined) return undefined;
  return { kind: 'variable', guid: variable.guid, name: variable.name, value: variable.data };
}

const LOAD_OPTION = /^(Boot|Driver|SysPrep|PlatformRecovery)[0-9A-Fa-f]{4}$/;
const LOAD_OPTION_ACTIVE = 0x0000_0001;

/** EFI_LOAD_OPTION (UEFI §3.1.3). */
function readBootVariable(event: CheckedEvent): EventData | undefined {
  const variable = readVariable(event.data);
  if (variable === undefined || !LOAD_OPTION.test(variable.name)) return readVariableEvent(event);
  const option = tryRead(variable.data, (reader): EventData => {
    const attributes = reader.u32();
    const pathLength = reader.u16();
    const rest = reader.rest();
    const end = endOfWideString(rest);
    const description = rest.subarray(0, end).toString('utf16le');
    const path = formatDevicePath(rest.subarray(end + 2, end + 2 + pathLength));
    const active = (attributes & LOAD_OPTION_ACTIVE) !== 0;
    return { kind: 'boot-option', name: variable.name, active, description, path };
  });
  return option ?? readVariableEvent(event);
}

/** UEFI_IMAGE_LOAD_EVENT (PFP §10.4.5.6). */
function readImage({ data }: CheckedEvent): EventData | undefined {
  return tryRead(data, (reader) => {
    const base = reader.u64();
    const size = reader.u64();
    reader.u64();
    return { kind: 'image', base, size, path: formatDevicePath(reader.bytes(reader.length64())) };
  });
}

/** UEFI_PLATFORM_FIRMWARE_BLOB. */
function readBlob({ data }: CheckedEvent): EventData | undefined {
  return tryRead(data, (reader) => {
    const base = reader.u64();
    const size = reader.u64();
    reader.end();
    return { kind: 'firmware', base, size, description: '' };
  });
}

/** UEFI_PLATFORM_FIRMWARE_BLOB2: with a description before it. */
function readBlob2({ data }: CheckedEvent): EventData | undefined {
  return tryRead(data, (reader) => {
    const description = reader.bytes(reader.u8()).toString('latin1').replace(/\0+$/, '');
    return { kind: 'firmware', base: reader.u64(), size: reader.u64(), description };
  });
}

function readPartitions({ data }: CheckedEvent): EventData | undefined {
  const table = readGptEvent(data);
  return table === undefined ? undefined : { kind: 'partition-table', ...table };
}

function endOfWideString(bytes: Buffer): number {
  for (let at = 0; at + 1 < bytes.length; at += 2) {
    if (bytes[at] === 0 && bytes[at + 1] === 0) return at;
  }
  return bytes.length;
}
