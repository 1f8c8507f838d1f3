import type { TokenKeyService } from '../../proto/gen/assay/v1/token_pb.ts';
import type { Handlers } from '../../proto/service.ts';
import { formatJwks } from '../identity/token-keys.ts';
import type { TokenKeys } from '../identity/token-keys.ts';
import type { Access } from './access.ts';
import { tokenKeyToProto } from './convert-token.ts';

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

    async rotateTokenKey(_request, context) {
      return { tokenKey: tokenKeyToProto(await tokenKeys.rotate(access.actor(context))) };
    },
  };
}
