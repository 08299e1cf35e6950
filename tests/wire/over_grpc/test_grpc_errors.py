"""What a call over gRPC makes of each status: the exception, the outcome, and whether it is sent again."""

import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2  # type: ignore[import-untyped] # it is not marked as typed
from tests.support.caller import Caller
from tests.support.grpc import GRPCPeer
from tests.support.grpc_calls import params, shed, told
from tests.support.ways import UUID, Connect

import gitpod
from gitpod_proto.google.rpc import error_details_pb as ours

CODES: list[tuple[str, type[gitpod.APIError], str, int, str]] = [
    # the status, the exception, its code, its HTTP status, its outcome
    ("CANCELLED", gitpod.APIStatusError, "canceled", 499, "unknown"),
    ("UNKNOWN", gitpod.InternalServerError, "unknown", 500, "unknown"),
    ("INVALID_ARGUMENT", gitpod.BadRequestError, "invalid_argument", 400, "rejected"),
    ("DEADLINE_EXCEEDED", gitpod.InternalServerError, "deadline_exceeded", 504, "unknown"),
    ("NOT_FOUND", gitpod.NotFoundError, "not_found", 404, "rejected"),
    ("ALREADY_EXISTS", gitpod.ConflictError, "already_exists", 409, "rejected"),
    ("PERMISSION_DENIED", gitpod.PermissionDeniedError, "permission_denied", 403, "rejected"),
    ("RESOURCE_EXHAUSTED", gitpod.RateLimitError, "resource_exhausted", 429, "unknown"),
    ("FAILED_PRECONDITION", gitpod.BadRequestError, "failed_precondition", 400, "rejected"),
    ("ABORTED", gitpod.ConflictError, "aborted", 409, "rejected"),
    ("OUT_OF_RANGE", gitpod.BadRequestError, "out_of_range", 400, "rejected"),
    ("UNIMPLEMENTED", gitpod.InternalServerError, "unimplemented", 501, "rejected"),
    ("INTERNAL", gitpod.InternalServerError, "internal", 500, "unknown"),
    ("UNAVAILABLE", gitpod.InternalServerError, "unavailable", 503, "unknown"),
    ("DATA_LOSS", gitpod.InternalServerError, "data_loss", 500, "unknown"),
    ("UNAUTHENTICATED", gitpod.AuthenticationError, "unauthenticated", 401, "rejected"),
]


@pytest.mark.parametrize(("status", "kind_of", "code", "http", "outcome"), CODES)
def test_each_status_has_its_error(
    client: Caller,
    there: GRPCPeer,
    project: str,
    status: str,
    kind_of: type[gitpod.APIError],
    code: str,
    http: int,
    outcome: str,
) -> None:
    """And none of them has a create sent again, as none is the service's own word that it did nothing for now."""
    with pytest.raises(gitpod.APIError, match=f"^{code}: as told") as caught:
        client.create(**params(project), extra_headers=told(project, fail=status))
    error = caught.value
    assert (type(error), error.code, error.status_code, error.outcome) == (kind_of, code, http, outcome)
    assert (error.attempts, len(there.calls(project))) == (1, 1)


def test_details_are_decoded(client: Caller, project: str) -> None:
    """Those that google.rpc defines, as our own classes; others are left out."""
    details = (
        shed(7),
        error_details_pb2.ErrorInfo(reason="QUOTA", domain="example.com", metadata={"a": "b"}),
        Duration(seconds=1),
    )
    with pytest.raises(gitpod.BadRequestError) as caught:
        client.create(**params(project), extra_headers=told(project, *details, fail="INVALID_ARGUMENT"))
    retry, info = caught.value.details
    assert isinstance(retry, ours.RetryInfo)
    assert retry.retry_delay
    assert retry.retry_delay.seconds == 7
    expected = ours.ErrorInfo(reason="QUOTA", domain="example.com", metadata={"a": "b"})
    assert info == expected


@pytest.mark.parametrize("status", ["UNAVAILABLE", "RESOURCE_EXHAUSTED"])
def test_a_shed_create_is_sent_again(client: Caller, there: GRPCPeer, project: str, status: str) -> None:
    """Three times at the most, when the service itself says by a RetryInfo that it did nothing."""
    with pytest.raises(gitpod.APIStatusError) as caught:
        client.create(**params(project), extra_headers=told(project, shed(), fail=status))
    assert (caught.value.outcome, caught.value.attempts, len(there.calls(project))) == ("rejected", 3, 3)


def test_a_create_that_is_shed_once_succeeds(client: Caller, there: GRPCPeer, project: str) -> None:
    """With less time left for the second attempt."""
    client.create(**params(project), extra_headers=told(project, shed(), fail="UNAVAILABLE", times="1"))
    first, second = there.calls(project)
    assert second["left"] < first["left"]


def test_a_retry_info_is_waited_for(client: Caller, there: GRPCPeer, project: str) -> None:
    """So one that is longer than the deadline ends the call at once."""
    headers = told(project, shed(3600), fail="UNAVAILABLE")
    with pytest.raises(gitpod.InternalServerError) as caught:
        client.create(**params(project), extra_headers=headers)
    assert (caught.value.outcome, caught.value.attempts, len(there.calls(project))) == ("rejected", 1, 1)


def test_a_read_is_sent_again(client: Caller, there: GRPCPeer, project: str) -> None:
    """Also when nobody says what became of it."""
    made = client.create(**params(project)).secret
    headers = told(project, fail="UNAVAILABLE", times="2")
    assert client.get_value(secret_id=made.id, extra_headers=headers).reveal() == "v"
    assert len(there.calls(project)) == 3


def test_a_retried_delete_may_find_nothing(client: Caller, there: GRPCPeer, project: str) -> None:
    """As the attempt before it did the work; a first attempt that finds nothing still fails."""
    made = client.create(**params(project)).secret
    headers = told(project, shed(), fail="UNAVAILABLE", times="1", after="1")
    client.delete(secret_id=made.id, extra_headers=headers)
    assert len(there.calls(project)) == 2
    with pytest.raises(gitpod.NotFoundError):
        client.delete(secret_id=made.id)


def test_the_deadline_holds(client: Caller, there: GRPCPeer, project: str) -> None:
    """A service that never answers costs the timeout, and the outcome is unknown."""
    with pytest.raises(gitpod.APITimeoutError) as caught:
        client.create(**params(project), timeout=0.5, extra_headers=told(project, stall="1"))
    assert (caught.value.code, caught.value.outcome) == ("deadline_exceeded", "unknown")
    assert len(there.calls(project)) == 1


def test_an_endless_answer_is_cut_off(client: Caller, there: GRPCPeer, project: str) -> None:
    """Before it is decoded, and it is not asked for again."""
    with pytest.raises(gitpod.APIResponseValidationError, match="larger than 4194304 bytes") as caught:
        client.get_value(secret_id=UUID, extra_headers=told(project, fill="5000000"))
    assert (caught.value.attempts, len(there.calls(project))) == (1, 1)


def test_a_compression_that_the_service_does_not_know(connect: Connect, there: GRPCPeer, project: str) -> None:
    """Grpcio answers INTERNAL to zstd, and nothing has reached the service: the error says so, and what to do."""
    client = connect(there.url, compression="zstd")
    for _ in range(2):
        with pytest.raises(gitpod.InternalServerError, match="does not know this compression; use gzip, or") as caught:
            client.create(**params(project), extra_headers=told(project))
        assert (caught.value.code, caught.value.status_code) == ("unimplemented", 501)
        assert (caught.value.outcome, caught.value.attempts) == ("rejected", 1)
    connect(there.url, compression="gzip").create(**params(project), extra_headers=told(project))
    assert len(there.calls(project)) == 1
