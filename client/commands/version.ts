import type { Command } from 'commander';
import type { Context } from './context.ts';

/** `assay version`. */
export function addVersionCommand(context: Context, program: Command): void {
  program
    .command('version')
    .description('print the version')
    .action(() => context.write(`assay ${context.version}\n`));
}
