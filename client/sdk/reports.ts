import { ReportService } from '../../proto/gen/assay/v1/report_pb.ts';
import type { ServiceClient } from '../../proto/client.ts';
import type { CallSettings, Connection } from './connection.ts';
import { fromProtoToken, required } from './convert.ts';
import { fromProtoReport } from './convert-report.ts';
import type { PlatformReport } from './convert-report.ts';
import type { Token, TokenRequest } from './resources.ts';

export interface ReportRequest {
  readonly matchLabels?: Readonly<Record<string, string>>;
  /** Default 100. */
  readonly maxExceptions?: number;
}

/** The security status of the platform. */
export class Reports {
  readonly #connection: Connection;
  readonly #client: ServiceClient<typeof ReportService>;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#client = connection.channel.client(ReportService);
  }

  async get(request: ReportRequest = {}, settings?: CallSettings): Promise<PlatformReport> {
    const answer = await this.#client.getPlatformReport(toProto(request), this.#connection.call(settings));
    return fromProtoReport(required(answer.report, 'report'));
  }

  /** The same, signed: whoever has the keys of the service can check it. */
  async token(request: ReportRequest, token: TokenRequest, settings?: CallSettings): Promise<Token> {
    const signed = { ...toProto(request), token: { ...token } };
    const answer = await this.#client.getPlatformReport(signed, this.#connection.call(settings));
    return fromProtoToken(required(answer.token, 'token'));
  }
}

function toProto({ matchLabels, maxExceptions }: ReportRequest) {
  return { matchLabels: { ...matchLabels }, maxExceptions: maxExceptions ?? 0 };
}
