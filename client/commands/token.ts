import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import { NONCE_BYTES } from '../../proto/token-profile.ts';
import { EXIT, UsageError } from '../failure.ts';
import { formatFields, formatTime, statusCell } from '../output.ts';
import type { Cell } from '../output.ts';
import { MAX_JWKS_BYTES, parseJwks } from '../sdk/jwks.ts';
import type { JsonObject } from '../sdk/resources.ts';
import { TokenRefusal } from '../sdk/token-refusal.ts';
import { CLOCK_SKEW, MAX_TOKEN_BYTES, verifyToken } from '../sdk/verify-token.ts';
import type { VerifiedToken } from '../sdk/verify-token.ts';
import { operatorCommand, readNamedFile, readProfile, writeJson } from './context.ts';
import type { Context, OperatorOptions } from './context.ts';
import { hostCommand, withHost } from './host-argument.ts';
import { formatReport } from './report-text.ts';

export interface TokenOptions {
  readonly audience?: string;
  readonly nonce?: Buffer;
}

interface VerifyOptions extends OperatorOptions, TokenOptions {
  readonly jwks: string;
  readonly host?: string;
}

const VERIFY_EXIT_CODES = `
Exit codes:
  ${EXIT.ok}  the token holds; the host is AFFIRMING, or the token is a report
  ${EXIT.failed}  the token is refused
  ${EXIT.usage}  wrong usage
  ${EXIT.unreachable}  the keys cannot be fetched
  ${EXIT.notAffirming}  the token holds; the host is not AFFIRMING

Times may differ by ${CLOCK_SKEW} s. docs/tokens.md has every reason of a refusal.
`;

/** `assay token`. */
export function addTokenCommands(context: Context, program: Command): void {
  const token = program.command('token').description('signed results, which anybody can check');

  withTokenOptions(
    hostCommand(context, token, 'get <host>', 'print the verdict on one host as a signed token (EAR)'),
  ).action((named: string, options: OperatorOptions & TokenOptions) =>
    withHost(context, options, named, async (client, host) => {
      const { jwt, expireTime } = await client.results.token(host, tokenRequest(options), { signal: context.signal });
      if (options.output === 'json') return writeJson(context, { token: jwt, expireTime: formatTime(expireTime) });
      context.write(`${jwt}\n`);
    }),
  );

  withTokenOptions(
    operatorCommand(context, token, 'verify [file]', 'check a token offline; - or nothing is standard input'),
  )
    .requiredOption('--jwks <file>', 'keys of the service: a file, or a https: address of the service of the profile')
    .option('--host <host>', 'the host that the token must be about, by its id')
    .addHelpText('after', VERIFY_EXIT_CODES)
    .action((file: string | undefined, options: VerifyOptions) => verify(context, file ?? '-', options));
}

/** Gives a command `--audience` and `--nonce`. */
export function withTokenOptions(command: Command): Command {
  return command
    .option('--audience <name>', 'who checks the token')
    .option('--nonce <base64url>', 'a nonce of 8 to 64 bytes that the token must carry', nonceOf);
}

export function tokenRequest({ audience, nonce }: TokenOptions): TokenOptions {
  return { ...(audience === undefined ? {} : { audience }), ...(nonce === undefined ? {} : { nonce }) };
}

function nonceOf(text: string): Buffer {
  const nonce = Buffer.from(text, 'base64url');
  if (nonce.toString('base64url') !== text || nonce.length < NONCE_BYTES.min || nonce.length > NONCE_BYTES.max) {
    throw new InvalidArgumentError('It must be 8 to 64 bytes in base64url without padding.');
  }
  return nonce;
}

async function verify(context: Context, file: string, options: VerifyOptions): Promise<void> {
  const jwt = (await readNamedFile(context, file, MAX_TOKEN_BYTES, 'token')).toString('latin1').trim();
  try {
    const keys = await parseJwks(await readJwks(context, options));
    const { host } = options;
    const expected = { keys, now: context.now(), ...(host === undefined ? {} : { host }), ...tokenRequest(options) };
    const verified = await verifyToken(jwt, expected);
    if (verified.kind === 'result' && verified.status !== 'affirming') context.setExitCode(EXIT.notAffirming);
    if (options.output === 'json')
      return writeJson(context, { verified: true, ...outdatedJson(verified, context), claims: verified.claims });
    context.write(describeToken(verified, context));
  } catch (error) {
    if (!(error instanceof TokenRefusal) || options.output !== 'json') throw error;
    const refusal: JsonObject = { verified: false, reason: error.code, message: error.message };
    writeJson(context, refusal);
    context.setExitCode(error.code === 'KEYS_UNREACHABLE' ? EXIT.unreachable : EXIT.failed);
  }
}

async function readJwks(context: Context, { jwks, profile }: VerifyOptions): Promise<Buffer> {
  if (!/^[a-z]+:\/\//i.test(jwks)) return readNamedFile(context, jwks, MAX_JWKS_BYTES, 'key set');
  const url = URL.canParse(jwks) ? new URL(jwks) : undefined;
  if (url?.protocol !== 'https:') throw new UsageError(`${jwks}: keys are fetched by https: alone`);
  const { authority } = await readProfile(context, profile);
  return context.fetchJwks(url, authority);
}

/** Since when verdicts that a report counts may have ended: the present counts may be worse. */
function outdatedSince(token: VerifiedToken, { now }: Context): Date | undefined {
  if (token.kind !== 'report') return undefined;
  const ended = token.report.earliestValidUntil;
  return ended !== undefined && ended.getTime() <= now().getTime() ? ended : undefined;
}

function outdatedJson(token: VerifiedToken, context: Context): JsonObject {
  const since = outdatedSince(token, context);
  return since === undefined ? {} : { outdatedSince: since.toISOString() };
}

function describeToken(token: VerifiedToken, context: Context): string {
  const { style } = context;
  const common: readonly (readonly [string, Cell])[] = [
    ['issuer', token.issuer],
    ['issued', formatTime(token.issued)],
    ['expires', formatTime(token.expires)],
    ['audience', token.audience ?? '-'],
    ['nonce', token.nonce ?? '-'],
    ['key', token.keyId],
  ];
  if (token.kind === 'report') {
    const since = outdatedSince(token, context);
    const outdated: readonly (readonly [string, Cell])[] =
      since === undefined
        ? []
        : [
            [
              'outdated',
              { text: `verdicts that it counts may have ended since ${formatTime(since)}`, colour: 'yellow' },
            ],
          ];
    const head = formatFields([['verified', 'platform report'], ...common, ...outdated], style);
    return `${head}\n${formatReport(token.report, style)}`;
  }
  const vector = Object.entries(token.vector).map(([name, value]) => `${name}=${value}`);
  return formatFields(
    [
      ['verified', 'attestation result'],
      ['host', token.host],
      ['status', statusCell(token.status.toUpperCase())],
      ['vector', vector.join(' ')],
      ['policy', token.policies.length === 0 ? '-' : token.policies.join(' ')],
      ['reasons', token.reasons.length === 0 ? '-' : token.reasons.join(',')],
      ['ak', token.akName],
      ['evidence', token.evidenceDigest ?? '-'],
      ...common,
    ],
    style,
  );
}
