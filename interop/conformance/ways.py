"""The kinds of client that the suite tries, and what carries their requests."""

import ssl
from collections.abc import Callable
from functools import cache
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Any, NamedTuple

import httpx
import httpx2
import pyqwest

from gitpod import AsyncGitpod, Gitpod


class Target(NamedTuple):
    """What a case asks of its client. Cases that ask for the same share one."""

    url: str
    protocol: Any
    codec: Any
    compression: Any
    http2: bool
    server_cert: bytes
    client_cert: bytes
    client_key: bytes


@cache
def folder() -> TemporaryDirectory[str]:
    """The folder of this process's files. It goes with the process."""
    return TemporaryDirectory()


def in_file(*contents: bytes) -> str:
    """Return the path of a new file: the SDK takes certificates as files."""
    with NamedTemporaryFile(dir=folder().name, delete=False) as file:
        file.writelines(contents)
    return file.name


def own(target: Target) -> dict[str, Any]:
    """The SDK's own connections."""
    client_cert = in_file(target.client_cert, b"\n", target.client_key) if target.client_cert else None
    return {
        "http2": target.http2,
        "ca_cert": in_file(target.server_cert) if target.server_cert else None,
        "client_cert": client_cert,
    }


def by_httpx(kind: Callable[..., object]) -> Callable[[Target], dict[str, Any]]:
    """A client of httpx or httpx2."""

    def make(target: Target) -> dict[str, Any]:
        context = ssl.create_default_context(cadata=target.server_cert.decode() or None)
        if target.client_cert:
            context.load_cert_chain(in_file(target.client_cert, b"\n", target.client_key))
        return {"http_client": kind(verify=context, trust_env=False)}

    return make


def by_pyqwest(kind: Callable[..., object]) -> Callable[[Target], dict[str, Any]]:
    """A transport of pyqwest."""

    def make(target: Target) -> dict[str, Any]:
        transport = kind(
            tls_ca_cert=target.server_cert or None,
            tls_cert=target.client_cert or None,
            tls_key=target.client_key or None,
            http_version=pyqwest.HTTPVersion.HTTP2 if target.http2 else pyqwest.HTTPVersion.HTTP1,
            follow_redirects=False,
        )
        return {"http_client": transport}

    return make


Maker = Callable[[Target], dict[str, Any]]
MAKERS: dict[str, tuple[type[Gitpod | AsyncGitpod], Maker]] = {
    "sync": (Gitpod, own),
    "async": (AsyncGitpod, own),
    "sync-forked": (Gitpod, own),
    "async-forked": (AsyncGitpod, own),
    "sync-httpx": (Gitpod, by_httpx(httpx.Client)),
    "async-httpx": (AsyncGitpod, by_httpx(httpx.AsyncClient)),
    "sync-httpx2": (Gitpod, by_httpx(httpx2.Client)),
    "async-httpx2": (AsyncGitpod, by_httpx(httpx2.AsyncClient)),
    "sync-pyqwest": (Gitpod, by_pyqwest(pyqwest.SyncHTTPTransport)),
    "async-pyqwest": (AsyncGitpod, by_pyqwest(pyqwest.HTTPTransport)),
}
