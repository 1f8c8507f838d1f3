"""Selects hosts for a workload, then tells every change of a result until it is stopped. Usage: select_and_watch.py PROFILE"""

import json
import pathlib
import random
import sys
import time

# The generated code imports `assay.v1`: its folder stands on the path, not in a package of yours.
sys.path.insert(0, str(pathlib.Path(__file__).parent / "gen"))

import grpc
from assay.v1 import attestation_result_pb2 as results
from assay.v1 import attestation_result_pb2_grpc, placement_pb2, placement_pb2_grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

FINAL = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
)


def connect(path: str) -> grpc.Channel:
    """A channel over mutual TLS, with the CA of the service and no other. It dials with the first call."""
    profile = json.loads(pathlib.Path(path).read_text())
    authority, key, certificate = (profile[name].encode() for name in ("authority", "key", "certificate"))
    options = [("grpc.keepalive_time_ms", 30_000), ("grpc.max_reconnect_backoff_ms", 10_000)]
    return grpc.secure_channel(
        profile["server"], grpc.ssl_channel_credentials(authority, key, certificate), options=options
    )


def status_of(value: int) -> str:
    return results.TrustStatus.Name(value).removeprefix("TRUST_STATUS_")


def select(channel: grpc.Channel) -> None:
    requirements = placement_pb2.PlacementRequirements(minimum_tier=placement_pb2.PLACEMENT_TIER_AFFIRMING)
    request = placement_pb2.SelectHostsRequest(requirements=requirements, count=10)
    answer = placement_pb2_grpc.PlacementServiceStub(channel).SelectHosts(request, timeout=10)
    for host in answer.hosts:
        say("selected", host.host, status_of(host.status))


def watch(channel: grpc.Channel) -> None:
    """Goes on behind the last message after every interruption."""
    stub = attestation_result_pb2_grpc.AttestationResultServiceStub(channel)
    token = ""
    while True:
        try:
            for message in stub.WatchAttestationResults(results.WatchAttestationResultsRequest(resume_token=token)):
                tell(message)
                token = message.resume_token
            pause = 1.0
        except grpc.RpcError as error:
            reason, pause = describe(error)
            if error.code() in FINAL:
                raise
            if error.code() == grpc.StatusCode.OUT_OF_RANGE:
                # The service cannot resume from there: all present results come anew.
                token = ""
            say("interrupted", error.code().name, reason)
        time.sleep(pause + random.random())


def tell(message: results.WatchAttestationResultsResponse) -> None:
    event = message.WhichOneof("event")
    if event == "change":
        result = message.change.result
        failed = [check.reason for check in result.checks if check.outcome != results.CHECK_OUTCOME_PASSED]
        say("present" if message.change.initial else "changed", result.host, status_of(result.status), *failed)
    elif event == "removal":
        say("removed", message.removal.host, message.removal.reason)
    elif event == "bookmark" and message.bookmark.synced:
        say("synced")


def describe(error: grpc.RpcError) -> tuple[str, float]:
    """The stable reason, and how many seconds to wait: at least what the service asks for."""
    reason, pause = "", 1.0
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(retry):
            pause = max(pause, retry.retry_delay.ToTimedelta().total_seconds())
    return reason, pause


def say(*words: str) -> None:
    print(*words, flush=True)


with connect(sys.argv[1]) as channel:
    try:
        select(channel)
        watch(channel)
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name} {describe(error)[0]}: {error.details()!r}")
    except KeyboardInterrupt:
        pass
