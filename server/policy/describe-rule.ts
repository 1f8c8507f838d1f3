/** Words that every kind of rule shares. */

/** Values of one rule that a sentence names. */
const NAMED_VALUES = 3;

/** What follows where a rule is not kept, and the operator's own sentence. */
export interface Consequence {
  readonly severity: 'warning' | 'contraindicated';
  readonly message: string;
}

/** A sentence: what is required, what follows otherwise, and what the operator says of it. */
export function describeRule(requirement: string, { severity, message }: Consequence): string {
  const otherwise = severity === 'warning' ? 'that is a warning' : 'the host is contraindicated';
  return `${requirement}; else ${otherwise}.${message === '' ? '' : ` ${message}`}`;
}

/** The first few values, and how many more there are. */
export function nameValues(values: readonly string[]): string {
  const more = values.length > NAMED_VALUES ? ` and ${values.length - NAMED_VALUES} more` : '';
  return `${values.slice(0, NAMED_VALUES).join(', ')}${more}`;
}
