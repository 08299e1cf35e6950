"""`make demo`: the documented calls against a real service, and what went over the wire."""

import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from gitpod_proto.gitpod.v1.secret_pb import CreateSecretRequest

EXAMPLES = Path(__file__).parent.parent / "examples"
BINARY_PROJECT = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"
JSON_PROJECT = "d2c94c27-3b76-4a42-b88c-95a85e392c68"
SHOWN_HEADERS = ("content-type", "content-length", "connect-protocol-version", "connect-timeout-ms", "user-agent")


class Wiretap:
    """Relays connections to the service, and keeps both directions of each."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections: list[tuple[bytearray, bytearray]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            server = socket.create_connection(self._target)
            sent, answered = bytearray(), bytearray()
            self.connections.append((sent, answered))
            for source, sink, kept in ((client, server, sent), (server, client, answered)):
                threading.Thread(target=self._relay, args=(source, sink, kept), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        while data := source.recv(65536):
            kept += data
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    def exchanges(self) -> Iterator[tuple[str, dict[str, str], bytes, http.client.HTTPResponse, bytes]]:
        """What was said since the last time: each request's line, headers and body, and its answer."""
        said, self.connections = self.connections, []
        for sent, answered in said:
            requests, answers = io.BytesIO(sent), Replay(answered)
            while line := requests.readline():
                headers = {k.lower(): v for k, v in http.client.parse_headers(requests).items()}
                body = requests.read(int(headers["content-length"]))
                response = http.client.HTTPResponse(answers)  # type: ignore[arg-type]  # all it asks of a socket
                response.begin()
                yield line.decode().strip(), headers, body, response, response.read()


class Replay(io.BytesIO):
    """A recorded stream where http.client expects a socket; it stays open for the next answer."""

    def makefile(self, _mode: str) -> "Replay":
        return self

    def close(self) -> None:
        pass


def masked(body: bytes, content_type: str) -> bytes:
    """A request's body with its value replaced by asterisks."""
    is_json = content_type == "application/json"
    value = (CreateSecretRequest.from_json(body) if is_json else CreateSecretRequest.from_binary(body)).value
    written = json.dumps(value)[1:-1].encode() if is_json else value.encode()
    return body.replace(written, b"*" * len(written))


def readable(body: bytes, content_type: str | None) -> str:
    """Bytes as they are when they are text, and with escapes when they are protobuf."""
    return body.decode() if content_type == "application/json" else str(body)[2:-1]


def show_wire(tap: Wiretap) -> None:
    """The one exchange since the last time, with its headers."""
    [(line, headers, body, response, answer)] = tap.exchanges()
    kind = headers["content-type"]
    print(f"  > {line}")
    print("  > authorization: Bearer ***")
    for name in SHOWN_HEADERS:
        print(f"  > {name}: {headers[name]}")
    print(f"  >\n  > {readable(masked(body, kind), kind)}")
    print(f"  < HTTP/1.1 {response.status} {response.reason}")
    for name in ("content-type", "x-request-id"):
        print(f"  < {name}: {response.headers[name]}")
    print(f"  <\n  < {readable(answer, response.headers['content-type'])}")


def show_bodies(tap: Wiretap) -> None:
    """What was asked and answered since the last time, without headers, and without the answers' bodies."""
    for _, headers, body, response, _ in tap.exchanges():
        kind = headers["content-type"]
        print(f"  > {readable(masked(body, kind), kind)}")
        print(f"  < {response.status} {response.reason}, {kind}")


def curl() -> str:
    body = {"name": "FROM_CURL", "projectId": JSON_PROJECT, "value": "hello", "environmentVariable": True}
    # All of it by standard input: arguments show in every process list.
    return f"""curl -sS -K - "$GITPOD_BASE_URL/gitpod.v1.SecretService/CreateSecret" <<END
header = "Authorization: Bearer $GITPOD_API_KEY"
header = "Content-Type: application/json"
data = {json.dumps(body, separators=(",", ":"))}
END"""


def title(text: str) -> None:
    print(f"\n== {text}", flush=True)


def run(service_url: str, token: str) -> None:
    tap = Wiretap(("127.0.0.1", int(service_url.rpartition(":")[2])))
    environment = {**os.environ, "GITPOD_BASE_URL": tap.url, "GITPOD_API_KEY": token}

    def example(name: str, *arguments: str) -> str:
        command = [sys.executable, str(EXAMPLES / name), *arguments]
        return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    title("examples/snippet.py: the documented snippet, unchanged")
    print((EXAMPLES / "snippet.py").read_text())
    print("prints:\n")
    print(example("snippet.py"))
    print("over the wire, with the token and the value masked:\n")
    show_wire(tap)
    title("examples/three_secrets.py: a variable, a file and a registry login; binary")
    example("three_secrets.py", "binary", BINARY_PROJECT)
    show_bodies(tap)
    title("the same in JSON, for another project")
    example("three_secrets.py", "json", JSON_PROJECT)
    show_bodies(tap)
    title("once more: the names are taken, and nothing changes")
    print(example("three_secrets.py", "json", JSON_PROJECT), end="")
    if shutil.which("curl"):
        title("the same by curl")
        print(f"{curl()}\n", flush=True)
        subprocess.run(
            ["sh", "-c", curl()],
            env={**environment, "GITPOD_BASE_URL": service_url, "no_proxy": "127.0.0.1"},
            check=True,
        )
        print()
    title("examples/list_secrets.py: what is stored now")
    print(example("list_secrets.py"), end="")


def try_it() -> None:
    title("try it yourself: a store that all programs of this machine can use")
    folder = Path(os.path.relpath(sys.executable)).parent
    print(f'export PATH="$PWD/{folder}:$PATH"')
    print("gitpod-secrets serve --store sqlite:///secrets.db\n")
    print("It prints two export lines. Paste them into another shell, and then, for a project of your own:\n")
    print(f'export PATH="$PWD/{folder}:$PATH"')
    print('export GITPOD_PROJECT_ID=$(python -c "import uuid; print(uuid.uuid4())")')
    print("printf s3cret | gitpod-secrets put API_TOKEN --env")
    print("gitpod-secrets list")
    print("\nREADME.md goes on from here.")


def main() -> None:
    command = [str(Path(sys.executable).parent / "gitpod-secrets"), "serve", "--port", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITPOD_")}
    with (
        tempfile.TemporaryDirectory() as folder,
        Path(folder, "log").open("w+") as log,
        subprocess.Popen(
            [*command, "--store", f"sqlite:///{folder}/secrets.db"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        ) as service,
    ):
        try:
            assert service.stdout
            lines = (service.stdout.readline().strip() for _ in range(2))
            exports = dict(line.removeprefix("export ").split("=", 1) for line in lines if line)
            if not exports:
                sys.exit(Path(folder, "log").read_text())
            print(f"serving on {exports['GITPOD_BASE_URL']}, from a temporary folder", flush=True)
            run(exports["GITPOD_BASE_URL"], exports["GITPOD_API_KEY"])
            try_it()
        finally:
            service.terminate()


def stopped(signal_number: int, _frame: object) -> None:
    # The service and its folder go away as the stack unwinds.
    sys.exit(128 + signal_number)


for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(each, stopped)
main()
