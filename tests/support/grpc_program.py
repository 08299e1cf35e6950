"""A gRPC service that shares nothing with this package but the contract, and fails as a call's headers tell it to.

Run as a program, as google protobuf knows one set of messages a process:
`grpc_program.py STUBS LOG [CERTIFICATE KEY]` prints its port, and ends with its standard input.
"""

import importlib
import json
import os
import signal
import sys
import threading
import time
import uuid
from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

Handler = Callable[[Any, Any], Any]


class Service:
    """The RPCs over a dictionary, and a log of every request that arrived."""

    def __init__(self, stubs: Path, log: Path) -> None:
        sys.path.insert(0, str(stubs))
        # Not typed, like all that protoc makes for it.
        self.grpc: Any = importlib.import_module("grpc")
        self.pb: Any = importlib.import_module("gitpod.v1.secret_pb2")
        self._log = log
        self._lock = threading.Lock()
        self._failures: Counter[str] = Counter()
        self._secrets: dict[str, Any] = {}
        self._values: dict[str, str] = {}

    def servicer(self) -> SimpleNamespace:
        """What the generated code registers."""
        handlers = (self._create, self._update, self._list, self._delete, self._get_value)
        names = ("CreateSecret", "UpdateSecretValue", "ListSecrets", "DeleteSecret", "GetSecretValue")
        return SimpleNamespace(**{name: self._told(name, act) for name, act in zip(names, handlers, strict=True)})

    def _told(self, name: str, act: Handler) -> Handler:
        """The handler that does what the headers say, and else its work."""

        def handle(request: Any, context: Any) -> Any:
            told = dict(context.invocation_metadata())
            with self._lock, self._log.open("a") as log:
                log.write(json.dumps({"rpc": name, "headers": told, "left": context.time_remaining()}) + "\n")
            if "x-die" in told:
                os.kill(os.getpid(), signal.SIGKILL)
            while "x-stall" in told and context.is_active():
                time.sleep(0.01)
            context.set_trailing_metadata((("x-trailer", name),))
            if "x-fail" in told:
                self._fail(told, lambda: act(request, context), context)
            context.send_initial_metadata((("x-request-id", f"request-{name}"),))
            if "x-fill" in told:
                return self.pb.GetSecretValueResponse(value="x" * int(told["x-fill"]))
            return act(request, context)

        return handle

    def _fail(self, told: dict[str, str], act: Callable[[], Any], context: Any) -> None:
        self._failures[told["x-call"]] += 1
        if self._failures[told["x-call"]] > int(told.get("x-times", "100")):
            return
        if "x-after" in told:
            act()
        if details := told.get("x-details"):
            context.set_trailing_metadata((("grpc-status-details-bin", b64decode(details)),))
        context.abort(getattr(self.grpc.StatusCode, told["x-fail"]), "as told")

    def _find(self, secret_id: str, context: Any) -> Any:
        if secret_id not in self._secrets:
            context.abort(self.grpc.StatusCode.NOT_FOUND, "no such secret")
        return self._secrets[secret_id]

    def _create(self, request: Any, context: Any) -> Any:
        owner = request.scope.project_id or request.project_id
        scope = self.pb.SecretScope(project_id=owner)
        if any(s.name == request.name and s.scope == scope for s in self._secrets.values()):
            context.abort(self.grpc.StatusCode.ALREADY_EXISTS, "name: is taken in this scope")
        secret = self.pb.Secret(id=str(uuid.uuid4()), name=request.name, scope=scope, api_only=request.api_only)
        self._secrets[secret.id], self._values[secret.id] = secret, request.value
        return self.pb.CreateSecretResponse(secret=secret)

    def _update(self, request: Any, context: Any) -> Any:
        self._values[self._find(request.secret_id, context).id] = request.value
        return self.pb.UpdateSecretValueResponse()

    def _list(self, request: Any, _context: Any) -> Any:
        found = [secret for secret in self._secrets.values() if secret.scope == request.filter.scope]
        start, size = int(request.pagination.token or 0), request.pagination.page_size or 25
        response = self.pb.ListSecretsResponse(secrets=found[start : start + size])
        if start + size < len(found):
            response.pagination.next_token = str(start + size)
        return response

    def _delete(self, request: Any, context: Any) -> Any:
        del self._secrets[self._find(request.secret_id, context).id]
        return self.pb.DeleteSecretResponse()

    def _get_value(self, request: Any, context: Any) -> Any:
        return self.pb.GetSecretValueResponse(value=self._values[self._find(request.secret_id, context).id])


def main(stubs: str, log: str, *certificate: str) -> None:
    """Serve until nobody holds the other end of the standard input."""
    service = Service(Path(stubs), Path(log))
    server = service.grpc.server(ThreadPoolExecutor(max_workers=32))
    generated: Any = importlib.import_module("gitpod.v1.secret_pb2_grpc")
    generated.add_SecretServiceServicer_to_server(service.servicer(), server)
    if certificate:
        chain, key = (Path(path).read_bytes() for path in certificate)
        port = server.add_secure_port("127.0.0.1:0", service.grpc.ssl_server_credentials([(key, chain)]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop(None)


if __name__ == "__main__":
    main(*sys.argv[1:])
