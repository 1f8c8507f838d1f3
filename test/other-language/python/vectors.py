"""Recomputes test/vectors/transcripts.json: prints, for each group, the encoded bytes and the output of each vector."""

import json
import re
import sys
from types import SimpleNamespace

import digests
from digests import MAC, H

NUMBERS = {"kind", "offset", "size"}
TEXTS = {"hostname", "os", "kernel", "agent_version", "boot_id", "unreadable", "hostId"}


def value_of(name: str, value):
    """A value of the file as the digests take it: bytes stand there in hexadecimal, large numbers as text."""
    if isinstance(value, list):
        return [value_of("", item) for item in value]
    if isinstance(value, dict):
        fields = {re.sub("(?<!^)(?=[A-Z])", "_", key).lower(): item for key, item in value.items()}
        return SimpleNamespace(**{key: value_of(key, item) for key, item in fields.items()})
    if name in NUMBERS:
        return int(value)
    return bytes.fromhex(value) if isinstance(value, str) and name not in TEXTS else value


def triples(values):
    return [(value.algorithm, value.index, value.digest) for value in values]


def pairs(credentials):
    return [(credential.credential_blob, credential.encrypted_secret) for credential in credentials]


def of_transcript(i):
    parts = (i.enrollmentId, i.ekNames, i.parentIndex, i.akName, i.tlsKeySha256, pairs(i.credentials), i.nonce)
    return digests.transcript(*parts, i.expireMillis)


def of_proof(i):
    values = H(digests.pcr_values(triples(i.pcrValues)))
    return digests.proof(i.transcript, i, values, i.bankProof, i.facts, H(digests.logs(i.logs)))


def of_outcome(i):
    what = (i.transcript, i.proofMac, i.hostId, i.state, i.replacementPending, i.akCertificate, i.clientCertificate)
    return digests.outcome(*what)


ENCODERS = {
    "facts": lambda i: digests.facts(i.facts, i.newTlsPublicKey),
    "enrollBegin": of_transcript,
    "enrollQuote": lambda i: digests.enrollment_binding(i.nonce, i.transcript, i.facts),
    "attest": lambda i: digests.round_binding(i.nonce, i.hostId, i.tlsKeySha256, i.facts),
    "banks": lambda i: digests.banks_binding(i.quoteBinding),
    "pcrValues": lambda i: digests.pcr_values(triples(i.values)),
    "logs": lambda i: digests.logs(i.logs),
    "enrollKey": lambda i: digests.enrollment_secrets(i.secrets),
    "enrollProof": of_proof,
    "enrollOutcome": of_outcome,
    "enrollAccept": lambda i: digests.acceptance(i.outcomeDigest),
}


def recompute(group: str, vector: dict) -> dict:
    fields = {name: value_of(name, value) for name, value in vector["input"].items()}
    given = SimpleNamespace(**fields)
    encoded = ENCODERS[group](given)
    if group == "enrollKey":
        output = digests.enrollment_key(given.secrets, given.transcript)
    else:
        output = MAC(given.key, encoded) if "key" in fields else H(encoded)
    return {"name": vector["name"], "encoded": encoded.hex(), "output": output.hex()}


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        groups = json.load(file)["vectors"]
    print(json.dumps({group: [recompute(group, vector) for vector in vectors] for group, vectors in groups.items()}))
