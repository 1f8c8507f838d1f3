import { formatLine, formatTime, idOf, statusCell } from '../output.ts';
import type { Cell, TableStyle } from '../output.ts';
import type { JsonObject } from '../sdk/resources.ts';
import { plainMessage } from '../sdk/plain-message.ts';
import type { WatchNotice } from '../sdk/watch.ts';
import { policyOf, reasonsOf } from './verdict.ts';

/** What a watch prints. */

export interface NoticeStyle extends TableStyle {
  /** Show confirmations and every bookmark too. */
  readonly all: boolean;
}

/** One line for a person; empty for what is not to be shown. */
export function noticeLine(notice: WatchNotice, style: NoticeStyle): string {
  const cells = cellsOf(notice, style.all);
  return cells.length === 0 ? '' : formatLine(cells, style);
}

function cellsOf(notice: WatchNotice, all: boolean): readonly Cell[] {
  switch (notice.kind) {
    case 'change': {
      const { result } = notice;
      return [
        formatTime(result.revisionTime),
        idOf(result.host),
        result.nodeName === '' ? '-' : result.nodeName,
        statusCell(result.status),
        statusCell(result.connectivity),
        policyOf(result),
        reasonsOf(result),
      ];
    }
    case 'removal':
      return [idOf(notice.host), { text: `left the watch: ${notice.reason}`, colour: 'dim' }];
    case 'validity': {
      const text = `holds until ${formatTime(notice.validUntil)}`;
      return all ? [idOf(notice.host), { text, colour: 'dim' }] : [];
    }
    case 'bookmark': {
      const text = notice.synced ? 'these are all present verdicts; changes follow' : 'nothing new';
      return all || notice.synced ? [{ text, colour: 'dim' }] : [];
    }
    case 'interrupted': {
      const why = notice.error === undefined ? 'the service ended the stream' : plainMessage(notice.error);
      return [{ text: `interrupted: ${why}; next try in ${Math.ceil(notice.retryMillis / 1000)} s`, colour: 'yellow' }];
    }
    case 'relisting':
      return [{ text: `the service cannot resume (${notice.reason}): all present verdicts follow`, colour: 'yellow' }];
  }
}

/** The protobuf JSON of WatchAttestationResultsResponse; what befell the watch itself stands under `watch`. */
export function noticeJson(notice: WatchNotice): JsonObject {
  switch (notice.kind) {
    case 'change':
      return { change: { result: notice.result.json, initial: notice.initial }, resumeToken: notice.resumeToken };
    case 'removal':
      return { removal: { host: notice.host, reason: notice.reason }, resumeToken: notice.resumeToken };
    case 'validity': {
      const { host, revision, validUntil, confirmations, resumeToken } = notice;
      const until = validUntil === undefined ? {} : { validUntil: validUntil.toISOString() };
      const validity = { host, revision: revision.toString(), ...until, confirmations: confirmations.toString() };
      return { validity, resumeToken };
    }
    case 'bookmark':
      return { bookmark: { synced: notice.synced }, resumeToken: notice.resumeToken };
    case 'interrupted':
      return { watch: { interrupted: notice.error?.message ?? '', retryMillis: notice.retryMillis } };
    case 'relisting':
      return { watch: { relisting: notice.reason } };
  }
}
