import { beforeAll, expect, test } from 'vitest';
import { makeTlsKey } from '../../../client/agent/tls-key.ts';
import { formatProfile, parseAddress, parseProfile } from '../../../client/sdk/profile.ts';
import type { Profile } from '../../../client/sdk/profile.ts';
import { makeTestAuthority } from '../../support/tls.ts';

let profile: Profile;

beforeAll(async () => {
  const { certificate } = await makeTestAuthority();
  profile = { server: 'assay.example:9443', authority: certificate, certificate, key: makeTlsKey() };
});

test('a profile survives its file', () => {
  expect(parseProfile(formatProfile(profile))).toEqual(profile);
});

test.each([
  { name: 'no JSON', change: () => 'x', says: /not JSON/ },
  { name: 'a list', change: () => '[]', says: /not a JSON object/ },
  {
    name: 'a field too many',
    change: (text: string) => text.replace('{', '{"colour": 1,'),
    says: /unknown field colour/,
  },
  { name: 'no server', change: (text: string) => text.replace('assay.example:9443', ''), says: /no server/ },
  {
    name: 'no certificate',
    change: (text: string) => text.replace(/"certificate": "[^"]*"/, '"certificate": "x"'),
    says: /certificate is not a certificate/,
  },
  {
    name: 'no key',
    change: (text: string) => text.replace(/"key": "[^"]*"/, '"key": "secret words"'),
    says: /key is not a private key/,
  },
])('refuses $name and says what is wrong', ({ change, says }) => {
  expect(() => parseProfile(change(formatProfile(profile)))).toThrow(says);
});

test('an error about the key does not quote it', () => {
  const text = formatProfile(profile).replace(/"key": "[^"]*"/, '"key": "secret words"');
  expect(() => parseProfile(text)).toThrow(
    expect.not.objectContaining({ message: expect.stringContaining('secret') as string }),
  );
});

test.each(['', 'host', 'host:', ':1', 'host:0', 'host:65536', 'host:1x', '[::1]', '::1:80', 'a b:1', '[x]:1'])(
  'refuses the address %j',
  (address) => {
    expect(() => parseAddress(address)).toThrow(/is not HOST:PORT/);
  },
);

test('reads names and addresses', () => {
  expect(parseAddress('assay.example:9443')).toEqual({ host: 'assay.example', port: 9443 });
  expect(parseAddress('[2001:db8::1]:1')).toEqual({ host: '2001:db8::1', port: 1 });
});
