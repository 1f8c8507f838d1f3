import type { HostState, Labels, TrustStatus } from './records.ts';

/** Which hosts and results a reader asks for, and which there are for him at all. */

/** All parts must hold; an empty one lets everything through. */
export interface ResultFilter {
  readonly hostIds: readonly string[];
  readonly statuses: readonly TrustStatus[];
  /** Of the policy behind the verdict. */
  readonly policyIds: readonly string[];
  readonly matchLabels: Labels;
  /** Labels of the hosts that the reader sees, whatever else is asked for. */
  readonly scope: Labels;
}

/** A host by the service's name for it, or by the operator's. */
export type HostNamed = { readonly hostId: string } | { readonly nodeName: string };

export interface HostFilter {
  readonly states: readonly HostState[];
  readonly matchLabels: Labels;
  /** Labels of the hosts that the reader sees. */
  readonly scope: Labels;
}
