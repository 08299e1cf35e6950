"""A grpcio client of the service's gRPC port, without stubs."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Literal

import grpc  # type: ignore[import-untyped] # it is not marked as typed
import pytest
from protobuf import Message, Oneof
from tests.support.service import TOKEN

from gitpod.server.edge.headers import ASGIApplication, Receive, Scope, Send
from gitpod.server.serving.grpc_server import GRPCServer
from gitpod_proto.gitpod.v1.secret_pb import CreateSecretRequest, SecretScope

NAME = "gitpod.v1.SecretService"
UUID = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
SCOPE = SecretScope(scope=Oneof[Literal["project_id"], str]("project_id", UUID))
API_ONLY = Oneof[Literal["api_only"], bool]("api_only", True)
REFLECT = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
LIST_SERVICES = b"\x3a\x00"
Status = grpc.StatusCode
AUTHORIZED = (("authorization", f"Bearer {TOKEN}"),)
PEER = """
import sys
import grpc
from gitpod.v1 import secret_pb2 as pb, secret_pb2_grpc
service = secret_pb2_grpc.SecretServiceStub(grpc.insecure_channel(sys.argv[1]))
calls = {"metadata": [("authorization", "Bearer " + sys.argv[2])], "timeout": 30}
scope = pb.SecretScope(project_id=sys.argv[3])
made = service.CreateSecret(pb.CreateSecretRequest(name="NAME", value="v", scope=scope, api_only=True), **calls).secret
service.UpdateSecretValue(pb.UpdateSecretValueRequest(secret_id=made.id, value="w"), **calls)
print(service.GetSecretValue(pb.GetSecretValueRequest(secret_id=made.id), **calls).value)
print([secret.name for secret in service.ListSecrets(pb.ListSecretsRequest(), **calls).secrets])
service.DeleteSecret(pb.DeleteSecretRequest(secret_id=made.id), **calls)
print(len(service.ListSecrets(pb.ListSecretsRequest(), **calls).secrets))
"""


class Served:
    """A started server, whose event loop runs in another thread."""

    def __init__(self, server: GRPCServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        self.port = server.port

    def stop(self, grace: float) -> None:
        asyncio.run_coroutine_threadsafe(self._server.stop(grace), self._loop).result()


Serve = Callable[..., Served]


class Client:
    """A client of bytes, as google protobuf knows one set of messages a process."""

    def __init__(self, port: int, credentials: Any = None) -> None:
        address = f"127.0.0.1:{port}"
        # What is typed of grpcio depends on the checker.
        secure: Any = grpc.secure_channel
        # Otherwise all clients of an address share one connection.
        own = [("grpc.use_local_subchannel_pool", 1)]
        self.channel: Any = secure(address, credentials, own) if credentials else grpc.insecure_channel(address, own)

    def __call__(self, method: str, message: Message | bytes = b"", /, **options: Any) -> bytes:
        """The answer to a unary call."""
        path = method if "/" in method else f"/{NAME}/{method}"
        data = message if isinstance(message, bytes) else message.to_binary()
        call = self.channel.unary_unary(path)
        answer: bytes = call(data, **{"metadata": AUTHORIZED, "timeout": 30, **options})
        return answer

    def fails(self, *request: Any, **options: Any) -> Any:
        """The error of a call."""
        with pytest.raises(grpc.RpcError) as caught:
            self(*request, **options)
        return caught.value

    def stream(self, method: str, requests: Iterator[bytes], **options: Any) -> Any:
        """A call whose messages are sent as they come."""
        path = method if "/" in method else f"/{NAME}/{method}"
        return self.channel.stream_stream(path)(requests, **{"metadata": AUTHORIZED, "timeout": 30, **options})


def code(call: Any) -> Any:
    """The status of a call, which comes after the messages."""
    with suppress(grpc.RpcError):
        list(call)
    return call.code()


Connect = Callable[..., Client]


class Silence:
    """A stream of requests without any, until it is over."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self.over.wait()
        raise StopIteration


def secret(name: str = "NAME") -> CreateSecretRequest:
    """A request to create one, which nobody else's store has."""
    return CreateSecretRequest(value="v", scope=SCOPE, mount=API_ONLY, name=name)


def answer(seen: list[Scope]) -> ASGIApplication:
    """An application that keeps its requests, and says in trailers that all is well."""

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        seen.append(scope)
        headers = [(b"content-type", b"application/grpc+proto"), (b"x-bin", b"AP8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": True})
        for part in (b"\0\0\0", b"\0\1a\0\0\0\0\0"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        trailers = [(b"grpc-status", b"0"), (b"x-t", b"1"), (b"x-odd", "é\n".encode()), (b"y-bin", b"AP8")]
        await send({"type": "http.response.trailers", "headers": trailers})

    return app
