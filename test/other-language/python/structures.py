"""TPM 2.0 structures that the client needs, as Part 2 of the library specification lays them out, all big-endian."""

import hashlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

SHA1, SHA256, SHA384 = 0x0004, 0x000B, 0x000C
NULL, CFB, AES, ECDSA = 0x0010, 0x0043, 0x0006, 0x0018
RSA, ECC = 0x0001, 0x0023
CURVES = {256: 0x0003, 384: 0x0004}
HASHES = {SHA1: hashes.SHA1, SHA256: hashes.SHA256, SHA384: hashes.SHA384}

ENDORSEMENT = 0x4000000B
GENERATED = 0xFF544347
ATTEST_QUOTE, ATTEST_SESSION_AUDIT = 0x8018, 0x8016
CAP_PCRS, CC_GET_CAPABILITY = 0x00000005, 0x0000017A

# TPMA_OBJECT: fixedTPM, fixedParent and sensitiveDataOrigin; restricted, with decrypt or sign; who may use the key.
STORAGE_ATTRIBUTES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 17
SIGNING_ATTRIBUTES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 16 | 1 << 18
USER_WITH_AUTH, ADMIN_WITH_POLICY = 1 << 6, 1 << 7

# EK templates L-1 and H-3 of the TCG EK Credential Profile: PolicySecret of the endorsement hierarchy, and that or the
# key's own authorisation.
POLICY_A_SHA256 = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
POLICY_B_SHA384 = bytes.fromhex(
    "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12"
)


def u8(value: int) -> bytes:
    return value.to_bytes(1, "big")


def u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    return value.to_bytes(8, "big")


def sized(data: bytes) -> bytes:
    """A TPM2B."""
    return u16(len(data)) + data


def take_sized(data: bytes) -> tuple[bytes, bytes]:
    """The contents of the TPM2B at the beginning, and what follows it."""
    end = 2 + int.from_bytes(data[:2], "big")
    if len(data) < end or len(data) < 2:
        raise ValueError("a TPM2B is cut short")
    return data[2:end], data[end:]


def only_sized(data: bytes) -> bytes:
    contents, rest = take_sized(data)
    if rest:
        raise ValueError("bytes follow a TPM2B")
    return contents


def digest(algorithm: int, data: bytes) -> bytes:
    return hashlib.new(HASHES[algorithm].name, data).digest()


def digest_size(algorithm: int) -> int:
    return HASHES[algorithm].digest_size


def rsa_ek_public(key: rsa.RSAPublicKey) -> bytes:
    """TPMT_PUBLIC of an RSA-2048 EK, low range."""
    head = u16(RSA) + u16(SHA256) + u32(STORAGE_ATTRIBUTES | ADMIN_WITH_POLICY) + sized(POLICY_A_SHA256)
    symmetric = u16(AES) + u16(128) + u16(CFB)
    modulus = key.public_numbers().n.to_bytes(key.key_size // 8, "big")
    return head + symmetric + u16(NULL) + u16(key.key_size) + u32(0) + sized(modulus)


def ecc_ek_public(key: ec.EllipticCurvePublicKey) -> bytes:
    """TPMT_PUBLIC of a P-384 EK, high range."""
    attributes = STORAGE_ATTRIBUTES | USER_WITH_AUTH | ADMIN_WITH_POLICY
    head = u16(ECC) + u16(SHA384) + u32(attributes) + sized(POLICY_B_SHA384)
    symmetric = u16(AES) + u16(256) + u16(CFB)
    return head + symmetric + u16(NULL) + u16(CURVES[key.key_size]) + u16(NULL) + ecc_point(key)


def ak_public(key: ec.EllipticCurvePublicKey) -> bytes:
    """TPMT_PUBLIC of a P-256 AK: ECDSA with SHA-256."""
    head = u16(ECC) + u16(SHA256) + u32(SIGNING_ATTRIBUTES | USER_WITH_AUTH) + sized(b"")
    return head + u16(NULL) + u16(ECDSA) + u16(SHA256) + u16(CURVES[key.key_size]) + u16(NULL) + ecc_point(key)


def ecc_point(key: ec.EllipticCurvePublicKey) -> bytes:
    """TPMS_ECC_POINT."""
    numbers, size = key.public_numbers(), (key.key_size + 7) // 8
    return sized(numbers.x.to_bytes(size, "big")) + sized(numbers.y.to_bytes(size, "big"))


def name_algorithm(public_area: bytes) -> int:
    return int.from_bytes(public_area[2:4], "big")


def name_of(public_area: bytes) -> bytes:
    """The Name: nameAlg and the digest of the TPMT_PUBLIC (Part 1, 16)."""
    algorithm = name_algorithm(public_area)
    return u16(algorithm) + digest(algorithm, public_area)


def qualified_name(parent: bytes, name: bytes) -> bytes:
    """Part 1, 26.5; `parent` is the parent's qualified name, or the handle of the hierarchy."""
    algorithm = int.from_bytes(name[:2], "big")
    return u16(algorithm) + digest(algorithm, parent + name)


def pcr_selection(selection: list[tuple[int, list[int]]]) -> bytes:
    """TPML_PCR_SELECTION with bitmaps of three bytes."""
    banks = (u16(bank) + u8(3) + sum(1 << index for index in pcrs).to_bytes(3, "little") for bank, pcrs in selection)
    return u32(len(selection)) + b"".join(banks)
