import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { EXIT, UsageError } from '../failure.ts';
import { escapeText, formatLabels, formatTable, formatTime, idOf } from '../output.ts';
import type { AssayClient } from '../sdk/client.ts';
import type { JsonObject, JsonValue, PolicyProblem, TrustPolicy } from '../sdk/resources.ts';
import { collect, operatorCommand, tell, tellDone, withService, writeJson } from './context.ts';
import type { Context, OperatorOptions } from './context.ts';
import { located, readPolicies } from './policy-file.ts';
import type { PolicyDocument } from './policy-file.ts';
import { addJudgementCommands } from './policy-judgement.ts';
import { addPolicyLearnCommand } from './policy-learn.ts';

interface FileOptions extends OperatorOptions {
  readonly filename: string;
}

/** `assay policy`. */
export function addPolicyCommands(context: Context, program: Command): void {
  const policy = program.command('policy').description('trust policies');

  operatorCommand(context, policy, 'apply', 'make a policy, or a new version of it')
    .requiredOption('-f, --filename <file>', 'YAML or JSON of one policy or several; - is standard input')
    .action(async (options: FileOptions) => {
      const documents = await readPolicies(context, options.filename);
      await withService(context, options, async (client) => {
        // Of several policies none is applied that stands beside a bad one.
        if (documents.length > 1) await refuseProblems(context, client, documents);
        const applied: JsonObject[] = [];
        for (const document of documents) {
          const { created, policy: result } = await located(document, () =>
            client.policies.apply(document.json, { signal: context.signal }),
          );
          applied.push(result.json);
          tell(context, options, `${created ? 'created' : 'updated'} ${idOf(result.name)}, version ${result.version}`);
        }
        if (options.output === 'json') writeJson(context, { trustPolicies: applied });
      });
    });

  operatorCommand(context, policy, 'validate', 'say what is wrong with a policy, if anything; changes nothing')
    .requiredOption('-f, --filename <file>', 'YAML or JSON of one policy or several; - is standard input')
    .action(async (options: FileOptions) => {
      const documents = await readPolicies(context, options.filename);
      await withService(context, options, async (client) => {
        const problems = await findProblems(context, client, documents);
        if (problems.length > 0) context.setExitCode(EXIT.failed);
        if (options.output === 'json') {
          return writeJson(context, { problems: problems.map(({ field, message }) => ({ field, message })) });
        }
        for (const { place } of problems) context.write(`${escapeText(place)}\n`);
        if (problems.length === 0) tell(context, options, 'no problems');
      });
    });

  addPolicyLearnCommand(context, policy);

  operatorCommand(context, policy, 'get <policy>', 'show a policy as it can be applied again')
    .option('--version <number>', 'an older version', parseVersion)
    .action((name: string, options: OperatorOptions & { readonly version?: bigint }) =>
      withService(context, options, async (client) => {
        const version = options.version === undefined ? {} : { version: options.version };
        const { json } = await client.policies.get(name, version, { signal: context.signal });
        if (options.output === 'json') return writeJson(context, json);
        context.write(stringify(escapeStrings(json), { lineWidth: 120 }));
      }),
    );

  operatorCommand(context, policy, 'list', 'list policies').action((options: OperatorOptions) =>
    withService(context, options, async (client) => {
      const policies = await collect(client.policies.list({ signal: context.signal }));
      if (options.output === 'json') return writeJson(context, { trustPolicies: policies.map(({ json }) => json) });
      const header = ['POLICY', 'VERSION', 'PRECEDENCE', 'SELECTS', 'RULES', 'MADE', 'DESCRIPTION'];
      context.write(formatTable(header, policies.map(rowOf), context.style));
    }),
  );

  operatorCommand(
    context,
    policy,
    'delete <policy>',
    'delete a policy; hosts that it judged have no verdict then',
  ).action((name: string, options: OperatorOptions) =>
    withService(context, options, async (client) => {
      await client.policies.delete(name, {}, { signal: context.signal });
      tellDone(context, options, `deleted ${idOf(name)}`);
    }),
  );

  addJudgementCommands(context, policy);
}

type PlacedProblem = PolicyProblem & { readonly place: string };

/** What the service sees in each policy, with its place in the file. */
async function findProblems(
  context: Context,
  client: AssayClient,
  documents: readonly PolicyDocument[],
): Promise<readonly PlacedProblem[]> {
  const problems: PlacedProblem[] = [];
  for (const document of documents) {
    // oxlint-disable-next-line no-await-in-loop -- a file of many policies is no flood
    const found = await client.policies.validate(document.json, { signal: context.signal });
    problems.push(...found.map((problem) => ({ ...problem, place: document.locate(problem) })));
  }
  return problems;
}

async function refuseProblems(
  context: Context,
  client: AssayClient,
  documents: readonly PolicyDocument[],
): Promise<void> {
  const problems = (await findProblems(context, client, documents)).map(({ place }) => place);
  if (problems.length > 0) throw new UsageError('POLICY_INVALID: no policy of the file was applied', { problems });
}

function rowOf(policy: TrustPolicy): readonly string[] {
  return [
    idOf(policy.name),
    policy.version.toString(),
    policy.precedence.toString(),
    policy.allHosts ? 'all hosts' : formatLabels(policy.matchLabels),
    policy.ruleCount.toString(),
    formatTime(policy.createTime),
    policy.description,
  ];
}

/** YAML writes some characters as they are that a terminal must not see. What is unusual enough to be changed shows as changed. */
function escapeStrings(value: JsonValue): JsonValue {
  if (typeof value === 'string')
    return /[\p{C}\p{Zl}\p{Zp}\p{DI}]/u.test(value.replaceAll('\n', '')) ? escapeText(value) : value;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return (value as readonly JsonValue[]).map(escapeStrings);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [escapeText(key), escapeStrings(item)]));
}

function parseVersion(text: string): bigint {
  if (!/^[1-9]\d{0,18}$/.test(text)) throw new InvalidArgumentError('It must be a positive number.');
  return BigInt(text);
}
