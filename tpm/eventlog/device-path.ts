/** EFI_DEVICE_PATH (UEFI §10.3) as text, in the manner of §10.6: from where an image was loaded. Always a hint. */
import { tryRead } from './little-endian.ts';
import type { LittleEndianReader } from './little-endian.ts';

/** Nodes of one path that are shown. */
const MAX_NODES = 64;
const END = 0x7f;

type NodeText = (node: LittleEndianReader) => string;

const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

/** By type and subtype. A node without a row, or whose bytes do not fit, is `Path(type,subtype,bytes)`. */
const NODES: ReadonlyMap<string, NodeText> = new Map<string, NodeText>([
  ['1.1', (node) => pci(node.u8(), node.u8())],
  ['1.4', (node) => `VenHw(${node.guid()})`],
  ['2.1', (node) => acpi(node.u32(), node.u32())],
  ['3.5', (node) => `USB(${hex(node.u8())},${hex(node.u8())})`],
  ['3.2', (node) => `Scsi(${hex(node.u16())},${hex(node.u16())})`],
  ['3.10', (node) => `VenMsg(${node.guid()})`],
  ['3.11', (node) => `MAC(${node.bytes(6).toString('hex')})`],
  ['3.18', (node) => `Sata(${hex(node.u16())},${hex(node.u16())},${hex(node.u16())})`],
  ['3.23', (node) => `NVMe(${hex(node.u32())},${node.bytes(8).toString('hex')})`],
  ['3.24', (node) => `Uri(${node.rest().toString('latin1')})`],
  ['4.1', (node) => partition(node)],
  ['4.3', (node) => `VenMedia(${node.guid()})`],
  ['4.4', (node) => node.rest().toString('utf16le').replace(/\0+$/, '')],
  ['4.6', (node) => `FvFile(${node.guid()})`],
  ['4.7', (node) => `Fv(${node.guid()})`],
  ['4.8', (node) => offset(node)],
]);

/** `PciRoot(0x0)/Pci(0x2,0x1f)/…/\EFI\BOOT\BOOTX64.EFI`; what does not parse ends the text with its bytes. */
export function formatDevicePath(bytes: Buffer): string {
  const nodes: string[] = [];
  let rest = bytes;
  while (rest.length > 0 && nodes.length < MAX_NODES) {
    const length = rest.length < 4 ? 0 : rest.readUInt16LE(2);
    if (length < 4 || length > rest.length) return [...nodes, rest.toString('hex')].join('/');
    const type = rest.readUInt8(0);
    if (type === END) break;
    nodes.push(formatNode(type, rest.readUInt8(1), rest.subarray(4, length)));
    rest = rest.subarray(length);
  }
  return nodes.join('/');
}

function formatNode(type: number, subtype: number, content: Buffer): string {
  const text = NODES.get(`${type}.${subtype}`);
  const shown = text === undefined ? undefined : tryRead(content, text);
  return shown ?? `Path(${type},${subtype},${content.toString('hex')})`;
}

function pci(fn: number, device: number): string {
  return `Pci(${hex(device)},${hex(fn)})`;
}

function acpi(hid: number, uid: number): string {
  return hid === 0x0a03_41d0 ? `PciRoot(${hex(uid)})` : `Acpi(${hex(hid)},${hex(uid)})`;
}

function partition(node: LittleEndianReader): string {
  const number = node.u32();
  node.u64();
  node.u64();
  const signature = node.guid();
  const format = node.u8();
  return format === 2 ? `HD(${number},GPT,${signature})` : `HD(${number},MBR)`;
}

function offset(node: LittleEndianReader): string {
  node.u32();
  return `Offset(${hex(node.u64())},${hex(node.u64())})`;
}
