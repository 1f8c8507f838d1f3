import { appraise } from '../../../server/policy/appraise.ts';
import type { AppraisalInput } from '../../../server/policy/appraise.ts';
import { compileExpression } from '../../../server/policy/compile-expression.ts';
import { ExpressionProblem } from '../../../server/policy/expression-syntax.ts';
import { BASE, judgedBy, policy } from '../../server/policy/appraisal-input.ts';
import type { SeededRandom } from '../../support/seeded-random.ts';
import { mutant } from '../mutate.ts';
import { BrokenPromise, reader } from '../target.ts';
import type { Target } from '../target.ts';

const CORPUS = [
  'pcrs.sha256[7] == "00" && tpm.reset_count >= 3',
  'identity.endorsed && !identity.revoked || identity.admission in ["inventory", \'approval\']',
  'has(identity.manufacturer) ? identity.deviations.size() == 0 : "sha256" in tpm.active_banks',
  'host.labels["role"] == "compute" && ["a", "b"].exists(l, host.labels[l].startsWith("x"))',
  'boot.images.filter(i, i.pcr == 4).all(i, i.digests.exists(d, d in ["aa", "bb"]))',
  'boot.images.map(i, i.pcr).exists_one(p, p == 2) && boot.sbat_level["shim"] >= 0x04 // why',
  'size(boot.command_line) < 99 && !("debug" in boot.kernel_arguments) && r"\\d" != """a\nb"""',
  'boot.command_line.matches("(a+)+$") || cel.bind(x, 1u, x == 1.5e3) && dyn({"a": b"c"}).a == null',
].map((text) => Buffer.from(text));

const ATOMS = [
  'tpm.reset_count',
  'tpm.active_banks',
  'pcrs.sha256[7]',
  'host.labels["role"]',
  'host.labels["rack"]',
  'host.labels',
  'boot.images',
  'boot.sbat_level',
  'boot.secure_boot.mode',
  'identity.endorsed',
  'identity.ek_algorithms',
  'identity.deviations',
  '["a", "role"]',
  '"compute"',
  '3',
  'true',
];
const FORMS = [
  '(A && A)',
  '(A || A)',
  '(A == A)',
  '(A != A)',
  '(A < A)',
  '(A in A)',
  '!A',
  '(A ? A : A)',
  'size(A)',
  'has(A)',
  'A[A]',
  'A.all(x, A == x)',
  'A.exists(x, A)',
  'A.filter(x, A)',
  'A.map(x, A)',
  '[A, A]',
  'A.contains(A)',
];

/** Something that the grammar takes; the types of some of them fit. */
function sentence(random: SeededRandom, depth: number): string {
  if (depth === 0 || random.below(4) === 0) return random.pick(ATOMS);
  return random.pick(FORMS).replaceAll('A', () => sentence(random, depth - 1));
}

/** A host of which next to nothing is known: no expression over it may be anything but its own outcome. */
function inputFor(expression: string): AppraisalInput {
  const rule = { id: 'fuzz', expression, claim: 'executables', severity: 'contraindicated', message: '' } as const;
  return {
    ...BASE,
    ...judgedBy({ ...policy([{}]), pcrRules: [], expressions: [rule] }),
    pcrs: null,
    facts: {
      host: { nodeName: '', labels: { role: 'compute', a: 'x1' }, admission: 'inventory', eks: [] },
      certified: false,
    },
  };
}

export function expressionTargets(): Readonly<Record<string, () => Target>> {
  return {
    /** As it is applied, and then as each round judges by it. */
    expression: () => ({
      ...reader(CORPUS, [ExpressionProblem], (input) => {
        const text = input.toString('utf8');
        const { pcrs, bootPcrs } = compileExpression(text);
        if (pcrs.some(({ index }) => !(index >= 0 && index <= 23))) throw new BrokenPromise('a PCR that is none');
        const { status, checks } = appraise(inputFor(text));
        const check = checks.find(({ id }) => id === 'expression.fuzz');
        if (check === undefined) throw new BrokenPromise('an expression that nobody judged');
        if (check.outcome !== 'passed' && status === 'affirming') throw new BrokenPromise('affirmed all the same');
        if (bootPcrs !== null && status === 'affirming')
          throw new BrokenPromise('affirmed without the boot it asks for');
        if (check.observed.length > 1024) throw new BrokenPromise('too much to show');
      }),
      next: (random) => (random.below(2) === 0 ? mutant(CORPUS, random) : Buffer.from(sentence(random, 4))),
    }),
  };
}
