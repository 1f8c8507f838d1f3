/**
 * What one check found about evidence that is the host's. `reason` is a stable code, `message` a sentence for people;
 * docs/reasons.md lists them. Its shape is that of a check in a result, so that nothing is lost on the way.
 */
export interface Finding {
  readonly id: string;
  /** 'error': could not be evaluated, which is neither. */
  readonly outcome: 'passed' | 'failed' | 'error';
  readonly reason: string;
  readonly observed: string;
  readonly expected: string;
  readonly message: string;
}

export function passed(id: string, message: string, observed = ''): Finding {
  return { id, outcome: 'passed', reason: '', observed, expected: '', message };
}

export function failed(id: string, finding: Omit<Finding, 'id' | 'outcome'>): Finding {
  return { id, outcome: 'failed', ...finding };
}

export function unevaluated(id: string, finding: Omit<Finding, 'id' | 'outcome'>): Finding {
  return { id, outcome: 'error', ...finding };
}
