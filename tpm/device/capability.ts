import { fields, list, u32, union, type ValueOf } from '../codec/structure.ts';
import { TPMS_CAPABILITY_DATA } from '../structures/capability.ts';
import { TPM_CAP_HANDLES, TPM_CAP_PCRS, TPM_CAP_TPM_PROPERTIES } from '../structures/constants.ts';
import { type PcrBankSelection, selectedPcrs } from '../structures/pcr-selection.ts';
import { decodeAnswer } from './answer.ts';
import { ESYS_TR, type EsysHandle, NumberOut, StructureOut, type Tss } from './tss.ts';

/** TPM_PT (Part 2 §6.13), the group of fixed properties. */
const TPM_PT_FIXED = 0x100;
const TPM_PT_MANUFACTURER = 0x105;
const TPM_PT_VENDOR_STRING_1 = 0x106;
const TPM_PT_FIRMWARE_VERSION_1 = 0x10b;
const TPM_PT_FIRMWARE_VERSION_2 = 0x10c;
const TPM_PT_NV_BUFFER_MAX = 0x12c;

/** More than one answer holds (MAX_CAP_HANDLES, MAX_TPM_PROPERTIES); the TPM says `moreData` for the rest. */
const MAX_LISTED = 254;
/** Answers that one listing may take. */
const MAX_ANSWERS = 64;

/** As many banks as a list can hold (HASH_COUNT), so that one answer has all. */
export const PCR_BANK_COUNT = 16;

/** The arms that this room asks for besides the PCR banks (Part 2 §10.10.2). */
const TPMS_CAPABILITY_LIST = union('capability', u32, {
  [TPM_CAP_HANDLES]: fields({ values: list(u32, 4096) }),
  [TPM_CAP_TPM_PROPERTIES]: fields({ values: list(fields({ property: u32, value: u32 }), 4096) }),
});
type CapabilityList = ValueOf<typeof TPMS_CAPABILITY_LIST>;

export interface Capability {
  readonly moreData: boolean;
  /** TPMS_CAPABILITY_DATA. */
  readonly capabilityData: Buffer;
}

export interface TpmProperties {
  /** The vendor's registered id (TCG Vendor ID Registry), such as `IBM` or `INTC`. */
  readonly manufacturer: string;
  /** What the vendor says of the model; not normative. */
  readonly vendorString: string;
  readonly firmwareVersion: bigint;
  /** Bytes that one TPM2_NV_Read may return. */
  readonly nvBufferMax: number;
}

/** TPM2_GetCapability (Part 3 §30.2). @param session an audit session, or none */
export async function getCapability(
  tss: Tss,
  request: { readonly capability: number; readonly property: number; readonly count: number },
  session: EsysHandle = ESYS_TR.NONE,
): Promise<Capability> {
  const moreData = new NumberOut();
  const capabilityData = new StructureOut('TPMS_CAPABILITY_DATA');
  const { NONE } = ESYS_TR;
  const { capability, property, count } = request;
  await tss.call('Esys_GetCapability', session, NONE, NONE, capability, property, count, moreData, capabilityData);
  return { moreData: moreData.value !== 0, capabilityData: capabilityData.wire };
}

export async function readProperties(tss: Tss): Promise<TpmProperties> {
  const data = await getCapabilityList(tss, TPM_CAP_TPM_PROPERTIES, TPM_PT_FIXED);
  const properties = new Map<number, number>();
  if (data.capability === TPM_CAP_TPM_PROPERTIES) {
    for (const { property, value } of data.values) properties.set(property, value);
  }
  const get = (property: number): number => properties.get(property) ?? 0;
  return {
    manufacturer: text(get(TPM_PT_MANUFACTURER)),
    vendorString: [0, 1, 2, 3].map((index) => text(get(TPM_PT_VENDOR_STRING_1 + index))).join(''),
    firmwareVersion: (BigInt(get(TPM_PT_FIRMWARE_VERSION_1)) << 32n) | BigInt(get(TPM_PT_FIRMWARE_VERSION_2)),
    nvBufferMax: get(TPM_PT_NV_BUFFER_MAX),
  };
}

/** The handles that exist from `first` to `last`, ascending. */
export async function listHandles(tss: Tss, first: number, last: number): Promise<readonly number[]> {
  const found: number[] = [];
  let next = first;
  for (let answers = 0; answers < MAX_ANSWERS; answers += 1) {
    const data = await getCapabilityList(tss, TPM_CAP_HANDLES, next);
    const handles = data.capability === TPM_CAP_HANDLES ? data.values : [];
    found.push(...handles.filter((handle) => handle >= first && handle <= last));
    const highest = handles.at(-1);
    if (highest === undefined || highest >= last || !data.moreData) break;
    next = highest + 1;
  }
  return found;
}

/** TPM_CAP_PCRS: every implemented bank; one without PCRs is not active. */
export async function readPcrBanks(tss: Tss): Promise<readonly PcrBankSelection[]> {
  const { capabilityData } = await getCapability(tss, { capability: TPM_CAP_PCRS, property: 0, count: PCR_BANK_COUNT });
  const { assignedPCR } = decodeAnswer(TPMS_CAPABILITY_DATA, capabilityData);
  return assignedPCR.map(({ hash, pcrSelect }) => ({ hash, pcrs: selectedPcrs(pcrSelect) }));
}

async function getCapabilityList(
  tss: Tss,
  capability: number,
  property: number,
): Promise<CapabilityList & { readonly moreData: boolean }> {
  const { moreData, capabilityData } = await getCapability(tss, { capability, property, count: MAX_LISTED });
  return { ...decodeAnswer(TPMS_CAPABILITY_LIST, capabilityData), moreData };
}

/** Four characters in a number, padded with zero bytes or blanks; anything else that is not printable shows as `?`. */
function text(value: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes
    .toString('latin1')
    .replace(/[\0 ]+$/, '')
    .replace(/[^\x20-\x7e]/g, '?');
}
