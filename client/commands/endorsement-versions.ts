import type { Command } from 'commander';
import { formatFields, formatTable, formatTime, idOf } from '../output.ts';
import type { TableStyle } from '../output.ts';
import type { RevocationList, TrustAnchor } from '../sdk/resources.ts';
import { collect, operatorCommand, withService, writeJson } from './context.ts';
import type { Context, OperatorOptions } from './context.ts';

const HISTORY_HEADER = ['ENDORSEMENTS', 'TIME', 'WHO', 'DONE', 'RESOURCE', 'VERSION', 'DETAIL'];

/** `assay endorsement history`. */
export function addHistoryCommand(context: Context, endorsement: Command): void {
  operatorCommand(
    context,
    endorsement,
    'history [resource]',
    'list changes of CA certificates, revocation lists and inventory, newest first (of one: trustAnchors/SHA256, …)',
  ).action((resource: string | undefined, options: OperatorOptions) =>
    withService(context, options, async (client) => {
      const changes = await collect(client.endorsements.changes(resource, { signal: context.signal }));
      if (options.output === 'json') return writeJson(context, { changes: changes.map(({ json }) => json) });
      const rows = changes.map((change) => [
        change.endorsementVersion.toString(),
        formatTime(change.createTime),
        change.actor,
        change.action,
        change.resource,
        change.version === 0n ? '-' : change.version.toString(),
        change.detail,
      ]);
      context.write(formatTable(HISTORY_HEADER, rows, context.style));
    }),
  );
}

/** A version of a CA certificate, with the certificate as PEM. */
export function describeAnchor(anchor: TrustAnchor, style: TableStyle): string {
  const fields = formatFields(
    [
      ['sha256', idOf(anchor.name)],
      ['subject', anchor.subject],
      ['kind', anchor.anchor ? 'anchor' : 'intermediate'],
      ['not after', formatTime(anchor.notAfter)],
      ['version', `${anchor.version} of ${formatTime(anchor.createTime)}`],
    ],
    style,
  );
  return `${fields}\n${pemOf('CERTIFICATE', anchor.certificate)}`;
}

/** A version of a revocation list, with the list as PEM. */
export function describeRevocationList(list: RevocationList, der: Buffer, style: TableStyle): string {
  const fields = formatFields(
    [
      ['id', idOf(list.name)],
      ['issuer', list.issuer],
      ['sha256', list.listSha256],
      ['number', list.number === '' ? '-' : list.number],
      ['entries', String(list.entryCount)],
      ['issued', formatTime(list.thisUpdateTime)],
      ['next update', formatTime(list.nextUpdateTime)],
      ['version', `${list.version} of ${formatTime(list.createTime)}`],
    ],
    style,
  );
  return `${fields}\n${pemOf('X509 CRL', der)}`;
}

function pemOf(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
