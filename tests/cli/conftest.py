"""What every test of the command has: a shell with an empty project, and an end to the processes that it started."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.service import TOKEN, Service
from tests.support.shell import VALUE, Shell, kill_all


@pytest.fixture(autouse=True, scope="session")
def _default_signals() -> None:
    """Let the command start with the default action of each signal, also where this process ignores it.

    A shell ignores SIGINT and SIGQUIT in what it runs in the background, and nohup ignores SIGHUP. A child inherits
    that, but not a handler.
    """
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    """Kill what a test started, also when it failed or was interrupted."""
    try:
        yield
    finally:
        kill_all()


@pytest.fixture
def shell(service: Service, project: str, tmp_path: Path) -> Iterator[Shell]:
    """Settings for a project that is empty. At the end, the service has logged no value."""
    yield Shell(service.url, TOKEN, project, tmp_path)
    assert VALUE not in service.log.read_text()


@pytest.fixture
def lent(tmp_path: Path) -> Path:
    """A folder for XDG_RUNTIME_DIR, in which private folders are made."""
    path = tmp_path / "runtime"
    path.mkdir(mode=0o700)
    return path
