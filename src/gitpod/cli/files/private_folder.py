"""A private folder for the files of a command, removed when the command ends.

`make` forks, before the process has a thread or a secret's value. The child reads the secrets and becomes the command.
The parent waits for it, passes signals on to it, removes the folder, and ends as the command did. Both are in the same
process group, so that the command can use the terminal, also in a pipeline, and Ctrl-Z stops both.
"""

import os
import shutil
import signal
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path, PurePosixPath

from gitpod.cli.failures import USAGE, fail
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


def make() -> Path:
    """Make a folder and fork. Returns its path in the child; the parent never returns, and ends as the child does."""
    # Blocked signals wait until they can be passed on, so none ends this process before the folder is removed.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON | {signal.SIGCHLD})
    # With the default action, some systems drop a blocked SIGCHLD; if it is ignored, the child's status is lost.
    action = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    try:
        folder = Path(tempfile.mkdtemp(prefix="gitpod-secrets-", dir=_parent_folder()))
    except OSError as error:
        raise fail(f"cannot make a folder for files: {error.strerror}", USAGE) from None
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGCHLD, action)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return folder
    try:
        status = _wait(child)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            warn(f"{folder} could not be removed, and holds values of secrets")
    raise _end(status)


def write(folder: Path, name: str, file_path: str, value: str) -> Path:
    """Write a secret to a file that only the user can read, and return its path. Ends the process when it cannot.

    Args:
        folder: the private folder.
        name: the secret's name, for messages.
        file_path: the secret's absolute path; the file is made at this path below the folder.
        value: the secret's value.
    """
    path = PurePosixPath(file_path)
    file = folder.joinpath(*path.parts[1:])
    # The service checks paths, but a faulty or false service must not choose where to write.
    if not path.is_absolute() or ".." in path.parts or "\0" in file_path:
        raise fail(f"{name}: its path is not one to write to", USAGE)
    try:
        for parent in reversed(file.relative_to(folder).parents):
            (folder / parent).mkdir(mode=0o700, exist_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:  # noqa: PTH123 # takes a descriptor
            opened.write(value.encode())
    except FileExistsError:
        raise fail(f"{name}: another secret is where its path leads", USAGE) from None
    except OSError as error:
        raise fail(f"{name}: cannot write its file: {error.strerror}", USAGE) from None
    return file


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
