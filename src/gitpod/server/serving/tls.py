"""TLS of the HTTP socket, from PEM files."""

import ssl
from pathlib import Path

from gitpod.server.errors import ServiceError


def server_context(certificate: Path | None, key: Path | None, client_ca: Path | None) -> ssl.SSLContext | None:
    """Return the TLS context of a listener, None without a certificate.

    Args:
        certificate: a PEM file of the certificate and its chain.
        key: a PEM file of its private key, without a password.
        client_ca: a PEM file of the authority of client certificates. None: callers need no certificate.

    Raises:
        ServiceError: one of the files is missing or cannot be used.
    """
    if certificate is None and key is None:
        if client_ca is not None:
            raise ServiceError("a client CA needs a certificate of the service, and its key")
        return None
    if certificate is None or key is None:
        raise ServiceError("TLS needs both a certificate and its key")
    for file in (certificate, key, client_ca):
        if file is not None and not file.is_file():
            raise ServiceError(f"there is no file {file}")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, key, password="")
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise ServiceError(f"{key} is not the key of {certificate}") from None
        raise ServiceError("the certificate, its key or the client CA cannot be read as PEM") from None
    return context
