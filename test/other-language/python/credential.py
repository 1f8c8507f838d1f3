"""Opens a credential as TPM2_ActivateCredential does (Part 1, 24; Part 3, 12.5), with the private EK at hand."""

import hmac

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from structures import HASHES, digest, digest_size, name_algorithm, only_sized, take_sized, u32


def activate_credential(
    ek, public_area: bytes, ak_name: bytes, credential_blob: bytes, encrypted_secret: bytes
) -> bytes:
    """The secret; ValueError where the credential was not made for this EK and this AK."""
    algorithm = name_algorithm(public_area)
    seed = open_seed(ek, algorithm, only_sized(encrypted_secret))
    integrity, encrypted = take_sized(only_sized(credential_blob))
    key = kdf_a(algorithm, seed, "INTEGRITY", b"", 8 * digest_size(algorithm))
    expected = hmac.new(key, encrypted + ak_name, HASHES[algorithm].name).digest()
    if not hmac.compare_digest(integrity, expected):
        raise ValueError("the integrity of a credential does not hold")
    bits = 128 if isinstance(ek, rsa.RSAPrivateKey) else 256
    key = kdf_a(algorithm, seed, "STORAGE", ak_name, bits)
    decryptor = Cipher(algorithms.AES(key), CFB(bytes(16))).decryptor()
    return only_sized(decryptor.update(encrypted) + decryptor.finalize())


def open_seed(ek, algorithm: int, secret: bytes) -> bytes:
    """The seed: by OAEP under an RSA key, by the ephemeral point under an ECC key (Part 1, Annexes B.10 and C.6)."""
    if isinstance(ek, rsa.RSAPrivateKey):
        hash_algorithm = HASHES[algorithm]()
        return ek.decrypt(secret, padding.OAEP(padding.MGF1(hash_algorithm), hash_algorithm, b"IDENTITY\0"))
    x, rest = take_sized(secret)
    point = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(only_sized(rest), "big"), ek.curve)
    shared = ek.exchange(ec.ECDH(), point.public_key())
    size = (ek.key_size + 7) // 8
    own = ek.public_key().public_numbers().x.to_bytes(size, "big")
    return kdf_e(algorithm, shared, "IDENTITY", x.rjust(size, b"\0") + own)


def kdf_a(algorithm: int, key: bytes, label: str, context: bytes, bits: int) -> bytes:
    """KDFa (Part 1, 11.4.10.2) for outputs that are no longer than the digest."""
    data = u32(1) + label.encode() + b"\0" + context + u32(bits)
    return hmac.new(key, data, HASHES[algorithm].name).digest()[: bits // 8]


def kdf_e(algorithm: int, shared: bytes, label: str, parties: bytes) -> bytes:
    """KDFe (Part 1, 11.4.10.3), as many bits as the digest has."""
    return digest(algorithm, u32(1) + shared + label.encode() + b"\0" + parties)
