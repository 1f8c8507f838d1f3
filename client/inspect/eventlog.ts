/** The JSON form of a boot log. Its schema stands in docs/inspect.md and changes by addition only. */
import type { CheckedEvent } from '../../tpm/eventlog/check-events.ts';
import { decodeEventData } from '../../tpm/eventlog/event-data.ts';
import type { EventData } from '../../tpm/eventlog/event-data.ts';
import { eventTypeName } from '../../tpm/eventlog/event-types.ts';
import type { EventLogFinding } from '../../tpm/eventlog/finding.ts';
import type { EventLogReading } from '../../tpm/eventlog/read-event-log.ts';
import type { SignatureDatabase } from '../../tpm/eventlog/secure-boot-state.ts';
import type { Signer, Signers } from '../../tpm/eventlog/signers.ts';
import type { UserspaceLog } from '../../tpm/eventlog/userspace-log.ts';
import { createHash } from 'node:crypto';
import { TPM_ALG_SHA1, algorithmName } from '../../tpm/structures/constants.ts';
import type { JsonObject, JsonValue } from '../sdk/resources.ts';

/** Digests in the order of the log's banks, as an object by name of the bank. */
type Name = (digests: readonly (Buffer | undefined)[]) => JsonObject;

export function eventLogToJson(reading: EventLogReading, signers: Signers): JsonObject {
  const { log, userspace, replay, boot } = reading;
  const names = log.banks.map(({ alg }) => algorithmName(alg));
  const byName: Name = (digests) =>
    Object.fromEntries(
      digests.flatMap((digest, position) => (digest === undefined ? [] : [[names[position] ?? '', hex(digest)]])),
    );
  return {
    format: log.format,
    complete: log.complete,
    algorithms: names,
    specId: specIdToJson(log.specId),
    events: log.events.map((event) => eventToJson(event, byName)),
    ...(userspace === undefined ? {} : { userspace: userspaceToJson(userspace) }),
    startup: { locality: replay.startup.locality, hcrtm: replay.startup.hcrtm },
    pcrs: Object.fromEntries([...replay.pcrs].map(([alg, values]) => [algorithmName(alg), valuesToJson(values)])),
    comparison: reading.pcrs.map(({ bank, pcr, outcome }) => ({ bank: algorithmName(bank), pcr, outcome })),
    secureBoot: secureBootToJson(reading, { signers, byName }),
    boot: {
      phases: boot.phases.map(({ phase, events }) => ({ phase, events: events.map(({ index }) => index) })),
      images: boot.images.map((event) => imageToJson(event, byName)),
      kernelCommandLines: boot.kernel.commandLines.map(({ event, pcr, source, text, verified }) => {
        return { event, pcr, source, text: text ?? null, verified };
      }),
      initrds: boot.kernel.initrds.map(({ digests, ...initrd }) => ({ ...initrd, digests: byName(digests) })),
      exitBootServices: boot.exitBootServices,
    },
    bootAggregate: bootAggregateToJson(reading),
    findings: reading.findings.map(findingToJson),
  };
}

function specIdToJson(specId: EventLogReading['log']['specId']): JsonValue {
  if (specId === undefined) return null;
  const { version, platformClass, uintnSize, vendorInfo } = specId;
  return { version, platformClass, uintnSize, vendorInfo: hex(vendorInfo) };
}

function eventToJson(event: CheckedEvent, byName: Name): JsonObject {
  const { index, offset, pcr, type, digests, verified, covers, data } = event;
  return {
    index,
    offset,
    pcr,
    type: eventTypeName(type),
    digests: byName(digests),
    verified,
    covers,
    size: data.length,
    data: dataToJson(decodeEventData(event)),
  };
}

function imageToJson(event: CheckedEvent, byName: Name): JsonObject {
  const { index, pcr, type, digests } = event;
  const data = decodeEventData(event);
  const path = data.kind === 'image' ? data.path : '';
  return { event: index, pcr, type: eventTypeName(type), path, digests: byName(digests) };
}

/** Bytes in hexadecimal, addresses as `0x…`: JSON numbers do not hold 64 bits. */
function dataToJson(data: EventData): JsonObject {
  switch (data.kind) {
    case 'variable':
      return { ...data, value: hex(data.value) };
    case 'image':
    case 'firmware':
      return { ...data, base: `0x${data.base.toString(16)}`, size: Number(data.size) };
    case 'partition-table':
      return {
        ...data,
        partitions: data.partitions.map(({ firstBlock, lastBlock, ...partition }) => {
          return { ...partition, firstBlock: String(firstBlock), lastBlock: String(lastBlock) };
        }),
      };
    case 'tag':
      return { ...data, id: `0x${data.id.toString(16).padStart(8, '0')}`, content: hex(data.content) };
    case 'separator':
      return { ...data, value: hex(data.value) };
    case 'bytes':
      return { ...data, bytes: hex(data.bytes) };
    default:
      return { ...data };
  }
}

function secureBootToJson(
  { secureBoot }: EventLogReading,
  { signers, byName }: { readonly signers: Signers; readonly byName: Name },
): JsonObject {
  const { databases, authorities, mokMeasurements, ...state } = secureBoot;
  return {
    mode: state.mode,
    enabled: state.mode === 'enabled',
    setupMode: state.setupMode ?? null,
    auditMode: state.auditMode ?? null,
    deployedMode: state.deployedMode ?? null,
    databases: Object.fromEntries(
      Object.entries(databases).map(([name, database]) => [name, databaseToJson(database, signers)]),
    ),
    authorities: authorities.map(({ event, variable, source, owner, sha256, inDb }) => ({
      event,
      variable,
      source,
      owner: owner ?? null,
      sha256,
      inDb: inDb ?? null,
      signer: signerToJson(signers.bySha256.get(sha256)),
    })),
    sbatLevel: state.sbatLevel ?? null,
    mokListTrusted: state.mokListTrusted ?? null,
    shimOff: state.shimOff ?? null,
    mokMeasurements: mokMeasurements.map(({ event, name, digests }) => ({ event, name, digests: byName(digests) })),
    debugMode: state.debugMode,
    dmaProtectionDisabled: state.dmaProtectionDisabled,
    separator: state.separator ?? null,
  };
}

function databaseToJson(database: SignatureDatabase, signers: Signers): JsonObject {
  if (database.state === 'absent') return { state: 'absent' };
  const { state, event } = database;
  if (database.state === 'malformed') return { state, event, raw: hex(database.raw) };
  return {
    state,
    event,
    signatures: database.lists.signatures.map(({ kind, type, owner, data }) => {
      if (kind !== 'x509') return { kind, ...(kind === 'other' ? { type } : {}), owner, data: hex(data) };
      const sha256 = createHash('sha256').update(data).digest('hex');
      return { kind, owner, sha256, signer: signerToJson(signers.bySha256.get(sha256)) };
    }),
  };
}

function signerToJson(signer: Signer | undefined): JsonValue {
  return signer === undefined ? null : { ...signer, notAfter: signer.notAfter.toISOString() };
}

/** `sha1` is over PCR 0 to 7, every other over PCR 0 to 9; `sha256_pcr0_7` is what kernels before 5.8 have. */
function bootAggregateToJson({ bootAggregates }: EventLogReading): JsonObject {
  return Object.fromEntries(
    [...bootAggregates].flatMap(([alg, { pcr0To7, pcr0To9 }]) => {
      const name = algorithmName(alg);
      if (alg === TPM_ALG_SHA1) return [[name, hex(pcr0To7)]];
      return [
        [name, hex(pcr0To9)],
        [`${name}_pcr0_7`, hex(pcr0To7)],
      ];
    }),
  );
}

function userspaceToJson({ records, complete }: UserspaceLog): JsonObject {
  return {
    complete,
    records: records.map(({ index, pcr, digests, eventType, text, verified }) => ({
      index,
      pcr: pcr ?? null,
      eventType,
      text,
      verified,
      digests: Object.fromEntries([...digests].map(([alg, digest]) => [algorithmName(alg), hex(digest)])),
    })),
  };
}

export function findingToJson({ code, severity, message, event, pcr, bank, offset }: EventLogFinding): JsonObject {
  return {
    code,
    severity,
    message,
    ...(event === undefined ? {} : { event }),
    ...(pcr === undefined ? {} : { pcr }),
    ...(bank === undefined ? {} : { bank: algorithmName(bank) }),
    ...(offset === undefined ? {} : { offset }),
  };
}

function valuesToJson(values: ReadonlyMap<number, Buffer>): JsonObject {
  return Object.fromEntries([...values].map(([pcr, value]) => [String(pcr), hex(value)]));
}

function hex(bytes: Buffer): string {
  return bytes.toString('hex');
}
