"""A private folder for files with values, removed when they are no longer needed, also if this process is killed.

`opened` makes one for this process. `make` makes one for a command, and forks before the process has a thread or a
secret's value. The child reads the secrets and becomes the command. The parent waits for it, passes signals on to it,
removes the folder, and ends as the command did. Both are in the same process group, so that the command can use the
terminal, also in a pipeline, and Ctrl-Z stops both. If this process or the parent is killed, another one,
`removal.py`, removes the folder.
"""

import os
import signal
import stat
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from gitpod.cli.failures import USAGE, fail
from gitpod.cli.files import removal
from gitpod.cli.output import warn

PASSED_ON = {
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
}
FROM_TERMINAL = {signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH}
"""Signals that a terminal sends to the whole process group."""


def make() -> bytes:
    """Make a folder and fork. Returns its path in the child; the parent never returns, and ends as the child does."""
    # Blocked signals wait until they can be passed on, so none ends this process before the folder is removed.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON | {signal.SIGCHLD})
    # With the default action, some systems drop a blocked SIGCHLD; if it is ignored, the child's status is lost.
    action = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    folder, remover, pipe = _begin()
    try:
        child = os.fork()
    except OSError as error:
        # The remover removes the folder when this process ends.
        raise fail(f"cannot start a process for the command: {error.strerror}", USAGE) from None
    if child == 0:
        os.close(pipe)
        signal.signal(signal.SIGCHLD, action)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return folder
    with suppress(BrokenPipeError):  # the remover was killed
        os.write(pipe, b"%d\n" % child)
    try:
        status = _wait(child)
    finally:
        _finish(folder, remover)
    raise _end(status)


@contextmanager
def opened() -> Generator[Path]:
    """Make a folder and yield its path. It is removed at the end of the block, or when this process ends."""
    folder, remover, pipe = _begin()
    try:
        yield Path(os.fsdecode(folder))
    finally:
        _finish(folder, remover)
        os.close(pipe)


def _begin() -> tuple[bytes, int, int]:
    """Make a folder. Returns its path, the number of the process that removes it after a kill, and the pipe to it."""
    parent = _parent_folder() or tempfile.gettempdir()
    folder = os.fsencode(os.path.join(parent, f"gitpod-secrets-{os.urandom(8).hex()}"))  # noqa: PTH118 # bytes follow
    try:
        # Before the folder is there, so that no moment is left in which a kill would leave it.
        remover, pipe = _start_remover(folder)
        os.mkdir(folder, 0o700)  # noqa: PTH102 # a Path holds no bytes
    except OSError as error:
        raise fail(f"cannot make a folder for files: {error.strerror}", USAGE) from None
    return folder, remover, pipe


def _finish(folder: bytes, remover: int) -> None:
    """Remove the folder, and end the process that was to do so after a kill."""
    _remove(folder)
    os.kill(remover, signal.SIGKILL)
    os.waitpid(remover, 0)


def _start_remover(folder: bytes) -> tuple[int, int]:
    """Start the program that removes the folder if this process is killed. Returns its number, and the pipe to it.

    It has a session of its own, which neither a signal to the process group nor the end of the terminal reaches. It
    has no variable of this process, and not its standard streams, so nobody waits for it to close them.
    """
    given, pipe = os.pipe()
    command = [sys.executable, "-I", "-S", removal.__file__]
    null = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    streams = [(os.POSIX_SPAWN_DUP2, given, 0), *null]
    try:
        remover = os.posix_spawn(sys.executable, command, {}, file_actions=streams, setsid=True)
        os.write(pipe, folder.hex().encode() + b"\n")
    except OSError:
        os.close(pipe)
        raise
    finally:
        os.close(given)
    return remover, pipe


def _remove(folder: bytes) -> None:
    """Remove the folder with everything in it, or warn that it is left."""
    try:
        removal.remove(folder)
    except OSError:
        warn(f"{os.fsdecode(folder)} could not be removed, and may hold values of secrets")


def _parent_folder() -> str | None:
    """Return a folder in memory to make the private one in; None for the system's temporary folder."""
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    with suppress(OSError):
        found = Path(own).stat()
        if own.startswith("/") and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == stat.S_IRWXU:
            return own
    return "/dev/shm" if sys.platform == "linux" and os.access("/dev/shm", os.W_OK | os.X_OK) else None  # noqa: S108 # mkdtemp makes it private


def _wait(child: int) -> int:
    """Wait for the child to end and return its status. Pass on the signals that are sent to this process alone."""
    while True:
        number, is_for_both = _next_signal()
        if number == signal.SIGCHLD:
            done, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
            if done and os.WIFSTOPPED(status):
                # The child stopped itself, as less does on Ctrl-Z. Stop too, so that the shell takes the terminal back.
                os.kill(os.getpid(), signal.SIGSTOP)
            elif done:
                return status
        elif not is_for_both:
            os.kill(child, number)


def _next_signal() -> tuple[int, bool]:
    """Wait for a signal. Return its number, and whether the terminal sent it, which then sent it to the child too."""
    if hasattr(signal, "sigwaitinfo"):
        found = signal.sigwaitinfo(PASSED_ON | {signal.SIGCHLD})
        # si_code is positive for signals of the kernel, and not for those of other processes (sigaction(2)).
        return found.si_signo, found.si_code > 0
    # macOS does not say who sent a signal.
    number = signal.sigwait(PASSED_ON | {signal.SIGCHLD})
    return number, number in FROM_TERMINAL and _is_in_foreground()


def _is_in_foreground() -> bool:
    """Tell whether this process group has the terminal."""
    try:
        with open("/dev/tty", "rb") as terminal:  # noqa: PTH123 # a device
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


def _end(status: int) -> SystemExit:
    """Return the exception that ends this process with the child's exit status, or end it by the child's signal.

    Ended by the same signal, a shell shows 128 and its number, and stops its script after Ctrl-C.
    """
    if not os.WIFSIGNALED(status):
        return SystemExit(os.WEXITSTATUS(status))
    import resource  # not there on Windows

    number = os.WTERMSIG(status)
    # Only the command's own core dump is of use.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with suppress(OSError):  # raised for SIGKILL, whose action cannot be set
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    # Still here: the first process of a container is not ended by its own signals.
    return SystemExit(128 + number)
