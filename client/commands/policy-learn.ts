import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import { UsageError } from '../failure.ts';
import { formatJson, idOf } from '../output.ts';
import { learnBoot } from '../policies/learn-boot.ts';
import type { LearnedPart } from '../policies/learn-boot.ts';
import { mergePolicy } from '../policies/merge-policy.ts';
import { policyOf, writePolicy } from '../policies/write-policy.ts';
import type { BootReport } from '../sdk/boot-report.ts';
import { readNamedFile, tell, writeJson, writeNamedFile } from './context.ts';
import type { Context, OperatorOptions } from './context.ts';
import { hostCommand, withHost } from './host-argument.ts';
import { MAX_POLICY_BYTES, parsePolicyFile } from './policy-file.ts';

interface LearnOptions extends OperatorOptions {
  readonly name?: string;
  readonly pcrs?: readonly number[];
  readonly bank?: string;
  readonly secureBoot?: true;
  readonly signers?: true;
  readonly images?: true;
  readonly sbat?: true;
  readonly commandLine?: true;
  readonly merge?: string;
  readonly out?: string;
}

/** `assay policy learn`. */
export function addPolicyLearnCommand(context: Context, policy: Command): void {
  hostCommand(context, policy, 'learn <host>', 'write a policy that the proven present boot of a host satisfies')
    .option('--name <policy>', "name of the policy; default the host's id")
    .option('--pcrs <list>', 'PCRs whose values are taken, such as 0,2,4,7 (the default)', parsePcrs)
    .option('--bank <bank>', 'bank of the values; default sha256 where it is active, else the strongest', parseBank)
    .option('--secure-boot', 'that Secure Boot was on')
    .option('--signers', 'who vouched for what booted')
    .option('--images', 'the boot applications')
    .option('--sbat', "shim's revocation level")
    .option('--command-line', 'the command line of the kernel')
    .option('--merge <file>', 'add the values to the lists of this policy instead; - is standard input')
    .option('-o, --out <file>', 'write here instead of to standard output')
    .addHelpText('after', '\nWithout --pcrs, --secure-boot and so on everything is taken that is proven.\n')
    .action(async (id: string, options: LearnOptions) => {
      if (options.merge !== undefined && (options.name !== undefined || options.bank !== undefined))
        throw new UsageError('--merge keeps the name and the banks of the policy: leave --name and --bank out');
      await refuseOverwriting(context, options);
      await withHost(context, options, id, async (client, host) => {
        const report = await client.results.boot(host, { signal: context.signal });
        const { text, sentence } =
          options.merge === undefined
            ? learn(context, options, report)
            : await merge(context, options, { report, file: options.merge });
        if (options.out === undefined) return context.write(text);
        await writeNamedFile(options.out, (path) => context.writeTextFile(path, text));
        if (options.output === 'json') writeJson(context, {});
        else tell(context, options, sentence);
      });
    });
}

interface Learned {
  readonly text: string;
  readonly sentence: string;
}

function learn(context: Context, options: LearnOptions, report: BootReport): Learned {
  const parts = partsOf(options);
  const boot = learnBoot(report, {
    ...(parts === undefined ? {} : { parts }),
    ...(options.pcrs === undefined ? {} : { pcrs: options.pcrs }),
    ...(options.bank === undefined ? {} : { bank: options.bank }),
  });
  const name = idOf(options.name ?? report.host);
  const text =
    options.output === 'json' ? `${formatJson(policyOf(boot, name))}\n` : writePolicy(boot, name, context.now());
  // What was written must be what `apply` reads.
  parsePolicyFile('learned policy', text);
  return { text, sentence: `learned ${name} from ${idOf(report.host)}; look at each value before it is applied` };
}

async function merge(
  context: Context,
  options: LearnOptions,
  { report, file }: { readonly report: BootReport; readonly file: string },
): Promise<Learned> {
  const before = (await readNamedFile(context, file, MAX_POLICY_BYTES, 'policy file')).toString('utf8');
  const shown = file === '-' ? 'standard input' : file;
  if (parsePolicyFile(shown, before).length !== 1)
    throw new UsageError(`${shown} holds several policies: merge into one`);
  const parts = partsOf(options);
  const { text, added } = mergePolicy(before, report, learnBoot(report, { pcrs: [] }), {
    ...(parts === undefined ? {} : { parts }),
    ...(options.pcrs === undefined ? {} : { pcrs: options.pcrs }),
  });
  const [after] = parsePolicyFile(shown, text);
  const values = `${added} ${added === 1 ? 'value' : 'values'}`;
  return {
    text: options.output === 'json' && after !== undefined ? `${formatJson(after.json)}\n` : text,
    sentence:
      added === 0
        ? `the lists of the policy have all of ${idOf(report.host)} already`
        : `added ${values} of ${idOf(report.host)}`,
  };
}

/** Undefined where no part was named. */
function partsOf(options: LearnOptions): ReadonlySet<LearnedPart> | undefined {
  const named: readonly (readonly [LearnedPart, boolean])[] = [
    ['pcrs', options.pcrs !== undefined],
    ['secureBoot', options.secureBoot === true],
    ['signers', options.signers === true],
    ['images', options.images === true],
    ['sbat', options.sbat === true],
    ['commandLine', options.commandLine === true],
  ];
  const parts = new Set(named.flatMap(([part, wanted]) => (wanted ? [part] : [])));
  return parts.size === 0 ? undefined : parts;
}

/** A policy that somebody wrote is not lost to a slip of the pen; the one that is merged into is meant. */
async function refuseOverwriting(context: Context, { out, merge: merged }: LearnOptions): Promise<void> {
  if (out === undefined || out === merged || !(await context.exists(out))) return;
  throw new UsageError(`${out} exists: write to another file, or --merge into it`);
}

function parsePcrs(text: string): readonly number[] {
  const pcrs = text.split(',').map((entry) => entry.trim());
  if (pcrs.some((entry) => !/^\d{1,2}$/.test(entry) || Number(entry) > 23))
    throw new InvalidArgumentError('It must be PCRs from 0 to 23, such as 0,2,4,7.');
  return [...new Set(pcrs.map(Number))].toSorted((left, right) => left - right);
}

function parseBank(text: string): string {
  if (!['sha1', 'sha256', 'sha384', 'sha512'].includes(text))
    throw new InvalidArgumentError('It must be one of sha1, sha256, sha384, sha512.');
  return text;
}
