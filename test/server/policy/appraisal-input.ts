/** An appraisal of a good host; a test changes what it is about. */
import type { ProvenPcrValues } from '../../../tpm/crypto/pcr.ts';
import { TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import type { AppraisalInput } from '../../../server/policy/appraise.ts';
import { resolvePolicyDraft } from '../../../server/policy/policy.ts';
import type { PcrRule, TrustPolicy } from '../../../server/policy/policy.ts';
import type { EkRecord } from '../../../server/store/records.ts';
import { checkClock } from '../../../server/verifier/check-clock.ts';
import { passed } from '../../../server/verifier/finding.ts';
import { verifyEvidence } from '../../../server/verifier/verify-evidence.ts';
import { demandOf, makeEvidence } from '../../support/evidence-builder.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';

export const ZERO = '00'.repeat(32);
export const ONE = '11'.repeat(32);

export function policy(rules: readonly Partial<PcrRule>[], quote: Partial<TrustPolicy['quote']> = {}): TrustPolicy {
  const outcome = resolvePolicyDraft({
    id: 'base',
    description: '',
    selector: { matchLabels: {}, allHosts: true },
    precedence: 0,
    quote: {
      interval: undefined,
      validity: undefined,
      disconnectGrace: undefined,
      allowUnprovenBanks: false,
      allowUnendorsed: false,
      ...quote,
    },
    pcrRules: rules.map((rule) => ({
      bank: 'sha256',
      index: 7,
      allowed: [ZERO],
      severity: 'contraindicated',
      message: '',
      ...rule,
    })),
  });
  if ('problems' in outcome) throw new Error(JSON.stringify(outcome.problems));
  return outcome.policy;
}

const tpm = new SoftwareTpm();
const ak = tpm.createAk();
const extraData = Buffer.alloc(32, 1);

/** Values that a quote proves: what the TPM holds. */
function proven(): ProvenPcrValues {
  const outcome = verifyEvidence(makeEvidence(tpm, ak, extraData), demandOf(ak, extraData));
  if (outcome.kind !== 'verified' || outcome.evidence.pcrs === null) throw new Error('evidence was not verified');
  return outcome.evidence.pcrs;
}

const EK: EkRecord = {
  fingerprint: 'ab'.repeat(32),
  publicArea: '',
  algorithm: 'RSA-2048',
  certificate: '30',
  chain: [],
  certified: true,
  manufacturer: 'STM',
  model: 'ST33',
  deviations: [],
};

export const EPOCHS = { policy: 1, endorsement: 1 };
export const BASE: AppraisalInput = {
  applicable: { kind: 'policy', policy: policy([{}]), version: 4, references: [] },
  epochs: EPOCHS,
  findings: [passed('quote', 'the quote is good'), passed('clock', 'the clock went forward', 'clock 1000')],
  pcrs: proven(),
  boot: { kind: 'none' },
  runtime: null,
  banks: new Set([TPM_ALG_SHA256]),
  banksProven: true,
  endorsed: true,
  revoked: null,
  standing: [],
  akName: '000b',
  firmwareVersion: 0x0007_0002_0003_0001n,
  resetCount: 3,
  restartCount: 1,
  facts: {
    host: { nodeName: 'node-7', labels: { role: 'compute' }, admission: 'certificate', eks: [EK] },
    certified: true,
  },
};

export const judgedBy = (given: TrustPolicy): Partial<AppraisalInput> => ({
  applicable: { kind: 'policy', policy: given, version: 1, references: [] },
});

/** A finding of a clock that went back. */
export const regressed = checkClock(
  { clock: 1n, resetCount: 1, restartCount: 0 },
  { clock: 2n, resetCount: 1, restartCount: 0 },
);
