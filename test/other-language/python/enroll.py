"""Enrolment, as docs/protocol.md has it."""

import base64
import hashlib
import hmac
import time

import digests
import evidence
from assay.v1 import enrollment_pb2, enrollment_pb2_grpc, evidence_pb2
from certificates import AK, HOST_CLIENT, SERVICE, check_leaf, check_pin, check_signature, demand, key_hash
from digests import MAC, H
from software_tpm import SoftwareTpm
from structures import name_of

EVERY_LOG = [(evidence_pb2.LOG_KIND_BOOT, 0), (evidence_pb2.LOG_KIND_USERSPACE, 0), (evidence_pb2.LOG_KIND_IMA, 0)]


class Enrollment:
    """One enrolment over one channel, whose TLS key is `tls_key`."""

    def __init__(self, channel, tpm: SoftwareTpm, tls_key, pin: str):
        self._stub = enrollment_pb2_grpc.EnrollmentServiceStub(channel)
        self._tpm = tpm
        self._tls_key = tls_key.public_key()
        self._pin = pin

    def run(self) -> enrollment_pb2.CompleteEnrollmentResponse:
        begun = self._begin()
        self._check_begun(begun)
        mac, proof, chunks = self._prove(begun)
        messages = [enrollment_pb2.CompleteEnrollmentRequest(proof=proof)]
        messages += [enrollment_pb2.CompleteEnrollmentRequest(chunk=chunk) for chunk in chunks]
        completed = self._stub.CompleteEnrollment(iter(messages), timeout=60)
        self._check_completed(completed, mac)
        return completed

    def _begin(self) -> enrollment_pb2.BeginEnrollmentResponse:
        areas = self._tpm.ek_public_areas
        request = enrollment_pb2.BeginEnrollmentRequest(
            endorsement_keys=[enrollment_pb2.EndorsementKey(public_area=area) for area in areas],
            ak_public_area=self._tpm.ak_public_area,
            parent_index=0,
        )
        return self._stub.BeginEnrollment(request, timeout=30)

    def _check_begun(self, begun) -> None:
        """Everything that must hold before a credential is opened."""
        authority = check_pin(begun.authority_certificate, self._pin)
        service, (self._deployment,) = check_leaf(begun.service_certificate, authority, SERVICE)
        areas = self._tpm.ek_public_areas
        demand(len(begun.enrollment_id) == 16 and len(begun.nonce) == 32, "the challenge has another form")
        demand(len(begun.credentials) == len(areas), "there is not one credential for each EK")
        credentials = [(credential.credential_blob, credential.encrypted_secret) for credential in begun.credentials]
        demand(all(len(part) <= 1024 for pair in credentials for part in pair), "a credential is too large")
        demand(begun.tls_key_sha256 == key_hash(self._tls_key), "somebody stands between the service and this host")
        expire_millis = begun.expire_time.seconds * 1000 + begun.expire_time.nanos // 1_000_000
        self._transcript = H(
            digests.transcript(
                begun.enrollment_id,
                [name_of(area) for area in areas],
                0,
                self._tpm.ak_name,
                key_hash(self._tls_key),
                credentials,
                begun.nonce,
                expire_millis,
            )
        )
        check_signature(service, begun.signature, self._transcript)
        demand(time.time() * 1000 < expire_millis, "the challenge has expired: is the clock right?")

    def _prove(self, begun):
        opened = [
            self._tpm.activate(index, credential.credential_blob, credential.encrypted_secret)
            for index, credential in enumerate(begun.credentials)
        ]
        self._key = digests.enrollment_key(opened, self._transcript)
        facts = evidence.collect_facts()
        facts_digest = H(digests.facts(facts))
        binding = H(digests.enrollment_binding(begun.nonce, self._transcript, facts_digest))
        quote, pcr_values = evidence.make_quote(self._tpm, evidence.ALL_BANKS, binding)
        bank_proof = evidence.make_bank_proof(self._tpm, binding)
        logs, chunks = evidence.read_logs(self._tpm, EVERY_LOG)
        values_digest = evidence.pcr_values_digest(pcr_values)
        parts = (self._transcript, quote, values_digest, bank_proof, facts_digest, H(digests.logs(logs)))
        mac = MAC(self._key, digests.proof(*parts))
        proof = enrollment_pb2.EnrollmentProof(
            token=begun.token,
            hmac=mac,
            quote=quote,
            pcr_values=pcr_values,
            bank_proof=bank_proof,
            facts=facts,
            logs=logs,
        )
        return mac, proof, chunks

    def _check_completed(self, completed, mac: bytes) -> None:
        """The service knew the secrets and is the pinned one, and the certificates are this host's."""
        host_id = completed.host.name.removeprefix("hosts/")
        demand(completed.host.name == f"hosts/{host_id}", "the host has no name")
        outcome = H(
            digests.outcome(
                self._transcript,
                mac,
                host_id,
                completed.host.state,
                completed.replacement_pending,
                completed.ak_certificate,
                completed.client_certificate,
            )
        )
        acceptance = MAC(self._key, digests.acceptance(outcome))
        demand(hmac.compare_digest(completed.hmac, acceptance), "the service did not know the secrets")
        authority = check_pin(completed.authority_certificate, self._pin)
        service, deployment = check_leaf(completed.service_certificate, authority, SERVICE)
        demand(deployment == (self._deployment,), "the service is of another deployment")
        check_signature(service, completed.signature, outcome)
        demand(host_id == first_host_id(self._tpm), "the host id is not that of the parent EK")
        if completed.client_certificate or not completed.replacement_pending:
            client, names = check_leaf(completed.client_certificate, authority, HOST_CLIENT)
            demand(names == (self._deployment, host_id), "the client certificate names another host")
            demand(key_hash(client.public_key()) == key_hash(self._tls_key), "the client certificate has another key")
        if completed.ak_certificate:
            _, names = check_leaf(completed.ak_certificate, authority, AK)
            demand(names == (self._deployment, host_id), "the AK certificate names another host")


def first_host_id(tpm: SoftwareTpm) -> str:
    """`h-` and the first 130 bits of the parent EK's fingerprint, in base32."""
    fingerprint = hashlib.sha256(tpm.ek_spki(0)).digest()
    return "h-" + base64.b32encode(fingerprint).decode().lower()[:26]
