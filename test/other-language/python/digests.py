"""The digests of docs/protocol.md, section "Digests"."""

import hashlib
import hmac as hmac_module

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def H(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def MAC(key: bytes, data: bytes) -> bytes:
    return hmac_module.new(key, data, hashlib.sha256).digest()


def encode(label: str, *fields) -> bytes:
    """The hashed bytes: the label, then each field behind its length. Lists are flattened behind their count."""
    return b"".join(len(field).to_bytes(4, "big") + field for field in map(_field, (label, *fields)))


def _field(value) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8")
    return int(value).to_bytes(8, "big")


def _list(items) -> list:
    items = list(items)
    return [len(items)] + [field for item in items for field in (item if isinstance(item, tuple) else (item,))]


def facts(claimed, new_tls_public_key: bytes = b"") -> bytes:
    """`claimed` has the fields of ClaimedFacts."""
    texts = (claimed.hostname, claimed.os, claimed.kernel, claimed.agent_version, claimed.boot_id)
    return encode("assay.v1 facts", *texts, new_tls_public_key)


def transcript(
    enrollment_id, ek_names, parent_index, ak_name, tls_key_hash, credentials, nonce, expire_millis
) -> bytes:
    """`credentials` are pairs of credential_blob and encrypted_secret."""
    return encode(
        "assay.v1 enroll begin",
        enrollment_id,
        *_list(ek_names),
        parent_index,
        ak_name,
        tls_key_hash,
        *_list(credentials),
        nonce,
        expire_millis,
    )


def enrollment_binding(nonce: bytes, transcript_digest: bytes, facts_digest: bytes) -> bytes:
    return encode("assay.v1 enroll quote", nonce, transcript_digest, facts_digest)


def round_binding(nonce: bytes, host_id: str, tls_key_hash: bytes, facts_digest: bytes) -> bytes:
    return encode("assay.v1 attest", nonce, host_id, tls_key_hash, facts_digest)


def banks_binding(quote_binding: bytes) -> bytes:
    return encode("assay.v1 banks", quote_binding)


def pcr_values(values) -> bytes:
    """`values` are triples of algorithm, index and digest."""
    return encode("assay.v1 pcr values", *_list(values))


def logs(announcements) -> bytes:
    """`announcements` have the fields of LogDescriptor."""
    return encode(
        "assay.v1 logs", *_list((log.kind, log.offset, log.size, log.sha256, log.unreadable) for log in announcements)
    )


def enrollment_secrets(secrets) -> bytes:
    return encode("assay.v1 enroll secrets", *_list(secrets))


def enrollment_key(secrets, transcript_digest: bytes) -> bytes:
    hkdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=transcript_digest, info=b"assay.v1 enroll key")
    return hkdf.derive(enrollment_secrets(secrets))


def proof(transcript_digest, quote, pcr_values_digest, bank_proof, facts_digest, logs_digest) -> bytes:
    """`quote` and `bank_proof` have the fields of Quote and BankProof."""
    return encode(
        "assay.v1 enroll proof",
        transcript_digest,
        H(quote.attest),
        H(quote.signature),
        pcr_values_digest,
        H(bank_proof.capability_data),
        H(bank_proof.attest),
        H(bank_proof.signature),
        facts_digest,
        logs_digest,
    )


def outcome(
    transcript_digest, proof_mac, host_id, state, replacement_pending, ak_certificate, client_certificate
) -> bytes:
    return encode(
        "assay.v1 enroll outcome",
        transcript_digest,
        proof_mac,
        host_id,
        state,
        replacement_pending,
        H(ak_certificate),
        H(client_certificate),
    )


def acceptance(outcome_digest: bytes) -> bytes:
    return encode("assay.v1 enroll accept", outcome_digest)
