"""`gitpod-secrets serve` with all that it can have: TLS on both ports, web origins, and a collector of telemetry."""

import datetime as dt
import http.server
import ipaddress
import os
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

TOKEN = "t0ken-for-tools"  # noqa: S105 # of a service that lasts for one run
COMMAND = str(Path(sys.executable).with_name("gitpod-secrets"))
DEADLINE = 60


class Service(NamedTuple):
    """Where `gitpod-secrets serve` listens, and the file of its certificate."""

    url: str
    grpc_url: str
    certificate: Path


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes what OpenTelemetry sends, and keeps the paths."""

    paths: set[str] = set()  # noqa: RUF012 # one collector a run

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.paths.add(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the name in the base class
        pass


def certificate(folder: Path) -> tuple[Path, Path]:
    """Files of a new certificate for 127.0.0.1, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "smoke")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "service.crt", folder / "service.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return files


@contextmanager
def served(folder: Path) -> Generator[Service]:
    """The service with TLS on both of its ports. It sends telemetry, and stops in order."""
    crt, key = certificate(folder)
    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    options = ["--port", "0", "--grpc-port", "0", "--tls-cert", str(crt), "--tls-key", str(key)]
    process = subprocess.Popen(
        [COMMAND, "serve", "--store", f"sqlite:///{folder}/served.db", *options, "--allow-origin", "https://a.example"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ
        | {"GITPOD_API_KEY": TOKEN, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}"},
    )
    try:
        assert process.stdout
        url = process.stdout.readline().strip().removeprefix("export GITPOD_BASE_URL=")
        process.stdout.readline()
        port = process.stdout.readline().strip().removeprefix("# gRPC has port ")
        yield Service(url, f"https://127.0.0.1:{port}", crt)
        process.terminate()
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.communicate()
        collector.shutdown()
        collector.server_close()
    assert {"/v1/traces", "/v1/metrics"} <= Collector.paths
