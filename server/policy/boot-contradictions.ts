/** Boot rules that no boot can satisfy together: who wrote them meant something else. */
import type { BootRulesDraft, CommandLineRule } from './boot-rules.ts';
import { findArgumentFault, isForbiddenArgument } from './command-line.ts';
import type { PolicyProblem } from './policy-problem.ts';

/** Each at the entry that can never count. */
export function bootContradictions(draft: BootRulesDraft): readonly PolicyProblem[] {
  const { allowedSigners, forbiddenSigners, allowedImages, forbiddenImages, commandLine } = draft;
  return [
    ...inBoth('boot.allowed_signers.certificates', allowedSigners?.certificates, forbiddenSigners?.certificates),
    ...inBoth('boot.allowed_images.digests', allowedImages?.digests, forbiddenImages?.digests),
    ...(commandLine === undefined ? [] : commandLineContradictions(commandLine)),
  ];
}

function inBoth(
  field: string,
  allowed: readonly string[] | undefined,
  forbidden: readonly string[] | undefined,
): readonly PolicyProblem[] {
  const refused = new Set(forbidden?.map((digest) => digest.toLowerCase()));
  return (allowed ?? []).flatMap((digest, position) =>
    refused.has(digest.toLowerCase()) ? [{ field: `${field}[${position}]`, message: 'is allowed and forbidden' }] : [],
  );
}

type Lines = Pick<CommandLineRule, 'allowed' | 'required' | 'forbidden'>;

function commandLineContradictions({ allowed, required, forbidden }: Lines): readonly PolicyProblem[] {
  const field = 'boot.command_line';
  const both = required.flatMap((argument, position) =>
    isForbiddenArgument(argument, forbidden)
      ? [{ field: `${field}.required[${position}]`, message: 'is required and forbidden' }]
      : [],
  );
  // What is wrong with the arguments is said once, and not again of each line.
  if (both.length > 0) return both;
  return allowed.flatMap((line, position) => {
    const fault = findArgumentFault(line.trim(), { required, forbidden });
    return fault === null
      ? []
      : [{ field: `${field}.allowed[${position}]`, message: `is allowed, and ${WORDS[fault.kind]} ${fault.argument}` }];
  });
}

const WORDS = {
  missing: 'lacks the required argument',
  excess: 'has the forbidden argument',
} as const;
