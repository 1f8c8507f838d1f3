import { expect, test } from 'vitest';

import { hostIdOf } from '../../../server/endorsement/host-id.ts';
import { ekRsaKey } from '../../support/test-ek-pki.ts';

test('the id of a host is made of the fingerprint of its EK', () => {
  expect(hostIdOf(ekRsaKey.spki)).toMatch(/^h-[a-z2-7]{26}$/);
});
