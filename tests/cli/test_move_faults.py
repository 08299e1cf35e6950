"""`gitpod-secrets move` loses nothing, whatever fails at whichever step, and finishes when it is run again."""
# A fault at a certain step needs the inside of a plan.
# pyright: reportPrivateUsage=false

import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.faults import KINDS
from tests.support.service import TOKEN
from tests.support.shell import SECONDS, Shell

from gitpod import Gitpod
from gitpod._rpc import retry
from gitpod._transport.failures import BrokenExchangeError
from gitpod.cli import client as of_settings
from gitpod.cli.bulk import MAX_RETRIES
from gitpod.cli.commands.root import cli
from gitpod.server.app import Embedded
from gitpod.testing import RPCS, FaultKind, FaultPlan

SOURCE, TARGET = (str(uuid.uuid4()) for _ in range(2))
VALUES = {"ENV_ONE": ("first", None), "FILE_ONE": ("second\n", "/home/me/.ssh/id"), "EMPTY_ONE": ("", None)}
STEPS = 22
"""Requests of a move of three secrets. The target has one with another value, one with another mount, and not one."""
MOVE = ["move", "--all", "--project", SOURCE, "--to-project", TARGET, "--replace", "--yes"]
Stored = dict[str, tuple[str, str | None]]
KILLED_AT = """
import os, sys
from gitpod.cli import client, main
from gitpod.testing import FaultPlan
class Killed(FaultPlan):
    left = int(sys.argv.pop(1))
    def _before(self, fault):
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), 9)
plan, make = Killed(), client.make_client
client.make_client = lambda *given, **options: plan.aim(make(*given, **options))
main()
"""
"""The command, which is killed before a request of the number that is its first argument."""


class At(FaultPlan):
    """Faults from one request on; those before it arrive."""

    def __init__(self, number: int, kind: FaultKind, times: int) -> None:
        super().__init__()
        self._left = number
        self.add(kind, times=times, retry_after="0")

    def _next(self, rpc: str) -> Any:
        self._left -= 1
        return super()._next(rpc) if self._left < 0 else None


@dataclass
class Held:
    """A sender of requests that holds some of them, as a proxy may: they arrive when their call has failed."""

    sender: Any
    rpc: str
    times: int
    late: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])

    def send(self, method: str, url: str, *rest: Any) -> Any:
        """Hold the request, or send it."""
        if self.times and url.endswith(self.rpc):
            self.times -= 1
            self.late.append((method, url, *rest))
            raise BrokenExchangeError("held")
        return self.sender.send(method, url, *rest)

    def close(self) -> None:
        """Deliver what was held."""
        for request in self.late:
            self.sender.send(*request)
        self.sender.close()


@dataclass
class Bench:
    """A service in memory, and the command in this process."""

    service: Embedded
    patch: pytest.MonkeyPatch

    def client(self) -> Gitpod:
        """A client that meets no fault."""
        return Gitpod(bearer_token=TOKEN, http_client=self.service.wsgi)

    def fill(self) -> None:
        """Store the secrets in the source, and what is to be overwritten in the target."""
        with self.client() as client:
            for secret in client.secrets.list(page_size=100):
                client.secrets.delete(secret_id=secret.id)
            for name, (value, path) in VALUES.items():
                mount: Any = {"file_path": path} if path else {"environment_variable": True}
                client.secrets.create(name=name, value=value, project_id=SOURCE, **mount)
                if value:
                    client.secrets.create(name=name, value="old", project_id=TARGET, environment_variable=True)

    def stored(self, project: str) -> Stored:
        """The secrets of a project."""
        with self.client() as client:
            return {
                secret.name: (client.secrets.get_value(secret_id=secret.id).reveal(), secret.file_path)
                for secret in client.secrets.list(filter={"scope": {"project_id": project}})
            }

    def run(self, aim: Callable[[Gitpod], object] = lambda _: None) -> int:
        """Move everything, with a client at which faults are aimed, and return the exit status."""

        def make(*_: object, **__: object) -> Gitpod:
            client = self.client()
            aim(client)
            return client

        self.patch.setattr(of_settings, "make_client", make)
        try:
            cli.main(MOVE, standalone_mode=False)
        except SystemExit as end:
            return int(end.code or 0)
        except click.ClickException as error:
            pytest.fail(error.format_message())
        return 0

    def check(self, status: int) -> None:
        """Check that nothing is lost, and that the next move without a fault finishes this one."""
        source, target = self.stored(SOURCE), self.stored(TARGET)
        assert {name: source.get(name) or target.get(name) for name in VALUES} == VALUES
        assert status or (source, target) == ({}, VALUES)
        assert self.run() == 0
        assert (self.stored(SOURCE), self.stored(TARGET)) == ({}, VALUES)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """A bench whose calls wait for no retry."""
    with pytest.MonkeyPatch.context() as patch, closing(Embedded("sqlite://")) as service:
        patch.setattr(retry, "FIRST_DELAY", 0.0)
        patch.setenv("GITPOD_API_KEY", TOKEN)
        yield Bench(service, patch)


@pytest.mark.parametrize("times", [1, MAX_RETRIES + 1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_any_step_loses_nothing(bench: Bench, kind: FaultKind, times: int) -> None:
    """Once, and so often that a call fails with all of its retries."""
    for number in range(STEPS):
        bench.fill()
        plan = At(number, kind, times)
        status = bench.run(plan.aim)
        assert plan.happened
        bench.check(status)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(RPCS), st.sampled_from([1, 4, 20])), max_size=5),
    st.integers(0, 99),
)
def test_faults_that_come_together_lose_nothing(
    bench: Bench, faults: list[tuple[FaultKind, str, int]], seed: int
) -> None:
    """In any order, at random."""
    plan = FaultPlan(seed)
    for kind, rpc, times in faults:
        plan.add(kind, rpc, times=times, chance=0.4, retry_after="0")
    bench.fill()
    bench.check(bench.run(plan.aim))


@pytest.mark.parametrize("times", [1, 2, 10])
@pytest.mark.parametrize("rpc", ["CreateSecret", "UpdateSecretValue", "DeleteSecret"])
def test_late_requests_lose_nothing(bench: Bench, rpc: str, times: int) -> None:
    """They arrive when the move has ended."""
    held: list[Held] = []

    def hold(sender: object) -> Held:
        held.append(Held(sender, rpc, times))
        return held[-1]

    def aim(client: Gitpod) -> None:
        client._transport.wrap = hold

    bench.fill()
    status = bench.run(aim)
    assert [each.late != [] for each in held] == [True]
    bench.check(status)


def test_a_kill_at_any_step_loses_nothing(shell: Shell) -> None:
    """The same command finishes what the one before has left."""
    target = Shell(shell.url, shell.token, str(uuid.uuid4()), shell.home)
    command = [sys.executable, "-c", KILLED_AT]
    shell.put("MY_NAME", "value")
    kills, status = 0, -signal.SIGKILL
    while status:
        process = shell.start(str(kills), "move", "--all", "--to-project", target.project, "--yes", command=command)
        _, err = process.communicate(timeout=SECONDS)
        status = process.returncode
        assert status in (0, -signal.SIGKILL), err
        assert target.stored() | shell.stored() == {"MY_NAME": "value"}
        kills += 1
    assert (shell.stored(), target.stored()) == ({}, {"MY_NAME": "value"})
    assert kills > 8
