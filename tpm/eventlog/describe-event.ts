import type { EventData } from './event-data.ts';

/** The data of an event in one line of plain text, of any length. Whoever shows it escapes it. */
export function describeEventData(data: EventData): string {
  switch (data.kind) {
    case 'text':
      return data.prefix === '' ? data.text : `${data.prefix}: ${data.text}`;
    case 'variable':
      return `${data.name} = ${data.value.length > 32 ? `${data.value.length} bytes` : data.value.toString('hex')}`;
    case 'boot-option':
      return `${data.name}${data.active ? '' : ' (inactive)'}: ${data.description} ${data.path}`;
    case 'image':
      return data.path === '' ? `${data.size} bytes in memory` : data.path;
    case 'firmware':
      return `${data.description === '' ? '' : `${data.description} `}${data.size} bytes at 0x${data.base.toString(16)}`;
    case 'partition-table':
      return `disk ${data.diskGuid}: ${data.partitions.map(({ name }) => name).join(', ')}`;
    case 'tag':
      return `0x${data.id.toString(16)} ${data.text === '' ? data.content.toString('hex') : data.text}`;
    case 'separator':
      return data.value.toString('hex');
    case 'startup-locality':
      return `startup locality ${data.locality}`;
    case 'reference-manifest':
      return `reference manifest ${data.manifestGuid} of vendor ${data.vendor}`;
    default:
      return data.bytes.toString('hex');
  }
}
