import { timestampFromMs } from '@bufbuild/protobuf/wkt';

import type { TokenRequest } from '../../proto/gen/assay/v1/token_pb.ts';
import { MAX_AUDIENCE_BYTES, NONCE_BYTES } from '../../proto/token-profile.ts';
import type { TokenKey } from '../identity/token-keys.ts';
import type { SignedToken, TokenDemand } from '../result/issue-token.ts';
import { bytes, invalid, text } from './invalid.ts';

export function tokenDemandFromProto(request: TokenRequest): TokenDemand {
  const nonce = request.nonce.length === 0 ? Buffer.alloc(0) : bytes(request.nonce, 'token.nonce', NONCE_BYTES);
  const audience = text(request.audience, 'token.audience', MAX_AUDIENCE_BYTES);
  if (/[\p{C}\p{Zl}\p{Zp}]/u.test(audience)) throw invalid('token.audience', 'has characters that cannot be printed');
  return { audience, nonce };
}

export function tokenToProto({ jwt, expires }: SignedToken) {
  return { jwt, expireTime: timestampFromMs(expires) };
}

export function tokenKeyToProto({ keyId, version, createTime, retired }: TokenKey) {
  return {
    keyId,
    version: BigInt(version),
    createTime: timestampFromMs(createTime),
    ...(retired === null
      ? {}
      : { retireTime: timestampFromMs(retired.time), publishEndTime: timestampFromMs(retired.publishedUntil) }),
  };
}
