"""Logging: one line of JSON for each request, without anything that the request carried."""

import json
import logging
import time
import traceback
import uuid
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TextIO

logger = logging.getLogger("gitpod.server")
requests = logging.getLogger("gitpod.server.requests")
LONGEST_LINE = 4096
"""The most bytes of a line. A pipe takes so many as a whole (PIPE_BUF), whichever other workers write to it."""
LONGEST_TEXTS = 1800
"""Characters of the message and the stack together, in a line that would be longer. A character may take two bytes."""
LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


@dataclass(slots=True)
class Request:
    """A request under way. `code` is a Connect code or `ok`, empty for a request that is no call of the service."""

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    protocol: str = ""
    method: str = ""
    subject: str = ""
    code: str = ""
    status: int = 0
    began_at: float = field(default_factory=time.perf_counter)

    def log(self) -> None:
        """Write the line of the request."""
        fields = {
            "protocol": self.protocol,
            "method": self.method,
            "code": self.code,
            "status": self.status,
            "subject": self.subject,
            "duration_ms": round((time.perf_counter() - self.began_at) * 1000, 3),
            "request_id": self.id,
        }
        requests.info("request", extra={"fields": fields})


REQUEST: ContextVar[Request] = ContextVar("gitpod_request")
"""The request under way. It is set before anything else is done with a request."""


class JSONLines(logging.Formatter):
    """Formats a record as a line of JSON. Leaves out the message of an exception, which may quote a value."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line (logging.Formatter)."""
        line: dict[str, object] = {
            # A clock may be wrong, and a datetime ends with the year 9999.
            "time": datetime.fromtimestamp(min(max(record.created, 0), LATEST), UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
            line["stack"] = "".join(traceback.format_tb(record.exc_info[2]))
        text = json.dumps({key: value for key, value in line.items() if value != ""})
        if len(text) < LONGEST_LINE:
            return text
        stack = line.pop("stack", "")
        shortened = {"message": _short(line["message"], LONGEST_TEXTS // 6 if stack else LONGEST_TEXTS)}
        return json.dumps(line | shortened | ({"stack": _short(stack, LONGEST_TEXTS * 5 // 6)} if stack else {}))


def _short(text: object, most: int) -> str:
    """Return the beginning and the end of a text, with `?` for what JSON would escape by six bytes or more."""
    clean = "".join(each if each == "\n" or (each.isascii() and each.isprintable()) else "?" for each in str(text))
    begin = most // 6
    return clean if len(clean) <= most else f"{clean[:begin]}...{clean[begin + 3 - most :]}"


def to(stream: TextIO) -> None:
    """Send the logs of the service, and of the libraries that it uses, to a stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONLines())
    levels = {
        "gitpod.server": logging.INFO,
        "uvicorn": logging.WARNING,
        "opentelemetry": logging.WARNING,
    }
    for name, level in levels.items():
        named = logging.getLogger(name)
        named.handlers[:] = [handler]
        named.setLevel(level)
        named.propagate = False
