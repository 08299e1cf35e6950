"""`ca_cert` and `client_cert`: which files are refused before any call."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.service import TOKEN

from gitpod import AsyncGitpod, Gitpod, GitpodError

CANARY = "hunter2"


@pytest.fixture
def files(tmp_path: Path, pki: Path) -> Path:
    """A directory of what is no certificate and no key, whose names and contents are nobody's business."""
    certificate = (pki / "client.crt").read_bytes()
    out = tmp_path / CANARY
    out.mkdir()
    (out / "empty").touch()
    (out / "text").write_text(f"{CANARY}\n")
    (out / "broken").write_bytes(certificate.replace(b"\nMII", f"\n{CANARY}".encode()))
    (out / "encrypted.pem").write_bytes(certificate + (pki / "encrypted.key").read_bytes())
    for path in pki.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    return out


BAD_FILES: list[tuple[str, str | tuple[str, str]]] = [
    *[("ca_cert", name) for name in ("missing", "empty", "text", "broken", "client.key", ".")],
    *[("client_cert", name) for name in ("missing", "empty", "text", "broken", "client.crt", "client.key", ".")],
    ("client_cert", ("client.crt", "missing")),
    ("client_cert", ("client.crt", "server.key")),
    ("client_cert", ("client.key", "client.crt")),
    ("client_cert", ("client.crt", "encrypted.key")),
    ("client_cert", ("client.crt", "legacy.key")),
    ("client_cert", "encrypted.pem"),
]


@pytest.mark.parametrize(("option", "name"), BAD_FILES, ids=str)
def test_a_bad_file_is_refused(
    kind: type[Gitpod] | type[AsyncGitpod], files: Path, option: str, name: str | tuple[str, str]
) -> None:
    """In the constructor, and without its name or what it holds."""
    given: Any = files / name if isinstance(name, str) else tuple(files / each for each in name)
    options: dict[str, Any] = {option: given}
    with pytest.raises(GitpodError) as caught:
        kind(bearer_token=TOKEN, base_url="https://secrets.example.com", **options)
    assert str(caught.value).startswith(f"{option}: must be the path of a PEM file")
    assert caught.value.__suppress_context__
    assert not any(shown in str(caught.value) for shown in (CANARY, "PRIVATE KEY", "MII"))


@pytest.mark.parametrize("value", [3, ["a.pem"], ("a.pem",), ("a.pem", "b.pem", "c.pem"), (3, 4), b"", "", ()])
@pytest.mark.parametrize("option", ["ca_cert", "client_cert"])
def test_what_is_no_path_is_refused(option: str, value: object) -> None:
    """Also what is empty, as a variable that was not set would make it: it is no wish for the system's."""
    options: dict[str, Any] = {option: value}
    with pytest.raises(GitpodError, match=f"^{option}: "):
        Gitpod(bearer_token=TOKEN, base_url="https://secrets.example.com", **options)


@pytest.mark.parametrize("option", ["ca_cert", "client_cert"])
@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"base_url": "http://127.0.0.1:9"}, "needs an https:// base_url"),
        ({"base_url": "sqlite://"}, "there is no network between a client and its embedded service"),
        ({"http_client": httpx.Client}, "with http_client=, set this up on that client"),
    ],
    ids=["http", "sqlite", "http_client"],
)
def test_a_certificate_that_would_do_nothing_is_refused(
    pki: Path, option: str, where: dict[str, Any], message: str
) -> None:
    """Rather than leave a connection less safe than it was meant to be."""
    options: dict[str, Any] = {"base_url": "https://secrets.example.com", **where, option: pki / "client.pem"}
    if make := options.get("http_client"):
        options["http_client"] = make()
    with pytest.raises(GitpodError, match=f"^{option}: {message}$"):
        Gitpod(bearer_token=TOKEN, **options)
