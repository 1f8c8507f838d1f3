/** What the offline tools find: the codes are those of the service where the service makes the same check. */
export interface OfflineFinding {
  readonly code: string;
  /** An error says that what the finding names must not be believed. */
  readonly severity: 'error' | 'warning' | 'info';
  /** May quote what a file says, unescaped: whoever shows it to a person escapes it. */
  readonly message: string;
}

export function offlineFinding(code: string, severity: OfflineFinding['severity'], message: string): OfflineFinding {
  return { code, severity, message };
}

export function hasErrors(findings: readonly Pick<OfflineFinding, 'severity'>[]): boolean {
  return findings.some(({ severity }) => severity === 'error');
}
