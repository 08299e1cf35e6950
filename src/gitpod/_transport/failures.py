"""How an exchange over HTTP fails, by what that proves about the request.

Any other exception proves nothing: the service may have processed the request.
"""

from gitpod.errors import APIConnectionError

NO_AUTHORITIES = (
    "there are no certificate authorities to trust a service by: install the system's (the package ca-certificates), "
    "or set SSL_CERT_FILE, or pass ca_cert=…"
)
OTHER_HOST = "the certificate is one of another host ({}); is base_url right?"
IS_TLS = "the port speaks TLS, and base_url does not begin with https://"
NO_TLS = "the port does not speak TLS, and base_url begins with https://"
UNTRUSTED = (
    "the certificate of the service is not trusted ({}); if it is from an authority of your own, pass its PEM file as "
    "ca_cert=…, or set SSL_CERT_FILE"
)
UNWANTED = "the service does not accept the client's certificate; pass the one that it asks for as client_cert=…"


class NotSentError(ConnectionError):
    """The service never saw the request.

    Attributes:
        permanent: whether another attempt would fail for the same reason.
    """

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = permanent


class NotSentTimeoutError(NotSentError, TimeoutError):
    """No connection was established in time."""


class BrokenExchangeError(ConnectionError):
    """The connection failed after the request, or a part of it, was sent."""


def forked(what: str) -> NotSentError:
    """The failure of what a forked process cannot use."""
    return NotSentError(
        f"this process was forked, and {what} does not survive that; make the client after the fork, or start "
        "processes with the spawn method",
        permanent=True,
    )


def unavailable(why: str) -> APIConnectionError:
    """The error of a call that begins when the interpreter is ending."""
    text = f"unavailable: the interpreter is ending, and {why} any more"
    return APIConnectionError(text, code="unavailable", outcome="not_sent")


def ending(what: str) -> NotSentError:
    """The failure of what an interpreter that is ending cannot do."""
    return NotSentError(f"the interpreter is ending, and {what} with it", permanent=True)
