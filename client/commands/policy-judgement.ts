import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import { describeFailure, EXIT, UsageError } from '../failure.ts';
import type { AssayClient } from '../sdk/client.ts';
import { resourceName } from '../sdk/page.ts';
import type { JsonObject } from '../sdk/resources.ts';
import type { SimulatedVerdict, SimulationSummary } from '../sdk/simulation.ts';
import { collectLabel, collectText, withService, writeJson } from './context.ts';
import type { Context, OperatorOptions } from './context.ts';
import { describeExplanation } from './explanation-text.ts';
import { hostCommand, hostsOf, withHost } from './host-argument.ts';
import { located, readPolicies } from './policy-file.ts';
import { describeSimulation } from './simulation-text.ts';

interface SimulateOptions extends OperatorOptions {
  readonly filename?: string;
  readonly delete?: string;
  readonly host?: string[];
  readonly label?: Record<string, string>;
  readonly limit?: number;
  readonly set?: Record<string, string>;
  readonly keyring?: Record<string, string>;
}

/** `assay policy simulate` and `assay policy explain`. */
export function addJudgementCommands(context: Context, policy: Command): void {
  hostCommand(
    context,
    policy,
    'simulate',
    'say whose verdict would change if a policy were applied or deleted, or a set or keyring were another; changes nothing. ' +
      'Exit code 0: no host gets worse; 1: some would, or it cannot be said of a host that is trusted now; 2 and above: error',
  )
    .option('-f, --filename <file>', 'YAML or JSON of the policy as it would be applied; - is standard input')
    .option('--delete <policy>', 'what would come of deleting this policy')
    .option('--set <set=candidate>', 'as if this reference set were the candidate; may be repeated', collectCandidate)
    .option('--keyring <keyring=candidate>', 'as if this keyring were the candidate; may be repeated', collectCandidate)
    .option('--host <host>', 'only this host; may be repeated', collectText)
    .option('--label <key=value>', 'only hosts with this label; may be repeated', collectLabel)
    .option('--limit <number>', 'list at most so many hosts (default 1000)', parseLimit)
    .action(async (options: SimulateOptions) => {
      try {
        await simulate(context, options);
      } catch (error) {
        // 1 says that hosts get worse, and a script acts on it: a failure must not look like that.
        const { exitCode, lines } = describeFailure(error);
        if (exitCode !== EXIT.failed || context.signal.aborted) throw error;
        for (const line of lines) context.writeError(`${line}\n`);
        context.setExitCode(EXIT.usage);
      }
    });

  hostCommand(context, policy, 'explain <host>', 'say which policy judges a host and why, and what of it holds').action(
    (named: string, options: OperatorOptions) =>
      withHost(context, options, named, async (client, host) => {
        const explanation = await client.policies.explain(host, { signal: context.signal });
        if (options.output === 'json') return writeJson(context, explanation.json);
        context.write(describeExplanation(explanation, context.style));
      }),
  );
}

type Simulated = { readonly verdicts: readonly SimulatedVerdict[]; readonly summary: SimulationSummary };

async function simulate(context: Context, options: SimulateOptions): Promise<void> {
  const { filename, delete: deleted } = options;
  const changes = [filename, deleted].filter((change) => change !== undefined).length;
  if (changes > 1) throw new UsageError('give either --filename or --delete');
  if (changes === 0 && substitutesOf(options).length === 0) {
    throw new UsageError('give --filename or --delete, or what --set and --keyring would be');
  }
  const documents = filename === undefined ? [] : await readPolicies(context, filename);
  if (documents.length > 1)
    throw new UsageError('one policy at a time: a simulation judges the effect of a single change');
  const [document] = documents;
  await withService(context, options, async (client) => {
    const found =
      document === undefined
        ? await run(context, client, { change: deleted === undefined ? null : { deleted }, options })
        : await located(document, () => run(context, client, { change: { policy: document.json }, options }));
    const { worseCount, unknownTrustedCount } = found.summary;
    if (worseCount > 0n || unknownTrustedCount > 0n) context.setExitCode(EXIT.failed);
    if (options.output === 'json') {
      return writeJson(context, { verdicts: found.verdicts.map(({ json }) => json), summary: found.summary.json });
    }
    context.write(describeSimulation(found, context.style));
  });
}

async function run(
  context: Context,
  client: AssayClient,
  {
    change,
    options,
  }: {
    readonly change: { readonly policy: JsonObject } | { readonly deleted: string } | null;
    readonly options: SimulateOptions;
  },
): Promise<Simulated> {
  const { host: named = [], label: matchLabels = {}, limit = 0 } = options;
  const hosts = await hostsOf(context, client, named);
  const verdicts: SimulatedVerdict[] = [];
  let summary: SimulationSummary | undefined;
  const events = client.policies.simulate(
    change,
    { hosts, matchLabels, maxVerdicts: limit, substitutes: substitutesOf(options) },
    { signal: context.signal },
  );
  for await (const event of events) {
    if (event.kind === 'verdict') verdicts.push(event.verdict);
    if (event.kind === 'summary') ({ summary } = event);
  }
  if (summary === undefined) throw new UsageError('the service ended the simulation before it was complete');
  return { verdicts, summary };
}

function substitutesOf({ set = {}, keyring = {} }: Pick<SimulateOptions, 'set' | 'keyring'>) {
  const named = (collection: string, pairs: Readonly<Record<string, string>>) =>
    Object.entries(pairs).map(([name, candidate]) => ({
      name: resourceName(collection, name),
      candidate: resourceName(collection, candidate),
    }));
  return [...named('referenceSets', set), ...named('keyrings', keyring)];
}

/** Of two candidates for one name neither is dropped unseen. */
function collectCandidate(text: string, before: Readonly<Record<string, string>> | undefined): Record<string, string> {
  const after = collectLabel(text, before);
  if (Object.keys(after).length === Object.keys(before ?? {}).length)
    throw new InvalidArgumentError('It must name each set or keyring once.');
  return after;
}

function parseLimit(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text) || Number(text) > 10_000)
    throw new InvalidArgumentError('It must be from 1 to 10000.');
  return Number(text);
}
