/** The claims of one appraisal, as expressions see them: nothing but what is proven, or set by operators. */
import { keptCommandLine, looseArguments, splitCommandLine } from '../../tpm/eventlog/kernel-arguments.ts';
import { algorithmName, hashAlgorithmByName } from '../../tpm/structures/constants.ts';
import type { ProvenPcrValues } from '../../tpm/crypto/pcr.ts';
import type { EkRecord, HostRecord } from '../store/records.ts';
import type { VerifiedBoot } from '../verifier/verify-boot.ts';
import type { BootEvidence } from './appraise-boot.ts';
import type { RuntimeEvidence } from './appraise-runtime.ts';
import { findVerificationDoubt, parseSbatLevel } from './boot-checks.ts';
import { CLAIM_TYPES } from './claims-model.ts';
import type { NamedPcr } from './compile-expression.ts';
import { message, Unproven } from './expression-value.ts';
import type { ClaimValue } from './expression-value.ts';
import { revokedBy } from './revoked-by.ts';
import { claimsIfValid, claimsLeftOpen, runtimeClaims } from './runtime-claims.ts';
import type { RuntimeRules } from './runtime-rules.ts';

/** What is known of a host besides its evidence; nothing of it is what the host says of itself. */
export interface HostFacts {
  readonly host: Pick<HostRecord, 'nodeName' | 'labels' | 'admission'> & {
    /** The AK's parent first. */
    readonly eks: readonly Pick<EkRecord, 'algorithm' | 'manufacturer' | 'model' | 'deviations'>[];
  };
  /** Trust anchors certify every EK now. */
  readonly certified: boolean;
}

export interface ClaimSources {
  /** Null while a host enrols. */
  readonly facts: HostFacts | null;
  readonly endorsed: boolean;
  readonly revoked: string | null;
  readonly firmwareVersion: bigint;
  readonly resetCount: number;
  readonly restartCount: number;
  /** TPM_ALG_ID. */
  readonly banks: ReadonlySet<number>;
  readonly banksProven: boolean;
  readonly pcrs: ProvenPcrValues | null;
  readonly boot: BootEvidence;
  readonly runtime: RuntimeEvidence | null;
}

/** What of a policy decides which claims there are. */
export interface ClaimDemand {
  /** Those that expressions name; others are not copied. */
  readonly pcrs: readonly NamedPcr[];
  /** Those that the list was judged by. */
  readonly runtimeRules: RuntimeRules | null;
}

type Claims = ReadonlyMap<string, ClaimValue>;

export function claimsOf(sources: ClaimSources, { pcrs, runtimeRules }: ClaimDemand): Claims {
  return new Map<string, ClaimValue>([
    ['identity', identityClaims(sources)],
    ['tpm', tpmClaims(sources)],
    ['pcrs', pcrClaims(sources, pcrs)],
    ['boot', bootClaims(sources.boot)],
    ['runtime', runtimeClaims(sources.runtime, runtimeRules)],
    ['host', hostClaims(sources)],
  ]);
}

/** What the claims may be: these alone, or also as if what is not known of the list were as good as it may be, and with that left open. */
export function possibleClaims(
  claims: Claims,
  { runtime }: ClaimSources,
  { runtimeRules }: ClaimDemand,
): readonly Claims[] {
  const best = claimsIfValid(runtime, runtimeRules);
  if (best === null) return [claims];
  const worst = claims.get('runtime') ?? best;
  return [claims, ...[best, claimsLeftOpen(worst, best)].map((value) => new Map(claims).set('runtime', value))];
}

const ENROLLING = 'not known before the host is admitted';

function identityClaims({ facts, endorsed, revoked }: ClaimSources): ClaimValue {
  if (facts === null) return new Unproven(ENROLLING);
  const { admission, eks } = facts.host;
  // Names in a certificate that nobody vouches for are the host's own word.
  const certified = facts.certified && revoked === null;
  return message({
    endorsed,
    revoked: revoked !== null,
    admission,
    ek_algorithms: eks.map(({ algorithm }) => algorithm),
    manufacturer: certified ? nameOf(eks[0]?.manufacturer) : undefined,
    model: certified ? nameOf(eks[0]?.model) : undefined,
    deviations: certified ? [...new Set(eks.flatMap(({ deviations }) => deviations))] : undefined,
  });
}

function nameOf(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}

function tpmClaims({ firmwareVersion, resetCount, restartCount, banks, banksProven }: ClaimSources): ClaimValue {
  return message({
    firmware_version: firmwareVersion,
    reset_count: BigInt(resetCount),
    restart_count: BigInt(restartCount),
    active_banks: banksProven ? [...banks].map(algorithmName) : new Unproven('not proven since the last reset'),
  });
}

function pcrClaims({ pcrs }: ClaimSources, named: readonly NamedPcr[]): ClaimValue {
  if (pcrs === null) return new Unproven('the quote does not cover what was asked for');
  const banks = new Map<string, Map<string | bigint, ClaimValue>>();
  for (const { bank, index } of named) {
    const algorithm = hashAlgorithmByName(bank)?.alg;
    const value = algorithm === undefined ? undefined : pcrs.get(algorithm)?.get(index);
    if (value === undefined) continue;
    const values = banks.get(bank) ?? new Map<string | bigint, ClaimValue>();
    banks.set(bank, values.set(BigInt(index), value.toString('hex')));
  }
  return banks;
}

function hostClaims({ facts }: ClaimSources): ClaimValue {
  if (facts === null) return new Unproven(ENROLLING);
  const { nodeName, labels } = facts.host;
  return message({ node_name: nameOf(nodeName), labels: new Map(Object.entries(labels)) });
}

function bootClaims(boot: BootEvidence): ClaimValue {
  switch (boot.kind) {
    case 'verified':
      return claimsOfBoot(boot.boot);
    case 'none':
      return new Unproven('the boot log of this boot has not come yet');
    default:
      return new Unproven(`no verified boot log (${boot.finding.reason})`);
  }
}

/** Equal boots are one object: a fleet of equal machines is read once. */
const read = new WeakMap<VerifiedBoot, Claims>();

function claimsOfBoot(boot: VerifiedBoot): Claims {
  const known = read.get(boot);
  if (known !== undefined) return known;
  const fields = { ...readBoot(boot) };
  for (const [name, { pcrs = [] }] of Object.entries(CLAIM_TYPES['Boot'] ?? {})) {
    const doubt = doubtOf(boot, pcrs);
    if (doubt !== null) fields[name] = doubt;
  }
  const claims = message(fields);
  read.set(boot, claims);
  return claims;
}

function doubtOf({ sha1Only, unexplained }: VerifiedBoot, pcrs: readonly number[]): Unproven | null {
  if (sha1Only) return new Unproven('no active bank but sha1');
  const hidden = pcrs.filter((pcr) => unexplained.includes(pcr));
  return hidden.length === 0 ? null : new Unproven(`PCR ${hidden.join(', ')} extended by more than the log says`);
}

function readBoot(boot: VerifiedBoot): Record<string, ClaimValue | undefined> {
  const { secureBoot, images } = boot;
  const line = commandLineOf(boot);
  const doubt = findVerificationDoubt(secureBoot);
  const ifVerified = (claim: ClaimValue | undefined): ClaimValue | undefined =>
    doubt === null ? claim : new Unproven(doubt);
  return {
    secure_boot: message({
      mode: secureBoot.mode === 'unknown' ? new Unproven('no verified SecureBoot variable') : secureBoot.mode,
      setup_mode: secureBoot.setupMode,
      audit_mode: secureBoot.auditMode,
      debug_mode: secureBoot.debugMode,
      used: !secureBoot.unused,
      shim_off: secureBoot.shimOff,
      mok_measurements: secureBoot.mokMeasurements,
    }),
    authorities: ifVerified(secureBoot.authorities.length === 0 ? undefined : secureBoot.authorities),
    sbat_level: ifVerified(secureBoot.sbatLevel === null ? undefined : generationsOf(secureBoot.sbatLevel)),
    dbx: secureBoot.dbx === null ? new Unproven('no verified dbx variable') : revokedBy(secureBoot.dbx),
    images: ifVerified(
      images.some(({ pcr }) => pcr === 4)
        ? images.map(({ pcr, digests }) => message({ pcr: BigInt(pcr), digests }))
        : undefined,
    ),
    command_line: line,
    kernel_arguments: typeof line === 'string' ? surelyRead(line) : line,
    any_arguments: typeof line === 'string' ? perhapsRead(line) : line,
  };
}

function surelyRead(line: string): readonly string[] {
  const kept = new Set(splitCommandLine(keptCommandLine(line)).kernel);
  return splitCommandLine(line).kernel.filter((argument) => kept.has(argument));
}

function perhapsRead(line: string): readonly string[] {
  const { kernel, init } = splitCommandLine(line);
  return [...new Set([...kernel, ...init, ...looseArguments(line)])];
}

function generationsOf(sbatLevel: string): Claims {
  return new Map([...parseSbatLevel(sbatLevel)].map(([component, generation]) => [component, BigInt(generation)]));
}

function commandLineOf({ commandLines, commandLineAmbiguous }: VerifiedBoot): ClaimValue | undefined {
  const [first, ...others] = new Set(commandLines.map(({ text }) => text));
  if (commandLines.length === 0) return undefined;
  if (commandLineAmbiguous || others.length > 0)
    return new Unproven('several command lines, or something unknown beside one');
  return typeof first === 'string' ? first : new Unproven('a command line whose text is not what was measured');
}
