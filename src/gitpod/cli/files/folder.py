"""A private folder that outlives a command by nothing: a process that waits for it, passes signals on, cleans up.

That process forks before it has a thread or a value. The child reads the secrets and becomes the command,
in the same process group: so it has the terminal, also in a pipeline, and Ctrl-Z stops both.
"""

import os
import shutil
import signal
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from gitpod.cli.failures import USAGE, fail
from gitpod.cli.shared import warn

PASSED_ON = {
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
}
FROM_KEYBOARDS = {signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH}


def lend() -> Path:
    """Make a folder and fork; in the child, return it. The parent ends as the child does, without the folder."""
    # Until there is somebody to pass them to, they wait; nothing comes between the folder and its removal.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON | {signal.SIGCHLD})
    # With its default action the signal would not be kept everywhere, and if it is ignored, neither are statuses.
    action = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    try:
        folder = Path(tempfile.mkdtemp(prefix="gitpod-secrets-", dir=_place()))
    except OSError as error:
        raise fail(f"cannot make a folder for files: {error.strerror}", USAGE) from None
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGCHLD, action)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return folder
    try:
        status = _wait(child)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            warn(f"{folder} could not be removed, and holds values")
    raise _end(status)


def _place() -> str | None:
    """Where the folder is made: in memory if there is such a place; None for the system's temporary folder."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    with suppress(OSError):
        found = Path(own).stat()
        if own.startswith("/") and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == stat.S_IRWXU:
            return own
    return "/dev/shm" if sys.platform == "linux" and os.access("/dev/shm", os.W_OK | os.X_OK) else None  # noqa: S108 # mkdtemp makes it private


def _wait(child: int) -> int:
    """The status of the child when it has ended. Until then it gets the signals that are sent to this process."""
    while True:
        number, is_shared = _next_signal()
        if number == signal.SIGCHLD:
            done, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
            if done and os.WIFSTOPPED(status):
                # By itself, as less does; whoever waits for this process is to have the terminal back.
                os.kill(os.getpid(), signal.SIGSTOP)
            elif done:
                return status
        elif not is_shared:
            os.kill(child, number)


def _next_signal() -> tuple[int, bool]:
    """A signal, and whether the terminal sent it, to both processes then."""
    if hasattr(signal, "sigwaitinfo"):
        found = signal.sigwaitinfo(PASSED_ON | {signal.SIGCHLD})
        # What the kernel sends has a positive code (siginfo_t, `SI_KERNEL`), what processes send has not.
        return found.si_signo, found.si_code > 0
    # macOS does not say who sent it.
    number = signal.sigwait(PASSED_ON | {signal.SIGCHLD})
    return number, number in FROM_KEYBOARDS and _has_terminal()


def _has_terminal() -> bool:
    try:
        with open("/dev/tty", "rb") as terminal:  # noqa: PTH123 # a device
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def _end(status: int) -> SystemExit:
    """End by what the command ended by, so that a shell shows 128+n and stops its script after Ctrl-C."""
    if not os.WIFSIGNALED(status):
        return SystemExit(os.WEXITSTATUS(status))
    import resource  # which Windows has not

    number = os.WTERMSIG(status)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with suppress(OSError):  # as for SIGKILL, whose action nobody changes
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    # The first process of a container is not killed by its own signals.
    return SystemExit(128 + number)
