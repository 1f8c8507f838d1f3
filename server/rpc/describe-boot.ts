import { create, toBinary } from '@bufbuild/protobuf';
import type { MessageInitShape } from '@bufbuild/protobuf';

import {
  BootAuthoritySchema,
  BootEventSchema,
  BootFindingSchema,
  BootImageSchema,
  BootLogState,
  GetBootReportResponseSchema,
  MeasuredTextSchema,
} from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import type { BootEvent as ProtoEvent, MeasuredText } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import type { CheckedEvent } from '../../tpm/eventlog/check-events.ts';
import { describeEventData } from '../../tpm/eventlog/describe-event.ts';
import { decodeEventData } from '../../tpm/eventlog/event-data.ts';
import { eventTypeName } from '../../tpm/eventlog/event-types.ts';
import type { EventLogReading } from '../../tpm/eventlog/read-event-log.ts';
import { readSigners } from '../../tpm/eventlog/signers.ts';
import { algorithmName } from '../../tpm/structures/constants.ts';
import { secureBootFlaws } from '../policy/boot-checks.ts';
import type { BootRecord } from '../store/records.ts';
import type { PageRequest } from '../store/store.ts';
import type { BootOutcome, VerifiedBoot } from '../verifier/verify-boot.ts';
import { checkToProto } from './convert-result.ts';
import { fitList, fitPage, nextPageToken } from './paging.ts';

/** Of the events of a page, and of each other list that a log fills: all of a report fits into a message of 4 MiB. */
const MAX_EVENT_BYTES = 2 * 1024 * 1024;
const MAX_LIST_BYTES = 192 * 1024;
const MAX_LISTED = 64;
const MAX_IMAGES = 256;
const MAX_RECORDS = 256;
const MAX_FINDINGS = 256;
const MAX_TEXT = 4096;
const MAX_DATA = 256;

/** What a page of a report is made of, besides the log: it travels to the thread that makes it. */
export interface BootPage {
  readonly hostId: string;
  readonly record: BootRecord;
  /** What the logs of the record come to. */
  readonly outcome: Exclude<BootOutcome, { readonly kind: 'missing' }>;
  readonly page: PageRequest;
  /** What its tokens are bound to. */
  readonly list: readonly unknown[];
}

/** A page of the report on a log, as the bytes of its message. */
export function describeBoot(
  { hostId, record, outcome, page, list }: BootPage,
  reading: EventLogReading,
): Uint8Array<ArrayBuffer> {
  const believed = believedPcrs(outcome);
  const events = fitPage(pageOfEvents(reading, page), {
    schema: BootEventSchema,
    toProto: (event) => eventToProto(event, believed),
    keyOf: ({ index }) => String(index),
    maxBytes: MAX_EVENT_BYTES,
  });
  const response = create(GetBootReportResponseSchema, {
    report: {
      host: `hosts/${hostId}`,
      bootLogDigest: record.bootLog.sha256,
      format: reading.log.format,
      banks: reading.log.banks.map(({ alg }) => algorithmName(alg)),
      eventCount: reading.log.events.length,
      findings: fitList(reading.findings, {
        schema: BootFindingSchema,
        toProto: ({ code, severity, message }) => ({ code, severity, message: cut(message, MAX_TEXT) }),
        maxItems: MAX_FINDINGS,
        maxBytes: MAX_LIST_BYTES,
      }),
      ...(outcome.kind === 'verified'
        ? {
            state: BootLogState.VERIFIED,
            ...claimsOf(reading, outcome.boot),
            ...provenOf(record, reading, outcome.boot),
          }
        : { state: BootLogState.UNVERIFIED, problem: checkToProto(outcome.finding) }),
      events: events.messages,
    },
    nextPageToken: nextPageToken(events.page, list),
  });
  return toBinary(GetBootReportResponseSchema, response);
}

/** Whether what stands in a PCR may be believed. */
type Believed = (pcr: number | undefined) => boolean;

function believedPcrs(outcome: BootOutcome): Believed {
  return outcome.kind === 'verified' ? believedOf(outcome.boot) : () => false;
}

function believedOf({ unexplained }: VerifiedBoot): Believed {
  return (pcr) => pcr !== undefined && !unexplained.includes(pcr);
}

function pageOfEvents({ log }: EventLogReading, { after, limit }: PageRequest) {
  const start = after === '' ? 0 : Number(after) + 1;
  const items = log.events.slice(start, start + limit);
  const last = items.at(-1);
  const more = start + limit < log.events.length;
  return { items, next: more && last !== undefined ? String(last.index) : null };
}

function eventToProto(event: CheckedEvent, believed: Believed): ProtoEvent {
  const { index, pcr, type, digests, verified, covers } = event;
  return create(BootEventSchema, {
    index,
    pcr,
    type: eventTypeName(type),
    digests: digests.map((digest) => digest?.toString('hex') ?? ''),
    verified: verified && believed(pcr),
    covers,
    data: cut(describeEventData(decodeEventData(event)), MAX_DATA),
  });
}

/** What policies name, as rules see it: values of PCRs, images, and what keeps a rule from being evaluated. */
function provenOf({ pcrs }: BootRecord, { boot }: EventLogReading, verified: VerifiedBoot) {
  return {
    provenPcrs: pcrs.flatMap(({ algorithm, values }) =>
      values.map(([index, value]) => ({ bank: algorithmName(algorithm), index, value })),
    ),
    unexplainedPcrs: [...verified.unexplained],
    images: fitList(boot.images, {
      schema: BootImageSchema,
      toProto: (image) => ({
        index: image.index,
        pcr: image.pcr,
        digests: image.digests.map((digest) => digest?.toString('hex') ?? ''),
        name: cut(describeEventData(decodeEventData(image)), MAX_DATA),
      }),
      maxItems: MAX_IMAGES,
      maxBytes: MAX_LIST_BYTES,
    }),
    contradictions: [...verified.contradictions],
  };
}

function claimsOf({ boot, secureBoot, userspace }: EventLogReading, verified: VerifiedBoot) {
  const believed = believedOf(verified);
  const signers = readSigners(secureBoot);
  return {
    secureBoot: {
      mode: secureBoot.mode,
      databases: Object.entries(secureBoot.databases).flatMap(([name, database]) =>
        database.state === 'absent'
          ? []
          : [
              {
                name,
                state: database.state,
                entries: database.state === 'read' ? database.lists.signatures.length : 0,
              },
            ],
      ),
      authorities: fitList(secureBoot.authorities, {
        schema: BootAuthoritySchema,
        toProto: ({ variable, sha256 }) => ({
          variable: cut(variable, MAX_DATA),
          sha256,
          subject: cut(signers.bySha256.get(sha256)?.subject ?? '', MAX_TEXT),
        }),
        maxItems: MAX_LISTED,
        maxBytes: MAX_LIST_BYTES,
      }),
      sbatLevel: cut(secureBoot.sbatLevel ?? '', MAX_TEXT),
      mokMeasurements: secureBoot.mokMeasurements.slice(0, MAX_LISTED).map(({ name }) => cut(name, MAX_DATA)),
      weaknesses: secureBoot.mode === 'enabled' ? [...secureBootFlaws(verified.secureBoot)] : [],
    },
    kernelCommandLines: texts(boot.kernel.commandLines, MAX_LISTED, ({ event, pcr, source, text, verified }) => ({
      index: event,
      pcr,
      source,
      text: cut(text ?? '', MAX_TEXT),
      verified: verified && believed(pcr),
    })),
    // The digest is the file's: its name is the log's word.
    initrds: texts(boot.kernel.initrds, MAX_LISTED, ({ event, pcr, source, name }) => ({
      index: event,
      pcr,
      source,
      text: cut(name, MAX_TEXT),
      verified: false,
    })),
    exitBootServices: boot.exitBootServices,
    phases: boot.phases.map(({ phase, events }) => ({
      name: phase,
      firstEvent: events[0]?.index ?? 0,
      eventCount: events.length,
    })),
    userspaceRecordCount: userspace?.records.length ?? 0,
    userspaceRecords: texts(userspace?.records ?? [], MAX_RECORDS, ({ index, pcr, eventType, text, verified }) => ({
      index,
      pcr: pcr ?? 0,
      source: cut(eventType, MAX_DATA),
      text: cut(text, MAX_TEXT),
      verified: verified && believed(pcr),
    })),
  };
}

function texts<T>(
  items: readonly T[],
  maxItems: number,
  toProto: (item: T) => MessageInitShape<typeof MeasuredTextSchema>,
): MeasuredText[] {
  return fitList(items, { schema: MeasuredTextSchema, toProto, maxItems, maxBytes: MAX_LIST_BYTES });
}

function cut(text: string, length: number): string {
  const whole = text.toWellFormed();
  return whole.length > length ? `${whole.slice(0, length).toWellFormed()}…` : whole;
}
