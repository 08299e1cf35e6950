"""Takes from Python what only POSIX systems have, when this folder is on PYTHONPATH: as on Windows.

The standard library is loaded first, as it has chosen its ways for the system that it really runs on.
"""

import os
import select
import selectors
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from typing import Any

FIRST = ("asyncio", "getpass", "logging.handlers", "multiprocessing", "random", "socketserver", "tempfile")
MODULES = ("fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty", "uvloop")
NAMES: dict[Any, str] = {
    os: "O_CLOEXEC O_DIRECTORY O_DIRECT O_DSYNC O_NOATIME O_NOCTTY O_NOFOLLOW O_NONBLOCK O_PATH O_SYNC O_TMPFILE "
    "WEXITSTATUS WIFEXITED WIFSIGNALED WNOHANG WTERMSIG WUNTRACED chown chroot confstr ctermid environb eventfd "
    "fchdir fchmod fchown fdatasync fork forkpty fstatvfs get_blocking getegid getenvb geteuid getgid getgroups "
    "getloadavg getpgid getpgrp getpriority getrandom getresuid getsid getuid getxattr initgroups killpg lchown "
    "listxattr lockf major makedev memfd_create mkfifo mknod nice openpty pipe2 posix_fadvise posix_fallocate "
    "posix_spawn posix_spawnp pread preadv pwrite pwritev readv register_at_fork sched_getaffinity sched_yield "
    "sendfile set_blocking setpriority setsid setuid setxattr statvfs sync sysconf tcgetpgrp tcsetpgrp ttyname "
    "uname wait wait3 wait4 waitid writev",
    select: "epoll poll",
    signal: "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 SIGWINCH SIGXCPU "
    "SIGXFSZ SIG_BLOCK SIG_SETMASK SIG_UNBLOCK alarm getitimer pause pthread_kill pthread_sigmask setitimer "
    "siginterrupt sigpending sigtimedwait sigwait sigwaitinfo",
    socket: "AF_UNIX MSG_DONTWAIT MSG_NOSIGNAL SO_REUSEPORT recv_fds send_fds sethostname",
}


def without_dir_fd(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of `os`, which takes paths alone, and opens no folder."""

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        if any(name.endswith("dir_fd") for name in options) or isinstance(arguments[0], int):
            raise NotImplementedError("dir_fd unavailable on this platform")
        if function.__name__ == "open" and Path(arguments[0]).is_dir():
            raise PermissionError(13, "Permission denied")
        return function(*arguments, **options)

    return call


socket.socketpair = partial(socket.socketpair, socket.AF_UNIX)
for name in FIRST:
    import_module(name)
hidden: dict[str, Any] = dict.fromkeys(MODULES)
sys.modules.update(hidden)
for module, names in NAMES.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
for name in ("chmod", "link", "listdir", "lstat", "mkdir", "open", "rename", "replace", "rmdir", "scandir", "unlink"):
    setattr(os, name, without_dir_fd(getattr(os, name)))
os.supports_dir_fd.clear()
selectors.DefaultSelector = selectors.SelectSelector  # type: ignore[assignment, misc] # as it is there
subprocess._PopenSelector = selectors.SelectSelector  # type: ignore[attr-defined] # as it is there
shutil._use_fd_functions = False  # type: ignore[attr-defined] # as it is there
