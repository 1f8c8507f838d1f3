"""A client of Assay that was made from proto/assay/v1 and docs/protocol.md alone. It prints one JSON object a line."""

import argparse
import json
import os
import queue
import ssl
import sys
from hashlib import sha256
from pathlib import Path

import grpc
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2
from grpc_status import rpc_status

import evidence
from assay.v1 import attestation_pb2, attestation_pb2_grpc, attestation_result_pb2, attestation_result_pb2_grpc
from certificates import HOST_CLIENT, Refused, bare_certificate, check_leaf, check_pin, demand, find_authority, key_hash
from enroll import Enrollment
from software_tpm import SoftwareTpm, key_pem, load_key, spki


class Agent:
    """An agent and its TPM, kept in one file."""

    def __init__(self, path: Path):
        self._path = path
        self._kept = json.loads(path.read_text()) if path.exists() else self._new()
        self.tpm = SoftwareTpm(self._kept["tpm"])

    def _new(self) -> dict:
        return {"tpm": SoftwareTpm.manufacture().state, "tls_key": key_pem(ec.generate_private_key(ec.SECP256R1()))}

    def keep(self) -> None:
        """Flushed to disk before anything that depends on it is sent."""
        partial = self._path.with_suffix(".new")
        with open(partial, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            json.dump(self._kept, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)

    def enroll(self, server: str, pin: str) -> None:
        self._kept.update(server=server, pin=pin, authority=find_authority(server, pin).hex())
        self.keep()
        key = load_key(self._kept["tls_key"])
        with self._channel(bare_certificate(key)) as channel:
            completed = Enrollment(channel, self.tpm, key, pin).run()
        self._kept.update(
            host=completed.host.name.removeprefix("hosts/"), client_certificate=completed.client_certificate.hex()
        )
        self.keep()
        say(enrolled=MessageToDict(completed.host))

    def attest(self, rounds: int, renew: bool) -> None:
        """So many results on one stream."""
        requests = queue.SimpleQueue()
        hello = attestation_pb2.AttestHello(
            ak_name=self.tpm.ak_name, boot_state=self._boot_state(), agent_version=evidence.AGENT_VERSION
        )
        requests.put(attestation_pb2.AttestRequest(hello=hello))
        new_key = ec.generate_private_key(ec.SECP256R1()) if renew else None
        if new_key is not None:
            self._kept["next_tls_key"] = key_pem(new_key)
            self.keep()
        with self._channel() as channel:
            stream = attestation_pb2_grpc.AttestationServiceStub(channel).Attest(iter(requests.get, None))
            result = None
            for response in stream:
                part = response.WhichOneof("part")
                if part == "challenge":
                    for request in self._answer(response.challenge, new_key):
                        requests.put(request)
                elif part in ("result", "confirmation"):
                    result = response.result if part == "result" else self._confirmed(result, response.confirmation)
                    rounds -= 1
                    say(result=MessageToDict(result))
                elif part == "renewal":
                    self._renew(response.renewal, new_key)
                    new_key = None
                else:
                    say(**{part: MessageToDict(getattr(response, part))})
                if rounds <= 0 and new_key is None:
                    requests.put(None)

    @staticmethod
    def _confirmed(result, confirmation):
        """The last result of the stream, with what has moved of it."""
        if result is None or result.revision != confirmation.revision:
            raise ValueError("a result is confirmed that the stream did not bring")
        for field in ("challenge_time", "valid_until"):
            if confirmation.HasField(field):
                getattr(result, field).CopyFrom(getattr(confirmation, field))
        result.evidence_digest = confirmation.evidence_digest
        result.confirmations = confirmation.confirmations
        return result

    def attest_once(self) -> None:
        """One round without a stream."""
        with self._channel() as channel:
            stub = attestation_pb2_grpc.AttestationServiceStub(channel)
            asked = attestation_pb2.CreateChallengeRequest(ak_name=self.tpm.ak_name, boot_state=self._boot_state())
            created = stub.CreateChallenge(asked, timeout=30)
            answer, chunks = evidence.answer(self.tpm, created.challenge, self._kept["host"], self._tls_key_hash())
            submission = attestation_pb2.EvidenceSubmission(token=created.token, evidence=answer)
            messages = [attestation_pb2.SubmitEvidenceRequest(submission=submission)]
            messages += [attestation_pb2.SubmitEvidenceRequest(chunk=chunk) for chunk in chunks]
            say(result=MessageToDict(stub.SubmitEvidence(iter(messages), timeout=60).result))

    def _answer(self, challenge, new_key):
        public_key = b"" if new_key is None else spki(new_key.public_key())
        answer, chunks = evidence.answer(self.tpm, challenge, self._kept["host"], self._tls_key_hash(), public_key)
        yield attestation_pb2.AttestRequest(evidence=answer)
        for chunk in chunks:
            yield attestation_pb2.AttestRequest(chunk=chunk)

    def _renew(self, renewal, new_key) -> None:
        demand(new_key is not None, "a renewal came that nobody asked for")
        authority = check_pin(renewal.authority_certificate, self._kept["pin"])
        client, (_, host) = check_leaf(renewal.client_certificate, authority, HOST_CLIENT)
        demand(host == self._kept["host"], "the renewed certificate names another host")
        demand(
            key_hash(client.public_key()) == key_hash(new_key.public_key()), "the renewed certificate has another key"
        )
        self._kept.update(tls_key=self._kept.pop("next_tls_key"), client_certificate=renewal.client_certificate.hex())
        self.keep()
        say(renewed=key_hash(client.public_key()).hex())

    def _boot_state(self) -> attestation_pb2.BootState:
        state = self.tpm.state
        return attestation_pb2.BootState(reset_count=state["reset_count"], restart_count=state["restart_count"])

    def _tls_key_hash(self) -> bytes:
        return key_hash(load_key(self._kept["tls_key"]).public_key())

    def _channel(self, certificate: bytes | None = None) -> grpc.Channel:
        certificate = certificate or bytes.fromhex(self._kept["client_certificate"])
        authority = bytes.fromhex(self._kept["authority"])
        pems = [ssl.DER_cert_to_PEM_cert(der).encode() for der in (authority, certificate)]
        credentials = grpc.ssl_channel_credentials(pems[0], self._kept["tls_key"].encode(), pems[1])
        return grpc.secure_channel(self._kept["server"], credentials)


def watch(profile: dict, host: str, until: str, resume_token: str) -> None:
    """Prints what a watch tells, until a change with the status `until` has come."""
    parts = (profile["authority"], profile["key"], profile["certificate"])
    credentials = grpc.ssl_channel_credentials(*(part.encode() for part in parts))
    with grpc.secure_channel(profile["server"], credentials) as channel:
        stub = attestation_result_pb2_grpc.AttestationResultServiceStub(channel)
        request = attestation_result_pb2.WatchAttestationResultsRequest(
            filter=attestation_result_pb2.ResultFilter(hosts=[f"hosts/{host}"]), resume_token=resume_token
        )
        for response in stub.WatchAttestationResults(request):
            say(event=MessageToDict(response))
            status = attestation_result_pb2.TrustStatus.Name(response.change.result.status)
            if response.WhichOneof("event") == "change" and status == f"TRUST_STATUS_{until}":
                return


def say(**what) -> None:
    print(json.dumps(what, ensure_ascii=False), flush=True)


def describe(error: grpc.RpcError) -> dict:
    """The code of an error, and the reason of its ErrorInfo."""
    told = {"code": error.code().name, "message": error.details()}
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            told |= {"reason": info.reason, "domain": info.domain}
    return told


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, help="the file of the agent and its TPM")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("manufacture", help="makes TPM and agent; prints the fingerprints of the EKs")
    enroll = commands.add_parser("enroll")
    enroll.add_argument("server")
    enroll.add_argument("pin")
    attest = commands.add_parser("attest")
    attest.add_argument("--rounds", type=int, default=1)
    attest.add_argument("--renew", action="store_true", help="asks for a certificate for a new TLS key")
    commands.add_parser("attest-once")
    extend = commands.add_parser("extend")
    extend.add_argument("pcr", type=int)
    watching = commands.add_parser("watch")
    watching.add_argument("profile", type=Path)
    watching.add_argument("host")
    watching.add_argument("until")
    watching.add_argument("--resume-token", default="")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if given.command == "watch":
        return watch(json.loads(given.profile.read_text()), given.host, given.until, given.resume_token)
    agent = Agent(given.state)
    if given.command == "manufacture":
        agent.keep()
        say(fingerprints=[sha256(agent.tpm.ek_spki(index)).hexdigest() for index in range(2)])
    elif given.command == "enroll":
        agent.enroll(given.server, given.pin)
    elif given.command == "attest":
        agent.attest(given.rounds, given.renew)
    elif given.command == "attest-once":
        agent.attest_once()
    elif given.command == "extend":
        agent.tpm.extend(given.pcr, b"something else")
        agent.keep()


if __name__ == "__main__":
    try:
        main()
    except Refused as refusal:
        say(refused=str(refusal))
        sys.exit(2)
    except grpc.RpcError as error:
        say(error=describe(error))
        sys.exit(1)
