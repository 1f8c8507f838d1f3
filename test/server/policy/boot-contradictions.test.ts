import { expect, test } from 'vitest';

import { bootContradictions } from '../../../server/policy/boot-contradictions.ts';
import type { BootRulesDraft } from '../../../server/policy/boot-rules.ts';
import { NO_RULES, RULE } from '../../support/booted-machine.ts';
import { EVERY_RULE } from './boot-input.ts';

const A = 'ab'.repeat(32);
const B = 'cd'.repeat(32);
const lines = (allowed: string[], required: string[], forbidden: string[]): Partial<BootRulesDraft> => ({
  commandLine: { ...RULE, allowed, required, forbidden },
});

test.each([
  {
    name: 'a signer, in another case',
    rules: {
      allowedSigners: { ...RULE, certificates: [B, A] },
      forbiddenSigners: { ...RULE, certificates: [A.toUpperCase()] },
    },
    at: 'boot.allowed_signers.certificates[1]',
    says: 'is allowed and forbidden',
  },
  {
    name: 'an image',
    rules: { allowedImages: { ...RULE, digests: [A] }, forbiddenImages: { ...RULE, digests: [B, A] } },
    at: 'boot.allowed_images.digests[0]',
    says: 'is allowed and forbidden',
  },
  {
    name: 'an argument, by its name',
    rules: lines([], ['quiet', 'init=/sbin/init'], ['init']),
    at: 'boot.command_line.required[1]',
    says: 'is required and forbidden',
  },
  {
    name: 'an argument, spelled as the kernel does not care',
    rules: lines([], ['ima-policy=tcb'], ['ima_policy=tcb']),
    at: 'boot.command_line.required[0]',
    says: 'is required and forbidden',
  },
  {
    name: 'a line with a forbidden argument',
    rules: lines(['/vmlinuz quiet', '/vmlinuz init=/bin/sh'], [], ['init']),
    at: 'boot.command_line.allowed[1]',
    says: 'is allowed, and has the forbidden argument init=/bin/sh',
  },
  {
    name: 'a line without a required argument',
    rules: lines(['/vmlinuz quiet'], ['lockdown=integrity'], []),
    at: 'boot.command_line.allowed[0]',
    says: 'is allowed, and lacks the required argument lockdown=integrity',
  },
])('no boot can satisfy: $name', ({ rules, at, says }) => {
  expect(bootContradictions({ ...NO_RULES, ...rules })).toEqual([{ field: at, message: says }]);
});

test.each([
  { name: 'every rule of a real boot', rules: EVERY_RULE },
  { name: 'an argument with another value forbidden', rules: lines([], ['init=/sbin/init'], ['init=/bin/sh']) },
  { name: 'a line that is as it must be', rules: lines(['/vmlinuz quiet'], ['quiet'], ['init']) },
  { name: 'two values of one argument', rules: lines([], ['console=tty0', 'console=ttyS0'], []) },
])('contradicts nothing: $name', ({ rules }) => {
  expect(bootContradictions({ ...NO_RULES, ...rules })).toEqual([]);
});
