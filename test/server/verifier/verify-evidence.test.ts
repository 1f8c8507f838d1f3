import { describe, expect, it } from 'vitest';

import { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384, TPM_ECC_NIST_P256 } from '../../../tpm/structures/constants.ts';
import { makePcrSelection } from '../../../tpm/structures/pcr-selection.ts';
import type { PcrBankSelection } from '../../../tpm/structures/pcr-selection.ts';
import type { PcrValues } from '../../../tpm/crypto/pcr.ts';
import { verifyEvidence } from '../../../server/verifier/verify-evidence.ts';
import type { Evidence, VerifiedEvidence } from '../../../server/verifier/verify-evidence.ts';
import { demandOf, makeEvidence } from '../../support/evidence-builder.ts';
import { digestOf, SoftwareTpm } from '../../support/software-tpm.ts';
import type { AuditFields, QuoteFields } from '../../support/software-tpm.ts';
import { makeAk } from '../../support/tpm-keys.ts';

const tpm = new SoftwareTpm({ banks: [TPM_ALG_SHA256, TPM_ALG_SHA384] });
const ak = tpm.createAk();
const extraData = Buffer.alloc(32, 0xe4);
const SEVEN: readonly PcrBankSelection[] = [{ hash: TPM_ALG_SHA256, pcrs: [0, 7] }];

function verified(outcome: ReturnType<typeof verifyEvidence>): VerifiedEvidence {
  if (outcome.kind !== 'verified') throw new Error(`evidence was ${outcome.kind}`);
  return outcome.evidence;
}

function reasons({ findings }: VerifiedEvidence): readonly string[] {
  return findings.filter(({ outcome }) => outcome !== 'passed').map(({ reason }) => reason);
}

describe('valid evidence', () => {
  it('proves banks, PCR values and clock', () => {
    const evidence = verified(verifyEvidence(makeEvidence(tpm, ak, extraData), demandOf(ak, extraData)));
    expect(reasons(evidence)).toEqual([]);
    expect(evidence.banks).toEqual(tpm.activeBanks);
    expect(evidence.banksProven).toBe(true);
    expect(evidence.pcrs?.get(TPM_ALG_SHA384)?.size).toBe(24);
    expect(evidence.findings.map(({ id }) => id)).toEqual([
      'quote',
      'clock',
      'pcr-banks',
      'pcr-selection',
      'pcr-digest',
    ]);
  });

  it('of chosen PCRs proves those and says nothing of banks', () => {
    const quote = tpm.quote(ak, { extraData, selection: SEVEN });
    const given = { ...quote, pcrValues: tpm.read(SEVEN), bankProof: null };
    const evidence = verified(verifyEvidence(given, demandOf(ak, extraData, { selection: SEVEN })));
    expect(reasons(evidence)).toEqual([]);
    expect([...(evidence.pcrs?.get(TPM_ALG_SHA256)?.keys() ?? [])]).toEqual([0, 7]);
    expect(evidence.banks).toEqual([]);
    expect(evidence.banksProven).toBe(false);
  });

  it('takes inactive banks with empty bitmaps, and banks in any order, as the TPM returns them', () => {
    const lie = (truth: QuoteFields): QuoteFields => ({
      ...truth,
      attested: {
        ...truth.attested,
        pcrSelect: [makePcrSelection(TPM_ALG_SHA1, []), ...truth.attested.pcrSelect],
      },
    });
    const evidence = verified(
      verifyEvidence(makeEvidence(tpm, ak, extraData, { quote: lie }), demandOf(ak, extraData)),
    );
    expect(reasons(evidence)).toEqual([]);
  });
});

/** A quote over another selection than was asked for, its digest right for that selection. */
function quoting(selection: readonly PcrBankSelection[], asked: readonly PcrBankSelection[] | 'all') {
  const pcrSelect = selection.map(({ hash, pcrs }) => makePcrSelection(hash, pcrs));
  const lie = (truth: QuoteFields): QuoteFields => ({
    ...truth,
    attested: { pcrSelect, pcrDigest: digestOf(ak, pcrSelect, tpm.pcrs) },
  });
  const evidence: Evidence = {
    ...makeEvidence(tpm, ak, extraData, { quote: lie }),
    pcrValues: tpm.read(selection),
  };
  return verifyEvidence(evidence, demandOf(ak, extraData, { selection: asked }));
}

const [SHA256 = { hash: 0, pcrs: [] }, SHA384 = { hash: 0, pcrs: [] }] = tpm.activeBanks;

describe('a quote over another selection', () => {
  it.each([
    ['a missing bank', [SHA256], 'all'],
    ['a missing PCR', [{ ...SHA256, pcrs: SHA256.pcrs.slice(1) }, SHA384], 'all'],
    ['a bank that is there twice', [SHA256, SHA384, SHA256], 'all'],
    ['no bank at all', [], 'all'],
    ['a missing PCR of those asked for', [{ ...SHA256, pcrs: [7] }], SEVEN],
    ['an additional PCR', [{ ...SHA256, pcrs: [0, 7, 16] }], SEVEN],
    [
      'an additional bank',
      [
        { ...SHA256, pcrs: [0, 7] },
        { ...SHA384, pcrs: [7] },
      ],
      SEVEN,
    ],
    ['another bank', [{ ...SHA384, pcrs: [0, 7] }], SEVEN],
    [
      'the bank asked for, split in two',
      [
        { ...SHA256, pcrs: [0] },
        { ...SHA256, pcrs: [7] },
      ],
      SEVEN,
    ],
    ['an empty selection', [], SEVEN],
    ['an empty selection where an empty one was asked for', [], []],
  ] as const)('with %s proves no PCR value', (_name, selection, asked) => {
    const evidence = verified(quoting(selection, asked));
    expect(reasons(evidence)).toEqual(['PCR_SELECTION_MISMATCH']);
    expect(evidence.pcrs).toBeNull();
  });
});

describe('PCR values', () => {
  const all = tpm.read();
  const sha256 = all.get(TPM_ALG_SHA256) ?? new Map<number, Buffer>();
  const withBank = (change: (bank: Map<number, Buffer>) => void): PcrValues => {
    const bank = new Map(sha256);
    change(bank);
    return new Map([...all, [TPM_ALG_SHA256, bank]]);
  };
  it.each<[string, () => PcrValues]>([
    ['one missing', () => withBank((bank) => bank.delete(16))],
    ['a whole bank missing', () => new Map([[TPM_ALG_SHA256, sha256]])],
    ['none at all', () => new Map()],
    ['an additional bank', () => new Map([...all, [TPM_ALG_SHA1, new Map([[0, Buffer.alloc(20)]])]])],
    ['one of an index that no TPM has', () => withBank((bank) => bank.set(24, Buffer.alloc(32)))],
    ['a wrong one', () => withBank((bank) => bank.set(16, Buffer.alloc(32, 1)))],
    [
      'two that have changed places',
      () => withBank((bank) => bank.set(17, Buffer.alloc(32, 1)).set(16, Buffer.alloc(32))),
    ],
    ['one of another length', () => withBank((bank) => bank.set(16, Buffer.alloc(20)))],
  ])('with %s are torn from the quote: no verdict', (_name, pcrValues) => {
    const evidence = { ...makeEvidence(tpm, ak, extraData), pcrValues: pcrValues() };
    expect(verifyEvidence(evidence, demandOf(ak, extraData)).kind).toBe('torn');
  });

  it('that moved between quote and read are torn from the quote', () => {
    const moving = new SoftwareTpm();
    const signer = moving.createAk();
    const evidence = makeEvidence(moving, signer, extraData);
    moving.extend(10);
    expect(verifyEvidence({ ...evidence, pcrValues: moving.read() }, demandOf(signer, extraData)).kind).toBe('torn');
  });

  it('are proven by the hash that the AK signs with, whatever hash the bank has', () => {
    const strong = tpm.adopt(makeAk({ curveID: TPM_ECC_NIST_P256 }, { hashAlg: TPM_ALG_SHA384 }));
    const evidence = makeEvidence(tpm, strong, extraData);
    expect(verifyEvidence(evidence, demandOf(strong, extraData)).kind).toBe('verified');
  });
});

describe('the clock', () => {
  const { clock, resetCount, restartCount } = tpm.clockInfo;
  const at = (last: { clock?: bigint; resetCount?: number; restartCount?: number }) =>
    reasons(
      verified(
        verifyEvidence(
          makeEvidence(tpm, ak, extraData),
          demandOf(ak, extraData, { lastClock: { clock, resetCount, restartCount, ...last } }),
        ),
      ),
    );

  it.each([
    ['resetCount', { resetCount: resetCount + 1, restartCount: 0, clock: 0n }],
    ['restartCount', { restartCount: restartCount + 1, clock: 0n }],
    ['clock', { clock: clock + 3_600_000n }],
  ])('is a finding where %s went back', (_counter, last) => {
    expect(at(last)).toEqual(['CLOCK_REGRESSED']);
  });

  it.each([
    ['a reboot, however far its clock is behind', { resetCount: resetCount - 1, restartCount: 99, clock: 1n << 40n }],
    ['a resume, however far its clock is behind', { restartCount: restartCount - 1, clock: 1n << 40n }],
    ['time that passed', { clock: clock - 1n }],
    ['a quote at the very same moment', { clock: clock + 0n }],
  ])('goes forward by %s', (_what, last) => {
    expect(at(last)).toEqual([]);
  });
});

describe('a proof of the banks', () => {
  const proven = (change: (evidence: Evidence) => Evidence) =>
    verified(verifyEvidence(change(makeEvidence(tpm, ak, extraData)), demandOf(ak, extraData)));
  const lying = (lie: (truth: AuditFields) => AuditFields) =>
    verified(verifyEvidence(makeEvidence(tpm, ak, extraData, { banks: lie }), demandOf(ak, extraData)));
  const banks = tpm.proveBanks(ak, { extraData: demandOf(ak, extraData).bankExtraData });

  it.each<[string, () => VerifiedEvidence]>([
    ['that is missing', () => proven((evidence) => ({ ...evidence, bankProof: null }))],
    [
      'that is the quote itself',
      () => proven((evidence) => ({ ...evidence, bankProof: { ...banks, ...tpm.quote(ak, { extraData }) } })),
    ],
    [
      'of another boot',
      () =>
        lying((truth) => ({ ...truth, clockInfo: { ...truth.clockInfo, resetCount: truth.clockInfo.resetCount - 1 } })),
    ],
    [
      'of before a resume',
      () =>
        lying((truth) => ({
          ...truth,
          clockInfo: { ...truth.clockInfo, restartCount: truth.clockInfo.restartCount - 1 },
        })),
    ],
    ['with the extraData of the quote', () => lying((truth) => ({ ...truth, extraData }))],
    ['with the extraData of another challenge', () => lying((truth) => ({ ...truth, extraData: Buffer.alloc(32) }))],
    ['of another signer', () => lying((truth) => ({ ...truth, qualifiedSigner: tpm.createAk().qualifiedName }))],
    [
      'with other capability data',
      () => {
        const capabilityData = Buffer.from(banks.capabilityData);
        capabilityData.writeUInt8(0, capabilityData.length - 1);
        return proven((evidence) => ({ ...evidence, bankProof: { ...banks, capabilityData } }));
      },
    ],
    [
      'that lacks banks, as the TPM says itself',
      () => {
        const more = tpm.proveBanks(ak, { extraData: demandOf(ak, extraData).bankExtraData, moreData: true });
        return proven((evidence) => ({ ...evidence, bankProof: more }));
      },
    ],
    [
      'that hides that it lacks banks',
      () => {
        const more = tpm.proveBanks(ak, { extraData: demandOf(ak, extraData).bankExtraData, moreData: true });
        const capabilityData = Buffer.concat([Buffer.from([0]), more.capabilityData.subarray(1)]);
        return proven((evidence) => ({ ...evidence, bankProof: { ...more, capabilityData } }));
      },
    ],
    [
      'with no truth value for moreData',
      () => {
        const capabilityData = Buffer.concat([Buffer.from([2]), banks.capabilityData.subarray(1)]);
        return proven((evidence) => ({ ...evidence, bankProof: { ...banks, capabilityData } }));
      },
    ],
    [
      'without capability data',
      () => proven((evidence) => ({ ...evidence, bankProof: { ...banks, capabilityData: Buffer.alloc(0) } })),
    ],
    [
      'with a byte after its signature',
      () =>
        proven((evidence) => ({
          ...evidence,
          bankProof: { ...banks, signature: Buffer.concat([banks.signature, Buffer.from([0])]) },
        })),
    ],
    [
      'of another AK',
      () =>
        proven((evidence) => ({
          ...evidence,
          bankProof: tpm.proveBanks(tpm.createAk(), { extraData: demandOf(ak, extraData).bankExtraData }),
        })),
    ],
  ])('%s is BANKS_UNPROVEN, and the quote still proves its own banks', (_name, make) => {
    const evidence = make();
    expect(reasons(evidence)).toEqual(['BANKS_UNPROVEN']);
    expect(evidence.banksProven).toBe(false);
    expect(evidence.banks).toEqual(tpm.activeBanks);
    expect(evidence.pcrs).not.toBeNull();
  });

  it('tells a bank that the quote hides', () => {
    const lie = (truth: QuoteFields): QuoteFields => {
      const pcrSelect = truth.attested.pcrSelect.slice(0, 1);
      return { ...truth, attested: { pcrSelect, pcrDigest: digestOf(ak, pcrSelect, tpm.pcrs) } };
    };
    const evidence = makeEvidence(tpm, ak, extraData, { quote: lie });
    const hidden = { ...evidence, pcrValues: tpm.read([SHA256]) };
    expect(reasons(verified(verifyEvidence(hidden, demandOf(ak, extraData))))).toEqual(['PCR_SELECTION_MISMATCH']);
    const unproven = verified(verifyEvidence({ ...hidden, bankProof: null }, demandOf(ak, extraData)));
    expect(reasons(unproven)).toEqual(['BANKS_UNPROVEN']);
  });
});

describe('one flipped bit', () => {
  it.each([
    ['attest', (evidence: Evidence, bytes: Buffer): Evidence => ({ ...evidence, attest: bytes })],
    ['signature', (evidence: Evidence, bytes: Buffer): Evidence => ({ ...evidence, signature: bytes })],
  ] as const)('anywhere in %s is refused', (field, change) => {
    const evidence = makeEvidence(tpm, ak, extraData);
    const survivors: string[] = [];
    for (let position = 0; position < evidence[field].length * 8; position++) {
      const bytes = Buffer.from(evidence[field]);
      bytes.writeUInt8(bytes.readUInt8(position >> 3) ^ (1 << (position & 7)), position >> 3);
      try {
        survivors.push(`${verifyEvidence(change(evidence, bytes), demandOf(ak, extraData)).kind} at bit ${position}`);
      } catch (error) {
        if (!(error instanceof Error) || error.name !== 'EvidenceError') throw error;
      }
    }
    expect(survivors).toEqual([]);
  });

  it('anywhere in the proof of the banks leaves them unproven', () => {
    const evidence = makeEvidence(tpm, ak, extraData);
    const { bankProof } = evidence;
    if (bankProof === null) throw new TypeError('no proof');
    const survivors: string[] = [];
    for (const field of ['capabilityData', 'attest', 'signature'] as const) {
      for (let index = 0; index < bankProof[field].length; index++) {
        const bytes = Buffer.from(bankProof[field]);
        bytes.writeUInt8(bytes.readUInt8(index) ^ 0x10, index);
        const changed = { ...evidence, bankProof: { ...bankProof, [field]: bytes } };
        const outcome = verified(verifyEvidence(changed, demandOf(ak, extraData)));
        if (outcome.banksProven) survivors.push(`${field} at ${index}`);
      }
    }
    expect(survivors).toEqual([]);
  });
});
