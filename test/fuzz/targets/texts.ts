import { fromJson } from '@bufbuild/protobuf';
import type { JsonValue } from '@bufbuild/protobuf';

import { AgentError } from '../../../client/agent/agent-error.ts';
import { decodeState, encodeState } from '../../../client/agent/state-document.ts';
import { parseInventoryFile } from '../../../client/commands/inventory-file.ts';
import { parsePolicyFile } from '../../../client/commands/policy-file.ts';
import { UsageError } from '../../../client/failure.ts';
import { parsePcrFile } from '../../../client/inspect/eventlog-input.ts';
import { escapeText } from '../../../client/output.ts';
import { formatProfile, parseProfile } from '../../../client/sdk/profile.ts';
import { SdkError } from '../../../client/sdk/sdk-error.ts';
import { TrustPolicySchema } from '../../../proto/gen/assay/v1/trust_policy_pb.ts';
import { ConfigError, parseConfig } from '../../../server/config.ts';
import { resolvePolicyDraft } from '../../../server/policy/policy.ts';
import { policyDraftFromProto } from '../../../server/rpc/convert-policy.ts';
import { testKey } from '../../support/test-ca.ts';
import { makeRoot } from '../../support/test-ek-pki.ts';
import { BrokenPromise, reader } from '../target.ts';
import type { Target } from '../target.ts';

const POLICY = `name: trustPolicies/base
description: what every host must be
selector: {matchLabels: {kind: gpu, zone: a}}
precedence: 7
quote: {interval: 60s, validity: 180s, disconnectGrace: 30s}
pcrRules:
  - {bank: sha256, index: 7, allowed: ["${'00'.repeat(32)}"], severity: RULE_SEVERITY_WARNING, message: no}
  - {bank: sha384, index: 4, allowed: ["${'ff'.repeat(48)}"]}
---
name: trustPolicies/other
selector: {allHosts: true}
pcrRules: [{bank: sha256, index: 0, allowed: ["${'11'.repeat(32)}"]}]
`;
const BOOT_POLICY = `%YAML 1.2
---
name: trustPolicies/boot # what a boot must be
pcr_rules:
  - bank: sha256
    index: 4
    allowed:
      # firmware 1
      - ${'ab'.repeat(32)}
boot:
  secure_boot: {message: "no"}
  allowed_signers: {certificates: ['${'cd'.repeat(32)}']}
  forbidden_images: {digests: [${'ef'.repeat(32)}]}
  sbat_level: {minimum: {shim: 4}}
  command_line: {allowed: [/vmlinuz quiet], required: [quiet], forbidden: [init, "a=b"]}
`;
const RUNTIME_POLICY = `name: trustPolicies/runtime
runtime:
  files: {reference_sets: [referenceSets/base], keyrings: [keyrings/vendor], require_signature: true, excludes: ["/tmp/*"], unknown: RUNTIME_ACTION_WARNING}
  forbidden_files: {digests: ['${'ab'.repeat(32)}']}
  violations: {action: RUNTIME_ACTION_IGNORE, apply_excludes: true}
expressions:
  - {id: few, expression: 'runtime.entries < 9000 && size(boot.images) > 0', claim: VECTOR_CLAIM_EXECUTABLES}
`;
const CONFIG = `listen: 127.0.0.1:8443
data_directory: /var/lib/assay
admission: [certificate, inventory]
reflection: false
log_level: info
`;
const STATE = encodeState({
  server: 'assay.example:9443',
  pin: `sha256:${'0'.repeat(64)}`,
  authority: Buffer.from('authority'),
  tcti: 'swtpm:',
  akAlgorithm: 'ecdsa-p256-sha256',
  logs: { boot: '/b', userspace: '/u', ima: '/i' },
  tlsKey: 'pem',
  ak: { publicBlob: Buffer.from('public'), privateBlob: Buffer.from('private'), parentName: Buffer.from('name') },
  renewal: { privateKey: 'next', certificate: Buffer.from('next certificate') },
});
const INVENTORY = `# racks\n${'ab'.repeat(32)} group-1 a comment\n${'cd'.repeat(32)}\n`;
const INVENTORY_JSON = JSON.stringify({ entries: [{ name: `inventory/${'ab'.repeat(32)}`, group: 'g', comment: '' }] });
const PCRS = `sha256 7 ${'00'.repeat(32)}\nsha1 0 ${'11'.repeat(20)}\n`;

const texts = (...all: readonly string[]): readonly Buffer[] => all.map((text) => Buffer.from(text));

function profile(): string {
  const key = testKey('P-256').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return formatProfile({ server: 'assay.example:9443', authority: makeRoot(), certificate: makeRoot(), key });
}

export function textTargets(): Readonly<Record<string, () => Target>> {
  return {
    /** As the command reads it, and then as the service does. */
    policy: () =>
      reader(texts(POLICY, BOOT_POLICY, RUNTIME_POLICY), [UsageError], (input) => {
        for (const { json } of parsePolicyFile('p.yaml', input.toString('utf8'))) {
          const message = fromJson(TrustPolicySchema, json as JsonValue);
          const outcome = resolvePolicyDraft(policyDraftFromProto(message));
          if (!('policy' in outcome) && outcome.problems.length === 0)
            throw new BrokenPromise('refused without a problem');
        }
      }),
    configuration: () =>
      reader(texts(CONFIG), [ConfigError], (input) => parseConfig(input.toString('utf8'), '/etc/assay/assayd.yaml')),
    'agent-state': () => reader(texts(STATE), [AgentError], (input) => decodeState(input.toString('utf8'))),
    profile: () => reader(texts(profile()), [SdkError], (input) => parseProfile(input.toString('utf8'))),
    inventory: () =>
      reader(texts(INVENTORY, INVENTORY_JSON), [UsageError], (input) =>
        parseInventoryFile('i.txt', input.toString('utf8')),
      ),
    'pcr-file': () => reader(texts(PCRS), [UsageError], (input) => parsePcrFile('p.txt', input.toString('utf8'))),
    /** What a person sees of a host's text has nothing that a terminal acts upon. */
    'shown-text': () =>
      reader(texts('node-7', 'a\u001b[2Jb\u202e\u0007', '\u2066x\u2069\r\n\t'), [], (input) => {
        // oxlint-disable-next-line no-control-regex
        if (/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/.test(escapeText(input.toString('utf8'))))
          throw new BrokenPromise('a terminal would act upon it');
      }),
  };
}
