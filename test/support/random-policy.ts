/** Policies and changes of PCRs that are drawn, for properties of appraisals. */
import { digestSize } from '../../tpm/crypto/digest.ts';
import { hashAlgorithmByName } from '../../tpm/structures/constants.ts';
import type { TrustPolicy } from '../../server/policy/policy.ts';
import { NO_RULES, RULE, SIGNERS } from './booted-machine.ts';
import { makePolicy } from './make-policy.ts';
import type { SeededRandom } from './seeded-random.ts';
import type { SoftwareTpm } from './software-tpm.ts';

const BANKS = ['sha256', 'sha384'] as const;
const PCRS = [4, 7, 9, 11, 14] as const;
const POLICIES = ['one', 'two', 'three'] as const;

/** A policy with rules of all kinds, whose allowed values some hosts hold. */
export function randomPolicy(random: SeededRandom, tpms: readonly SoftwareTpm[]): TrustPolicy {
  const severity = () => random.pick(['warning', 'contraindicated'] as const);
  const places = BANKS.flatMap((bank) => PCRS.map((index) => ({ bank, index })));
  const chosen = places.filter(() => random.below(6) === 0);
  const withBoot = random.below(3) === 0 || chosen.length === 0;
  const valueOf = ({ bank, index }: (typeof places)[number]): string => {
    const alg = hashAlgorithmByName(bank)?.alg ?? 0;
    const held = random.pick(tpms).pcrs.get(alg)?.get(index);
    return (random.below(4) === 0 ? undefined : held)?.toString('hex') ?? '00'.repeat(digestSize(alg));
  };
  return makePolicy({
    id: random.pick(POLICIES),
    selector:
      random.below(2) === 0
        ? { allHosts: true, matchLabels: {} }
        : { allHosts: false, matchLabels: { kind: random.pick(['a', 'b']) } },
    precedence: random.below(3),
    pcrRules: chosen.map((place) => ({
      ...place,
      allowed: [...new Set([valueOf(place), valueOf(place), valueOf(place)])],
      severity: severity(),
      message: '',
    })),
    quote: { allowUnendorsed: random.below(2) === 0 },
    ...(withBoot
      ? {
          boot: {
            ...NO_RULES,
            secureBoot: random.below(2) === 0 ? { ...RULE, severity: severity() } : undefined,
            allowedSigners: {
              ...RULE,
              severity: severity(),
              certificates: random.below(2) === 0 ? SIGNERS : [SIGNERS[0]],
            },
          },
        }
      : {}),
  });
}

/** Extends a PCR in every bank of a TPM, now and then in one alone. Returns which. */
export function moveOne(random: SeededRandom, tpm: SoftwareTpm): number {
  const pcr = random.pick(PCRS);
  const banks = [...tpm.pcrs.keys()];
  for (const hash of random.below(4) === 0 ? [random.pick(banks)] : banks) {
    tpm.extend(pcr, Buffer.alloc(digestSize(hash), 1), hash);
  }
  return pcr;
}
