"""A gRPC service in fifty lines: `python -m bench.peers.grpc_server FILE`; prints its port.

On grpcio and SQLite: one commit of two inserts a create, one SELECT a read. It has no tokens, no rules and no sealing.
With no file it gives one answer, without a store.
"""

import importlib
import sqlite3
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from threading import Lock, local
from typing import Any

from bench.peers.messages import message
from bench.peers.request import ANSWER

THREADS = 4
"""The fastest of 4, 16 and 64 with 8 to 64 callers on two processors."""

SERVICE = "gitpod.v1.SecretService"


class Store:
    """Secrets in a file, each commit on the disk before its answer."""

    def __init__(self, file: str) -> None:
        self.file, self.lock, self.of_thread = file, Lock(), local()
        self.writer = self.opened()
        self.writer.execute("PRAGMA journal_mode=WAL")
        self.writer.execute("CREATE TABLE secrets (id TEXT PRIMARY KEY, project TEXT, name TEXT, value TEXT)")
        self.writer.execute("CREATE UNIQUE INDEX by_name ON secrets (project, name)")
        self.writer.execute("CREATE TABLE audit (id TEXT PRIMARY KEY, action TEXT, secret TEXT)")
        self.answer, self.value = message("CreateSecretResponse"), message("GetSecretValueResponse")

    def opened(self) -> sqlite3.Connection:
        """Open the file once more."""
        connection = sqlite3.connect(self.file, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def create(self, request: Any, _: object) -> object:  # noqa: ANN401 # a message
        """Store a secret, and that it was stored."""
        key = str(uuid.uuid4())
        row = (key, request.project_id, request.name, request.value)
        with self.lock:
            self.writer.execute("BEGIN IMMEDIATE")
            self.writer.execute("INSERT INTO secrets VALUES (?, ?, ?, ?)", row)
            self.writer.execute("INSERT INTO audit VALUES (?, 'create', ?)", (str(uuid.uuid4()), key))
            self.writer.execute("COMMIT")
        secret = {"id": key, "name": request.name, "project_id": request.project_id, "api_only": True}
        return self.answer(secret=secret)

    def read(self, request: Any, _: object) -> object:  # noqa: ANN401 # a message
        """Read a value."""
        if not hasattr(self.of_thread, "reader"):
            self.of_thread.reader = self.opened()
        [value] = self.of_thread.reader.execute(
            "SELECT value FROM secrets WHERE id = ?", (request.secret_id,)
        ).fetchone()
        return self.value(value=value)


def constant(_: bytes, __: object) -> bytes:
    """The one answer."""
    return ANSWER


def main() -> None:
    grpc: Any = importlib.import_module("grpc")
    handlers: dict[str, Any] = {}
    if len(sys.argv) > 1:
        store = Store(sys.argv[1])
        calls = {
            "CreateSecret": store.create,
            "GetSecretValue": store.read,
        }
        for name, call in calls.items():
            request, answer = message(f"{name}Request"), message(f"{name}Response")
            handlers[name] = grpc.unary_unary_rpc_method_handler(
                call, request_deserializer=request.FromString, response_serializer=answer.SerializeToString
            )
    else:
        handlers["CreateSecret"] = grpc.unary_unary_rpc_method_handler(constant)
    server = grpc.server(ThreadPoolExecutor(THREADS))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
