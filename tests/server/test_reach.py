"""How clients and those who watch reach the service: TLS, probes, log lines, telemetry."""

import json
import os
import signal
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from postgres import MISSING, Cluster, binaries, until
from tests.support.peer import free_port
from tests.support.service import TOKEN, Service, serve

import gitpod
from gitpod import Gitpod

VALUE = "canary-value-8d40"
PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
CALL = "/gitpod.v1.SecretService/ListSecrets"


def keep(client: Gitpod, name: str = "KEPT") -> str:
    """Store the marked value, and return its id."""
    return client.secrets.create(name=name, value=VALUE, project_id=PROJECT, api_only=True).secret.id


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Whoever signs certificates here."""
    return trustme.CA()


@pytest.fixture(scope="module")
def pem(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the service's certificate, a client's, and the authority's."""
    folder = tmp_path_factory.mktemp("pem")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    for name, host in (("service", "127.0.0.1"), ("client", "client.example")):
        issued = authority.issue_cert(host)
        issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))
        issued.private_key_pem.write_to_path(str(folder / f"{name}.key"))
    return folder


@pytest.fixture(scope="module")
def secured(pem: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, int]]:
    """A service that asks for client certificates, on both ports."""
    grpc_port = free_port()
    options = ["--tls-cert", str(pem / "service.pem"), "--tls-key", str(pem / "service.key")]
    options += ["--tls-client-ca", str(pem / "ca.pem"), "--grpc-port", str(grpc_port)]
    folder = tmp_path_factory.mktemp("secured")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSLKEYLOGFILE", str(folder / "keys"))
        served = serve(folder / "s.db", *options)
    yield served, grpc_port
    assert served.stop() == 0


@pytest.mark.parametrize("protocol", ["connect", "grpc-web", "grpc"])
def test_tls_with_a_client_certificate(secured: tuple[Service, int], pem: Path, protocol: Any) -> None:
    """On both ports."""
    service, grpc_port = secured
    url = f"https://127.0.0.1:{grpc_port}" if protocol == "grpc" else service.url
    pair = (pem / "client.pem", pem / "client.key")
    with Gitpod(
        bearer_token=TOKEN, base_url=url, protocol=protocol, ca_cert=pem / "ca.pem", client_cert=pair
    ) as client:
        assert client.secrets.get_value(secret_id=keep(client, protocol.replace("-", "_"))).reveal() == VALUE
    # Whoever has the keys of connections can read what was recorded of them. SSLKEYLOGFILE asks for such a file.
    assert not service.path.with_name("keys").exists()


@pytest.mark.parametrize("protocol", ["connect", "grpc"])
def test_a_client_without_a_certificate_is_refused(secured: tuple[Service, int], pem: Path, protocol: Any) -> None:
    """Before anything of it is read."""
    service, grpc_port = secured
    url = f"https://127.0.0.1:{grpc_port}" if protocol == "grpc" else service.url
    with (
        Gitpod(bearer_token=TOKEN, base_url=url, protocol=protocol, ca_cert=pem / "ca.pem", max_retries=0) as client,
        pytest.raises(gitpod.APIConnectionError),
    ):
        client.secrets.list()


def test_old_versions_of_tls_are_refused(secured: tuple[Service, int]) -> None:
    """TLS 1.2 is the least (RFC 8996)."""
    service, _ = secured
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.ConnectError):
        httpx.post(service.url + CALL, verify=context)


def test_probes_need_no_token(service: Service) -> None:
    """And say no more than that all is well."""
    for path in ("/healthz", "/readyz"):
        answer = httpx.get(service.url + path)
        assert (answer.status_code, answer.text) == (200, "ok\n")


def test_a_service_without_its_database_is_alive_but_not_ready(tmp_path: Path) -> None:
    """Until the database is back."""
    if binaries() is None:
        pytest.skip(MISSING)
    with Cluster() as cluster:
        options = ["--store", cluster.create_database("probed"), "--key", f"file:{tmp_path / 'key'}"]
        served = serve(tmp_path / "unused.db", *options)
        try:
            assert httpx.get(served.url + "/readyz").status_code == 200
            cluster.kill()
            assert httpx.get(served.url + "/healthz").status_code == 200
            assert httpx.get(served.url + "/readyz", timeout=30).status_code == 503
            cluster.start()
            until(
                lambda: httpx.get(served.url + "/readyz", timeout=30).status_code == 200, "the service is ready again"
            )
        finally:
            assert served.stop() == 0
    assert "error" in served.log.read_text()


def test_a_line_for_each_request(tmp_path: Path) -> None:
    """With what it was and how it went, and nothing of what it carried."""
    service = serve(tmp_path / "s.db", "--grpc-port", str(port := free_port()))
    with (
        Gitpod(bearer_token=TOKEN, base_url=service.url) as client,
        Gitpod(bearer_token=TOKEN, base_url=f"http://127.0.0.1:{port}", protocol="grpc") as over_grpc,
    ):
        keep(client)
        with pytest.raises(gitpod.ConflictError) as caught:
            keep(over_grpc)
    httpx.post(service.url + "/canary-path")
    assert service.stop() == 0
    lines = [json.loads(line) for line in service.log.read_text().splitlines() if line.startswith("{")]
    told = [(line["protocol"], line.get("method"), line.get("code"), line["status"]) for line in lines]
    assert ("connect", "CreateSecret", "ok", 200) in told
    assert ("connect", None, None, 404) in told
    [refused] = [line for line in lines if line.get("code") == "already_exists"]
    assert (refused["protocol"], refused["request_id"]) == ("grpc", caught.value.request_id)
    assert refused["duration_ms"] > 0
    assert refused["subject"]
    assert all(canary not in service.log.read_text() for canary in (VALUE, TOKEN, "canary-path"))


class Collector(BaseHTTPRequestHandler):
    """Takes what OpenTelemetry sends."""

    taken: dict[str, bytes]

    def do_POST(self) -> None:  # as the base class calls it
        """Keep the body."""
        body = self.rfile.read(int(self.headers["content-length"]))
        self.taken[self.path] = self.taken.get(self.path, b"") + body
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the name that http.server calls it by
        """Say nothing."""


def test_spans_and_metrics_without_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To where the environment says, when it says so."""
    taken: dict[str, bytes] = {}
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Taking", (Collector,), {"taken": taken})) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        service = serve(tmp_path / "s.db")
        with Gitpod(bearer_token=TOKEN, base_url=service.url, codec="json") as client:
            secret_id = keep(client)
            client.secrets.get_value(secret_id=secret_id)
            with pytest.raises(gitpod.ConflictError):
                keep(client)
        assert service.stop() == 0
        collector.shutdown()
    spans, metrics = taken["/v1/traces"], taken["/v1/metrics"]
    assert spans.count(b"gitpod.v1.SecretService/CreateSecret") >= 2
    assert b"rpc.server.call.duration" in metrics
    assert b"already_exists" in spans
    assert all(canary.encode() not in spans + metrics for canary in (VALUE, TOKEN))


def test_sigterm_finishes_what_is_under_way(tmp_path: Path) -> None:
    """Whatever was acknowledged is there, and what was not is told truly; the exit status is 0."""
    service = serve(tmp_path / "s.db")
    acknowledged: list[str] = []
    refused: list[gitpod.APIError] = []

    def stream(number: int) -> None:
        with Gitpod(bearer_token=TOKEN, base_url=service.url, max_retries=0) as client:
            try:
                while True:
                    acknowledged.append(keep(client, f"NUM_{number}_{len(acknowledged)}_{os.urandom(4).hex()}"))
            except gitpod.APIError as error:
                refused.append(error)

    threads = [threading.Thread(target=stream, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: len(acknowledged) > 100, "a hundred creates were acknowledged")
    assert service.stop(signal.SIGTERM) == 0
    for thread in threads:
        thread.join()
    assert len(refused) == 8
    with Gitpod(base_url=f"sqlite:///{tmp_path}/s.db") as client:
        kept = {secret.id for secret in client.secrets.list(page_size=100)}
    assert set(acknowledged) <= kept
    assert len(kept) - len(acknowledged) <= sum(error.outcome == "unknown" for error in refused)
