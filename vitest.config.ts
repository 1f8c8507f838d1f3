import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

const grpcurl = join(import.meta.dirname, '.cache', 'grpcurl-v1.9.3', 'grpcurl');
const python = join(import.meta.dirname, '.cache', 'python');
const machine = join(import.meta.dirname, '.cache', 'machine', 'system');
const examples = ['go', 'python', 'rust', 'java'].filter((name) =>
  existsSync(join(import.meta.dirname, '.cache', 'examples', name)),
);

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Node strips the types itself, as it does when the programs run: what passes here runs there.
    experimental: { viteModuleRunner: false },
    pool: 'forks',
    maxWorkers: 2,
    // These end a hang and nothing else: a busy machine is no fault.
    testTimeout: 300_000,
    hookTimeout: 300_000,
    expect: { poll: { timeout: 60_000 } },
    env: {
      // Built by `npm test` where Go is; without it the tests that talk as a stranger's client use `buf curl` alone.
      ...(existsSync(grpcurl) ? { ASSAY_GRPCURL: grpcurl } : {}),
      // Made by `npm test` where Python is; without it the client in another language is not tested.
      ...(existsSync(join(python, 'requirements.txt')) ? { ASSAY_PYTHON: join(python, 'bin', 'python') } : {}),
      // Fetched by `npm test` where apt is; without it no machine boots with Secure Boot.
      ...(existsSync(machine) ? { ASSAY_MACHINE: machine } : {}),
      // Built by `npm test`, each where its language is; without them these clients are not tested.
      ASSAY_EXAMPLES: examples.join(' '),
    },
  },
});
