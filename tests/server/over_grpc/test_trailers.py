"""Errors are cut to what fits into trailers."""

from urllib.parse import quote

from connectrpc.code import Code
from connectrpc.errors import ConnectError

from gitpod.server.edge.trailers import MAX_MESSAGE_BYTES, fitting


def test_an_error_that_fits_stays() -> None:
    """It is the same object, and so the same log line."""
    error = ConnectError(Code.INTERNAL, "x" * MAX_MESSAGE_BYTES)
    assert fitting(error) is error


def test_a_message_that_is_too_long_is_cut() -> None:
    """Between two characters. Over gRPC, each byte beyond ASCII takes three."""
    error = fitting(ConnectError(Code.INTERNAL, "é" * MAX_MESSAGE_BYTES))
    assert error.code is Code.INTERNAL
    assert error.message.strip("é") == "..."
    assert MAX_MESSAGE_BYTES - 6 <= len(quote(error.message.rstrip("."))) <= MAX_MESSAGE_BYTES
