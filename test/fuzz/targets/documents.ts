import { parseJwks } from '../../../client/sdk/jwks.ts';
import { TokenRefusal } from '../../../client/sdk/token-refusal.ts';
import { verifyToken } from '../../../client/sdk/verify-token.ts';
import { digestListParser } from '../../../server/reference/digest-list.ts';
import { ReferenceImportError } from '../../../server/reference/import-error.ts';
import { readKeyring } from '../../../server/reference/keyring.ts';
import { keylimePolicyParser } from '../../../server/reference/keylime-policy.ts';
import type { ReferenceParser } from '../../../server/reference/parser.ts';
import { rpmDumpParser } from '../../../server/reference/rpm-dump.ts';
import { testKey } from '../../support/test-ca.ts';
import { makeRoot, pem } from '../../support/test-ek-pki.ts';
import { earClaims, keySet, makeSigner, makeToken, TOKEN_TIME } from '../../support/tokens.ts';
import { readAll } from '../../server/reference/read-all.ts';
import { mutant } from '../mutate.ts';
import { BrokenPromise, reader } from '../target.ts';
import type { Target } from '../target.ts';

const SHA256 = 'ab'.repeat(32);
const POLICY = JSON.stringify({
  meta: { version: 1 },
  digests: { '/bin/sh': [SHA256, '11'.repeat(20)], '/ä "x"\n': [SHA256] },
  excludes: ['^/var/.*'],
  'ima-buf': { dm_table_load: [SHA256] },
});

/** Files of reference values, and tokens with the keys that they are verified by. */
export function documentTargets(): Readonly<Record<string, () => Target>> {
  return {
    'digest-list': () =>
      references([`${SHA256}  /usr/bin/true\n# a remark\nsha1:${'11'.repeat(20)} /a b\n`], digestListParser),
    'rpm-dump': () =>
      references([`/usr/bin/ls 137744 1720000000 ${SHA256} 0100755 root root 0 0 0 X\n`], rpmDumpParser),
    'keylime-policy': () => references([POLICY], keylimePolicyParser),
    keyring: () =>
      reader([testKey('P-256').spki, makeRoot(), Buffer.from(pem('CERTIFICATE', makeRoot()))], [], readKeyring),
    'token-keys': () => asynchronous([keySet(makeSigner()), keySet(makeSigner(), makeSigner())], parseJwks),
    /** No token but the one that was signed is believed. */
    token: () => {
      const signer = makeSigner();
      const sound = makeToken(signer, earClaims());
      const keys = parseJwks(keySet(signer));
      return asynchronous([Buffer.from(sound)], async (input) => {
        const jwt = input.toString('latin1');
        await verifyToken(jwt, { keys: await keys, now: TOKEN_TIME });
        if (jwt !== sound) throw new BrokenPromise('took a token that nobody signed');
      });
    },
  };
}

/** Whole and in small chunks it comes to the same. */
function references(corpus: readonly string[], open: () => ReferenceParser): Target {
  const files = corpus.map((text) => Buffer.from(text));
  return reader(files, [ReferenceImportError], (input) => {
    const whole = readAll(open(), input);
    if (JSON.stringify(readAll(open(), input, 7)) !== JSON.stringify(whole))
      throw new BrokenPromise('chunks of another size give other entries');
  });
}

function asynchronous(corpus: readonly Buffer[], read: (input: Buffer) => Promise<unknown>): Target {
  return {
    corpus,
    next: (random) => mutant(corpus, random),
    run: async (input) => {
      try {
        await read(input);
        return 'taken';
      } catch (error) {
        if (error instanceof TokenRefusal) return 'refused';
        throw error;
      }
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
