import type { Command } from 'commander';
import { isHostId } from '../../proto/certificate-profile.ts';
import type { AssayClient } from '../sdk/client.ts';
import { operatorCommand, withService } from './context.ts';
import type { Context, OperatorOptions } from './context.ts';

const HELP = `
A host is named by its id (h-…, or hosts/h-…) or by the node name that an operator gave it.
`;

/** A command of an operator that names hosts. */
export function hostCommand(context: Context, parent: Command, usage: string, description: string): Command {
  return operatorCommand(context, parent, usage, description).addHelpText('after', HELP);
}

/** Connects as the profile says, and finds the host that an argument names. */
export function withHost<T>(
  context: Context,
  options: OperatorOptions,
  named: string,
  use: (client: AssayClient, host: string) => Promise<T>,
): Promise<T> {
  return withService(context, options, async (client) => use(client, await hostOf(context, client, named)));
}

/** A node name has no slash: what begins so is a host, and the service says so where it is none. */
export function isHostName(text: string): boolean {
  return text.startsWith('hosts/') || isHostId(text);
}

/**
 * The host that an argument names, by its id or by the operator's name for it: a node name is asked for, among the hosts that the
 * caller sees. Throws RpcError NOT_FOUND where none of them has it.
 */
export async function hostOf(context: Context, client: AssayClient, text: string): Promise<string> {
  if (isHostName(text)) return text;
  return (await client.results.get({ nodeName: text }, { signal: context.signal })).host;
}

/** The same for several, in their order. */
export async function hostsOf(context: Context, client: AssayClient, texts: readonly string[]): Promise<string[]> {
  const hosts: string[] = [];
  // oxlint-disable-next-line no-await-in-loop -- a hundred at the most, and no crowd of calls for them
  for (const text of texts) hosts.push(await hostOf(context, client, text));
  return hosts;
}
