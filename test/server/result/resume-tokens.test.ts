import { describe, expect, it } from 'vitest';

import { ResumeTokens } from '../../../server/result/resume-tokens.ts';
import type { ResumeTokensOptions } from '../../../server/result/resume-tokens.ts';
import { WatchError } from '../../../server/result/watch-error.ts';
import { NO_FILTER } from '../store/fixtures.ts';

const master = (version: number) => ({ version, secret: Buffer.alloc(32, version) });
const OPTIONS: ResumeTokensOptions = {
  incarnation: 'a1',
  filter: { ...NO_FILTER, scope: { tenant: 'red' } },
  holder: 'identities/eve',
  masters: [master(1)],
};
const POSITION = { revision: 7, confirmation: 3 };
const token = new ResumeTokens(OPTIONS).encode(POSITION);
const parts = JSON.parse(Buffer.from(token, 'base64url').toString()) as unknown[];
const made = (changed: readonly unknown[]): string => Buffer.from(JSON.stringify(changed)).toString('base64url');

function refusal(given: string, change: Partial<ResumeTokensOptions> = {}): string {
  try {
    new ResumeTokens({ ...OPTIONS, ...change }).decode(given);
    return 'taken';
  } catch (error) {
    expect(error).toBeInstanceOf(WatchError);
    return (error as WatchError).code;
  }
}

describe('a resume token', () => {
  it('gives back its position, to every replica and after a restart', () => {
    expect(new ResumeTokens(OPTIONS).decode(token)).toEqual(POSITION);
    const filter = { ...OPTIONS.filter, hostIds: ['h-a', 'h-b'], matchLabels: { a: '1', b: '2' } };
    const turned = { ...OPTIONS.filter, hostIds: ['h-b', 'h-a'], matchLabels: { b: '2', a: '1' } };
    const other = new ResumeTokens({ ...OPTIONS, filter }).encode(POSITION);
    expect(new ResumeTokens({ ...OPTIONS, filter: turned }).decode(other)).toEqual(POSITION);
  });

  it('holds while its master is kept, also once another one signs', () => {
    expect(refusal(token, { masters: [master(2), master(1)] })).toBe('taken');
    expect(refusal(token, { masters: [master(2)] })).toBe('RESUME_TOKEN_INVALID');
  });

  it.each([
    ['an earlier revision', parts.with(1, 1)],
    ['a later revision', parts.with(1, 8)],
    ['another confirmation', parts.with(2, 0)],
    ['another signature', parts.with(5, Buffer.alloc(16, 1).toString('base64url'))],
    ['a part of its signature', parts.with(5, String(parts[5]).slice(0, -4))],
    ['an empty signature', parts.with(5, '')],
    ['no text as signature', parts.with(5, 7)],
    ['a part more', [...parts, '']],
  ])('with %s is refused', (_name, changed) => {
    expect(refusal(made(changed))).toBe('RESUME_TOKEN_INVALID');
  });

  it('with any character changed is refused, or leads to a new beginning', () => {
    for (let index = 0; index < token.length; index += 1) {
      const turned = `${token.slice(0, index)}${token[index] === 'A' ? 'E' : 'A'}${token.slice(index + 1)}`;
      expect(refusal(turned), `character ${index}`).toMatch(
        /^(RESUME_TOKEN_INVALID|INCARNATION_CHANGED|SCOPE_CHANGED)$/,
      );
    }
  });

  it('is good for one identity, scope, filter and store alone', () => {
    expect(refusal(token, { holder: 'identities/ada' })).toBe('RESUME_TOKEN_INVALID');
    expect(refusal(token, { filter: { ...OPTIONS.filter, scope: { tenant: 'blue' } } })).toBe('SCOPE_CHANGED');
    expect(refusal(token, { filter: { ...OPTIONS.filter, statuses: ['none'] } })).toBe('RESUME_TOKEN_INVALID');
    expect(refusal(token, { incarnation: 'b2' })).toBe('INCARNATION_CHANGED');
    // Its plain parts say the same: the signature tells them apart.
    const blue = new ResumeTokens({ ...OPTIONS, filter: { ...OPTIONS.filter, scope: { tenant: 'blue' } } });
    const [, , , scope] = JSON.parse(Buffer.from(blue.encode(POSITION), 'base64url').toString()) as unknown[];
    const moved = made(parts.with(3, scope));
    expect(refusal(moved, { filter: { ...OPTIONS.filter, scope: { tenant: 'blue' } } })).toBe('RESUME_TOKEN_INVALID');
  });

  it('of a former release, which signed none, leads to a new beginning', () => {
    for (const count of [3, 5]) {
      expect(refusal(made(parts.slice(0, count)))).toBe('REVISION_GONE');
      expect(refusal(made(parts.slice(0, count).with(1, 1)))).toBe('REVISION_GONE');
    }
    expect(refusal(made(parts.slice(0, 4)))).toBe('RESUME_TOKEN_INVALID');
  });
});
