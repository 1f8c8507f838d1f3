import type { TokenKeyService } from '../../proto/gen/assay/v1/token_pb.ts';
import type { Handlers } from '../../proto/service.ts';
import { formatJwks } from '../identity/token-keys.ts';
import type { TokenKeys } from '../identity/token-keys.ts';
import type { Access } from './access.ts';
import { tokenKeyToProto } from './convert-token.ts';
import { invalid, text } from './invalid.ts';

const MAX_KEY_ID = 64;

export interface TokenKeyHandlersOptions {
  readonly access: Access;
  readonly tokenKeys: TokenKeys;
}

export function tokenKeyHandlers({ access, tokenKeys }: TokenKeyHandlersOptions): Handlers<typeof TokenKeyService> {
  return {
    async listTokenKeys() {
      const keys = await tokenKeys.published();
      return { tokenKeys: keys.map(tokenKeyToProto), jwks: formatJwks(keys) };
    },

    async rotateTokenKey({ keyId }, context) {
      return { tokenKey: tokenKeyToProto(await tokenKeys.rotate(keyIdOf(keyId), access.actor(context))) };
    },

    async withdrawTokenKey({ keyId }, context) {
      await tokenKeys.withdraw(keyIdOf(keyId), access.actor(context));
      return {};
    },
  };
}

function keyIdOf(keyId: string): string {
  if (keyId === '') throw invalid('key_id', 'is required');
  return text(keyId, 'key_id', MAX_KEY_ID);
}
