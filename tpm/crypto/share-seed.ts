/** Sharing a seed with the holder of an asymmetric key (Part 1 Annexes B.10 and C.6, "secret sharing"). */
import { createECDH, diffieHellman, generateKeyPair } from 'node:crypto';
import type { ECDH } from 'node:crypto';
import { promisify } from 'node:util';

import { encode } from '../codec/structure.ts';
import { TPMS_ECC_POINT } from '../structures/buffers.ts';
import { TPM_ALG_ECC, TPM_ALG_OAEP, TPM_ALG_RSA, algorithmName } from '../structures/constants.ts';
import type { EccCurve } from '../structures/constants.ts';
import type { EccPublic, RsaPublic, TPMT_PUBLIC } from '../structures/public-area.ts';
import { TpmCryptoError } from './crypto-error.ts';
import { digestSize } from './digest.ts';
import { kdfe } from './kdf.ts';
import { oaepEncrypt } from './oaep.ts';
import type { Random } from './oaep.ts';
import { curveOf, paddedCoordinate, publicKeyOf } from './public-key.ts';

/** A seed and what lets the key's holder find it. */
export interface SharedSeed {
  /** As long as a digest of the key's nameAlg. */
  readonly seed: Buffer;
  /** OAEP ciphertext, or a TPMS_ECC_POINT: the content of a TPM2B_ENCRYPTED_SECRET. */
  readonly secret: Buffer;
}

export interface ShareSeedOptions {
  /** What the seed is for, without its NUL: `IDENTITY` for a credential. */
  readonly label: string;
  readonly random: Random;
  /** The ephemeral private key of an ECC exchange, fixed for published vectors. Else drawn from `random`. */
  readonly ephemeralPrivateKey?: Buffer;
}

interface Point {
  readonly x: Buffer;
  readonly y: Buffer;
}

/** Draws of an ephemeral key before a source of randomness counts as broken; one draw fails with less than 1 in 2^32. */
const MAX_DRAWS = 16;

export function shareSeed(publicArea: TPMT_PUBLIC, options: ShareSeedOptions): SharedSeed {
  switch (publicArea.type) {
    case TPM_ALG_RSA:
      return shareByOaep(publicArea, options);
    case TPM_ALG_ECC:
      return shareByEcdh(publicArea, options);
    default:
      throw new TpmCryptoError('UNSUITABLE_KEY', `${algorithmName(publicArea.type)} key cannot share a seed`);
  }
}

/**
 * As {@link shareSeed}, with the two scalar multiplications of an ECC exchange (4 to 9 ms on the larger curves) in the thread
 * pool. The ephemeral key then comes from node's own generator. RSA encryption takes some 50 µs and stays on the event loop.
 */
export async function shareSeedAsync(
  publicArea: TPMT_PUBLIC,
  options: Omit<ShareSeedOptions, 'ephemeralPrivateKey'>,
): Promise<SharedSeed> {
  if (publicArea.type !== TPM_ALG_ECC) {
    return shareSeed(publicArea, options);
  }
  const curve = curveOf(publicArea);
  const publicKey = publicKeyOf(publicArea);
  const ephemeral = await promisify(generateKeyPair)('ec', { namedCurve: curve.node });
  const z = await new Promise<Buffer>((resolve, reject) => {
    diffieHellman({ privateKey: ephemeral.privateKey, publicKey }, (error, secret) =>
      error === null ? resolve(secret) : reject(error),
    );
  });
  const { x = '', y = '' } = ephemeral.publicKey.export({ format: 'jwk' });
  const point = { x: Buffer.from(x, 'base64url'), y: Buffer.from(y, 'base64url') };
  return deriveFromEcdh(publicArea, options.label, { point, z });
}

function shareByOaep(publicArea: RsaPublic, { label, random }: ShareSeedOptions): SharedSeed {
  const { scheme } = publicArea.parameters;
  // §B.4: the scheme's hash, or nameAlg where the scheme is NULL as in every EK.
  const hashAlg = scheme.scheme === TPM_ALG_OAEP ? scheme.hashAlg : publicArea.nameAlg;
  const seed = random(digestSize(publicArea.nameAlg));
  const secret = oaepEncrypt(publicKeyOf(publicArea), seed, {
    hashAlg,
    label: Buffer.from(`${label}\0`, 'latin1'),
    random,
  });
  return { seed, secret };
}

function shareByEcdh(publicArea: EccPublic, options: ShareSeedOptions): SharedSeed {
  const curve = curveOf(publicArea);
  const ecdh = createECDH(curve.node);
  if (options.ephemeralPrivateKey === undefined) {
    drawPrivateKey(ecdh, curve, options.random);
  } else {
    ecdh.setPrivateKey(options.ephemeralPrivateKey);
  }
  const ephemeral = ecdh.getPublicKey();
  const point = {
    x: ephemeral.subarray(1, 1 + curve.coordinateSize),
    y: ephemeral.subarray(1 + curve.coordinateSize),
  };
  const { x, y } = paddedPoint(publicArea, curve);
  return deriveFromEcdh(publicArea, options.label, {
    point,
    z: sharedCoordinate(ecdh, Buffer.concat([Buffer.from([4]), x, y])),
  });
}

/** Annex C.6: seed = KDFe(nameAlg, Z.x, label, ephemeral.x, public.x, bits), every coordinate in full length. */
function deriveFromEcdh(
  publicArea: EccPublic,
  label: string,
  exchange: { readonly point: Point; readonly z: Buffer },
): SharedSeed {
  const curve = curveOf(publicArea);
  const contextU = paddedCoordinate(exchange.point.x, curve);
  const contextV = paddedCoordinate(publicArea.unique.x, curve);
  const z = paddedCoordinate(exchange.z, curve);
  const seed = kdfe(publicArea.nameAlg, z, label, digestSize(publicArea.nameAlg) * 8, { contextU, contextV });
  const secret = encode(TPMS_ECC_POINT, { x: contextU, y: paddedCoordinate(exchange.point.y, curve) });
  return { seed, secret };
}

function paddedPoint(publicArea: EccPublic, curve: EccCurve): Point {
  return { x: paddedCoordinate(publicArea.unique.x, curve), y: paddedCoordinate(publicArea.unique.y, curve) };
}

function sharedCoordinate(ecdh: ECDH, point: Buffer): Buffer {
  try {
    return ecdh.computeSecret(point);
  } catch (cause) {
    throw new TpmCryptoError('INVALID_POINT', 'public area holds no point of its curve', { cause });
  }
}

/** FIPS 186-5 §A.2.2: draws until the number lies in [1, n - 1]; surplus bits (P-521) are cut off first. */
function drawPrivateKey(ecdh: ECDH, curve: EccCurve, random: Random): void {
  for (let draw = 0; draw < MAX_DRAWS; draw++) {
    const candidate = Buffer.from(random(curve.coordinateSize));
    candidate.writeUInt8(candidate.readUInt8(0) & (0xff >> (curve.coordinateSize * 8 - curve.bits)), 0);
    if (isPrivateKey(ecdh, candidate)) {
      return;
    }
  }
  throw new TypeError('random source yields no private key');
}

function isPrivateKey(ecdh: ECDH, candidate: Buffer): boolean {
  try {
    ecdh.setPrivateKey(candidate);
    return true;
  } catch {
    return false;
  }
}
