"""What the agent collects: facts, quote, PCR values, bank proof and logs."""

import hashlib
import platform

import digests
from assay.v1 import evidence_pb2
from digests import H
from software_tpm import ACTIVE_BANKS, PCRS, SoftwareTpm

AGENT_VERSION = "python 1"
CHUNK = 256 * 1024
ALL_BANKS = [(bank, PCRS) for bank in ACTIVE_BANKS]


def collect_facts() -> evidence_pb2.ClaimedFacts:
    return evidence_pb2.ClaimedFacts(
        hostname="größe.example.org",
        os="a system in software",
        kernel=platform.release(),
        agent_version=AGENT_VERSION,
        boot_id="0d4e2f6a-7a2b-4f8e-9a51-6c3d2e1f0a9b",
    )


def make_quote(tpm: SoftwareTpm, selection, binding: bytes):
    """The quote over the binding, and the values of exactly the quoted PCRs."""
    attest, signature = tpm.quote(selection, binding)
    values = [
        evidence_pb2.PcrBankValues(
            algorithm=bank, values=[evidence_pb2.PcrValue(index=pcr, digest=value) for pcr, value in pcrs]
        )
        for bank, pcrs in tpm.read(selection)
    ]
    return evidence_pb2.Quote(attest=attest, signature=signature), values


def make_bank_proof(tpm: SoftwareTpm, quote_binding: bytes) -> evidence_pb2.BankProof:
    capability_data, attest, signature = tpm.prove_banks(H(digests.banks_binding(quote_binding)))
    return evidence_pb2.BankProof(capability_data=capability_data, attest=attest, signature=signature)


def pcr_values_digest(banks) -> bytes:
    triples = [(bank.algorithm, value.index, value.digest) for bank in banks for value in bank.values]
    return H(digests.pcr_values(triples))


def read_logs(tpm: SoftwareTpm, wanted):
    """Announcements of the wanted (kind, offset), and the chunks that follow them."""
    contents = {evidence_pb2.LOG_KIND_BOOT: tpm.boot_log, evidence_pb2.LOG_KIND_IMA: b""}
    announcements, chunks = [], []
    for kind, offset in wanted:
        part = contents.get(kind, b"")[offset:]
        announcements.append(
            evidence_pb2.LogDescriptor(
                kind=kind,
                offset=offset,
                size=len(part),
                sha256=hashlib.sha256(part).digest(),
                unreadable="" if kind in contents else "not found",
            )
        )
        for start in range(0, len(part), CHUNK):
            data = part[start : start + CHUNK]
            chunks.append(evidence_pb2.LogChunk(kind=kind, offset=offset + start, data=data))
    return announcements, chunks


def answer(tpm: SoftwareTpm, challenge, host_id: str, tls_key_hash: bytes, new_tls_public_key: bytes = b""):
    """The evidence for a challenge, and the chunks that follow it."""
    facts = collect_facts()
    facts_digest = H(digests.facts(facts, new_tls_public_key))
    binding = H(digests.round_binding(challenge.nonce, host_id, tls_key_hash, facts_digest))
    asked = [(bank.algorithm, list(bank.pcrs)) for bank in challenge.selection]
    quote, pcr_values = make_quote(tpm, ALL_BANKS if challenge.all_banks else asked, binding)
    bank_proof = make_bank_proof(tpm, binding) if challenge.all_banks else None
    announcements, chunks = read_logs(tpm, [(log.kind, log.offset) for log in challenge.logs])
    evidence = evidence_pb2.Evidence(
        quote=quote,
        pcr_values=pcr_values,
        facts=facts,
        logs=announcements,
        bank_proof=bank_proof,
        new_tls_public_key=new_tls_public_key,
    )
    return evidence, chunks
