"""For tests of programs that use this package: a service in this process, and faults to aim at a client.

Add `pytest_plugins = ["gitpod.testing"]` to conftest.py for the fixtures `gitpod_client`,
`gitpod_async_client` and `gitpod_faults`. They run the real service, in memory, so they need
`gitpod-connect[server]`.
"""
# A plan and what it puts around a client's transport are one.
# pyright: reportPrivateUsage=false

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import pytest
from pyqwest import FullResponse, Headers

from gitpod import AsyncGitpod, Gitpod
from gitpod._transport.answers import RequestHeaders
from gitpod._transport.failures import BrokenExchangeError, NotSentError
from gitpod_proto.gitpod.v1.secret_connect import SecretServiceSync

__all__ = ["FaultKind", "FaultPlan", "gitpod_async_client", "gitpod_client", "gitpod_faults"]

C = TypeVar("C", Gitpod, AsyncGitpod)

FaultKind: TypeAlias = Literal[
    "refuse",
    "drop_before_reading",
    "drop_after_commit",
    "delay",
    "status",
    "truncated_body",
    "wrong_content_type",
    "garbage",
]
"""What happens to a request: no connection; a connection that breaks before the service has read it, or after
it has done it; an answer that comes late; another answer in place of the service's; the service's answer
broken off, passed off as a web page, or turned into noise."""


@dataclass(kw_only=True)
class _Fault:
    kind: FaultKind
    rpc: str | None
    times: int
    chance: float
    seconds: float
    status: int
    code: str
    retry_after: str | None


RPCS = [method.name for method in SecretServiceSync.desc().methods]


class FaultPlan:
    """Faults between a client and its service, embedded or on the network.

    The faults that fit a request are tried in the order they were added; the first that is not used up
    happens. Requests that meet none arrive.

    Args:
        seed: starts the random choices; the same plan with the same seed makes the same ones.

    Attributes:
        deliveries: how many requests reached the service, by RPC, such as `"CreateSecret"`.
        happened: every fault that happened, as pairs of RPC and kind.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 # repeatable, not secret
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()
        self.deliveries: Counter[str] = Counter()
        self.happened: list[tuple[str, FaultKind]] = []

    def add(
        self,
        kind: FaultKind,
        rpc: str | None = None,
        *,
        times: int = 1,
        chance: float = 1.0,
        seconds: float = 1.0,
        status: int = 503,
        code: str = "unavailable",
        retry_after: str | None = None,
    ) -> "FaultPlan":
        """Plan a fault.

        Args:
            kind: what happens.
            rpc: the RPC that it happens to, such as `"CreateSecret"`; any by default.
            times: how often.
            chance: how likely, from 0 to 1, each time that it could.
            seconds: how late the answer is, for `"delay"`; the call's own deadline comes first.
            status: the HTTP status, for `"status"`.
            code: the Connect code, for `"status"`.
            retry_after: the Retry-After header, for `"status"`: seconds, or an HTTP date.

        Raises:
            ValueError: there is no such kind or RPC; a plan that never happens would make a test pass in vain.
        """
        if kind not in get_args(FaultKind):
            raise ValueError(f"kind: must be one of {', '.join(get_args(FaultKind))}")
        if rpc is not None and rpc not in RPCS:
            raise ValueError(f"rpc: must be one of {', '.join(RPCS)}, or None for any")
        self._faults.append(
            _Fault(
                kind=kind,
                rpc=rpc,
                times=times,
                chance=chance,
                seconds=seconds,
                status=status,
                code=code,
                retry_after=retry_after,
            )
        )
        return self

    def aim(self, client: C) -> C:
        """Put the plan between a client (and its copies) and its service, before its first call.

        Raises:
            ValueError: the client has made a call, so its connections are open.
        """
        if client._transport.is_open:
            raise ValueError("client: has made a call; aim before the first")

        faulty = _Faulty if isinstance(client, Gitpod) else _AsyncFaulty

        def wrap(sender: object) -> object:
            return faulty(sender, self)

        client._transport.wrap = wrap
        return client

    def _next(self, rpc: str) -> _Fault | None:
        """The fault that a request meets."""
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and fault.rpc in (None, rpc) and self._random.random() < fault.chance:
                    fault.times -= 1
                    self.happened.append((rpc, fault.kind))
                    return fault
        return None

    def _delivered(self, rpc: str) -> None:
        with self._lock:
            self.deliveries[rpc] += 1

    def _before(self, fault: _Fault | None) -> FullResponse | None:
        """Raise what keeps a request from arriving, or give what answers it in place of the service."""
        if fault is None:
            return None
        if fault.kind == "refuse":
            raise NotSentError("refused, as planned")
        if fault.kind == "drop_before_reading":
            raise BrokenExchangeError("dropped before it was read, as planned")
        if fault.kind != "status":
            return None
        headers = Headers()
        headers["content-type"] = "application/json"
        if fault.retry_after is not None:
            headers["retry-after"] = fault.retry_after
        body = json.dumps({"code": fault.code, "message": "as planned"}).encode()
        return FullResponse(fault.status, headers, body, Headers())

    def _after(self, fault: _Fault | None, answer: FullResponse) -> FullResponse:
        """What becomes of the service's answer."""
        kind = fault.kind if fault else None
        if kind in ("drop_after_commit", "truncated_body"):
            raise BrokenExchangeError("broken off, as planned")
        if kind == "wrong_content_type":
            answer.headers["content-type"] = "text/html"
        if kind != "garbage":
            return answer
        # No message begins like this, in either codec.
        noise = b"\xff" * 12 + self._random.randbytes(64)
        return FullResponse(answer.status, answer.headers, noise, answer.trailers)


class _Faulty:
    """What sends requests, with a plan around it."""

    def __init__(self, sender: Any, plan: FaultPlan) -> None:  # noqa: ANN401 # of any kind
        self._sender = sender
        self._plan = plan

    def send(self, method: str, url: str, headers: RequestHeaders, content: bytes, timeout: float) -> FullResponse:
        deadline = time.monotonic() + timeout
        fault = self._plan._next(rpc := _rpc(url))
        if (instead := self._plan._before(fault)) is not None:
            return instead
        self._plan._delivered(rpc)
        answer = self._sender.send(method, url, headers, content, timeout)
        if fault and fault.kind == "delay":
            time.sleep(max(0.0, min(fault.seconds, deadline - time.monotonic())))
            if time.monotonic() >= deadline:
                raise TimeoutError
        return self._plan._after(fault, answer)

    def close(self) -> None:
        self._sender.close()


class _AsyncFaulty:
    """`_Faulty` for asyncio. The caller keeps the deadline."""

    def __init__(self, sender: Any, plan: FaultPlan) -> None:  # noqa: ANN401 # of any kind
        self._sender = sender
        self._plan = plan

    async def send(self, method: str, url: str, headers: RequestHeaders, content: bytes) -> FullResponse:
        fault = self._plan._next(rpc := _rpc(url))
        if (instead := self._plan._before(fault)) is not None:
            return instead
        self._plan._delivered(rpc)
        answer = await self._sender.send(method, url, headers, content)
        if fault and fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
        return self._plan._after(fault, answer)

    async def aclose(self) -> None:
        await self._sender.aclose()


def _rpc(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


@pytest.fixture
def gitpod_client(gitpod_faults: FaultPlan) -> Iterator[Gitpod]:
    """A client of a service of its own, which is empty and gone after the test. Obeys `gitpod_faults`."""
    with gitpod_faults.aim(Gitpod(bearer_token="test", base_url="sqlite://")) as client:  # noqa: S106 # any token will do
        yield client


@pytest.fixture
def gitpod_async_client(gitpod_faults: FaultPlan) -> Iterator[AsyncGitpod]:
    """`gitpod_client` for asyncio, with a service of its own."""
    client = gitpod_faults.aim(AsyncGitpod(bearer_token="test", base_url="sqlite://"))  # noqa: S106 # any token will do
    yield client
    asyncio.run(client.close())


@pytest.fixture
def gitpod_faults() -> FaultPlan:
    """The faults that `gitpod_client` and `gitpod_async_client` meet; none until some are added."""
    return FaultPlan()
