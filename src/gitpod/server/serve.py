"""The service on a socket, under uvicorn."""

import os
import signal
import socket
from collections.abc import Callable

import uvicorn

from gitpod.server.app import Embedded
from gitpod.server.errors import ServiceError

BACKLOG = 2048
GRACE = 10
"""Seconds that requests under way may take once the service was told to stop."""


def run(store: str, host: str, port: int, token: str, *, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. `announce` gets the URL once connections are accepted.

    Raises:
        ServiceError: the store cannot be opened, the address cannot be listened on, or the token is
            none that a header can carry.
    """
    service = Embedded(store, token)
    try:
        with _listen(host, port) as listener:
            config = uvicorn.Config(
                service.asgi,
                # httptools is faster, and keeps any amount of headers in memory.
                http="h11",
                ws="none",
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE,
            )
            server = uvicorn.Server(config)

            def stop(_signal: int, _frame: object) -> None:
                server.should_exit = True

            # uvicorn's own handlers are there only while it runs, and pass the signal on to these.
            signal.signal(signal.SIGINT, stop)
            signal.signal(signal.SIGTERM, stop)
            announce(_url(*listener.getsockname()[:2]))
            server.run(sockets=[listener])
    finally:
        service.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except UnicodeError:
        raise ServiceError(f"cannot listen on {host}: it is not a host name") from None
    except OSError as error:
        # Look-ups have negative numbers of their own; a failed bind tells the address once more.
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
        raise ServiceError(f"cannot listen on {host} port {port}: {reason}") from None


def _url(host: str, port: int) -> str:
    """How to reach the listener from this machine; one on every address is on loopback too."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 # only compared
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
