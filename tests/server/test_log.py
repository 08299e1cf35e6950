"""The line of a request, which is written without the help of `logging`."""

import io
import json
import logging
import re
import uuid
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from gitpod.server import log
from gitpod.server.log import LONGEST_LINE, JSONLines, Lines, Request, TextLines

REQUESTS = {
    "a call": Request(protocol="connect", method="ListSecrets", code="ok", status=200, subject=str(uuid.uuid4())),
    "a probe of gRPC": Request(protocol="grpc", code="unimplemented"),
    "what is no request": Request(status=400),
    "an odd subject": Request(protocol="grpc-web", status=200, subject='é"\\\n\u2028'),
}
TIMES = [0.0, 1.5, 1764200000.123456, -1.0, 1e12]


@contextmanager
def logging_to(*handlers: logging.Handler) -> Generator[None]:
    """Replace the handlers of the service's logger for a while."""
    logger, level = log.logger, log.logger.level
    before, logger.handlers[:] = logger.handlers[:], handlers
    logger.setLevel(logging.INFO)
    yield
    logger.handlers[:] = before
    logger.setLevel(level)


@pytest.mark.parametrize("created", TIMES)
@pytest.mark.parametrize("name", REQUESTS)
def test_a_line_is_what_the_formatter_makes_of_it(name: str, created: float) -> None:
    """Byte by byte, whatever the clock says."""
    request, stream = REQUESTS[name], io.StringIO()
    with logging_to(Lines(stream), logging.NullHandler()):
        request.log()
    fields = json.loads(stream.getvalue())
    line = request.line(created, fields["duration_ms"])
    record = logging.LogRecord("gitpod.server.requests", logging.INFO, "", 0, "request", (), None)
    record.created = created
    given = ("protocol", "method", "code", "status", "subject", "duration_ms", "request_id")
    record.fields = {key: fields[key] for key in given if key in fields}
    assert line == JSONLines().format(record)


def test_a_line_is_written_once_to_each_handler() -> None:
    """Alone, or beside a handler of somebody else's."""
    alone, beside, other = io.StringIO(), io.StringIO(), io.StringIO()
    with logging_to(Lines(alone)):
        REQUESTS["a call"].log()
    with logging_to(Lines(beside), logging.StreamHandler(other)):
        REQUESTS["a call"].log()
    assert (alone.getvalue().count("\n"), beside.getvalue().count("\n"), other.getvalue()) == (1, 1, "request\n")
    assert json.loads(alone.getvalue()).keys() == json.loads(beside.getvalue()).keys()


def test_a_stream_that_is_closed_breaks_no_request() -> None:
    """The answer is worth more than its line."""
    stream = io.StringIO()
    stream.close()
    with logging_to(Lines(stream)):
        REQUESTS["a call"].log()


def text_of(message: str, error: BaseException | None = None) -> str:
    """A record as people read it."""
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("gitpod.server", logging.ERROR, "", 0, message, (), info)
    return TextLines().format(record)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_line_of_text_is_one_line(name: str) -> None:
    """In 80 columns, the same through `logging`, and with a word for whatever a request has no code for."""
    alone, beside = io.StringIO(), io.StringIO()
    with logging_to(Lines(alone, "text")):
        REQUESTS[name].log()
    with logging_to(Lines(beside, "text"), logging.NullHandler()):
        REQUESTS[name].log()
    parts = [re.split(r" +\d+\.\d ms", stream.getvalue().partition("  ")[2]) for stream in (alone, beside)]
    assert parts[0] == parts[1]
    [line] = alone.getvalue().splitlines()
    assert len(line) <= 80
    assert (REQUESTS[name].code or str(REQUESTS[name].status)) in alone.getvalue()


def test_text_has_no_control_characters() -> None:
    """Whoever makes the service log something may not write to the operator's terminal."""
    assert text_of("row \x1b[2J of\nsecret \u202e").endswith("error     row ?[2J of?secret ?")


def test_the_text_of_an_exception_leaves_its_message_out() -> None:
    """It may quote a value. Its class and its stack are shown, in few enough bytes for a pipe."""

    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        raise ValueError("canary")

    with pytest.raises(ValueError, match="canary") as caught:
        deep(100)
    shown = text_of("the worker failed é", caught.value)
    assert "the worker failed" in shown
    assert "canary" not in shown.replace('raise ValueError("canary")', "")
    assert "in deep" in shown
    assert len(shown.encode()) < LONGEST_LINE


def test_each_request_has_an_id_of_its_own() -> None:
    """A random UUID."""
    ids = {Request().id for _ in range(500)}
    assert len(ids) == 500
    for each in ids:
        assert (str(uuid.UUID(each)), uuid.UUID(each).version, uuid.UUID(each).variant) == (each, 4, uuid.RFC_4122)
