"""The service on a socket, under uvicorn."""

import signal
import socket
import sys
from collections.abc import Callable

import uvicorn

from gitpod.server.app import Embedded
from gitpod.server.errors import ServiceError

__all__ = ["ServiceError", "run"]

BACKLOG = 2048
GRACE = 10
"""Seconds that requests under way may take once the service was told to stop."""


def run(store: str, host: str, port: int, token: str, *, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. `announce` gets the URL once connections are accepted.

    Raises:
        ServiceError: the store cannot be opened, or the address cannot be listened on.
    """
    service = Embedded(store, token)
    # uvicorn raises what stopped it once more when it has shut down, and that is no failure.
    signal.signal(signal.SIGTERM, _stop)
    try:
        with _listen(host, port) as listener:
            host, port = listener.getsockname()[:2]
            announce(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
            config = uvicorn.Config(
                service.asgi,
                lifespan="off",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=GRACE,
            )
            uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        return
    finally:
        service.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ServiceError(f"cannot listen on {host} port {port}: {error.strerror}") from None
    return listener


def _stop(_signal: int, _frame: object) -> None:
    sys.exit(0)
