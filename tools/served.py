"""The service as its users run it: a process of its own, which can be killed and started again."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

TOKEN = "t0ken-for-tools"  # noqa: S105 # of services that last for one run


class Service:
    """`gitpod-secrets serve` on a store, as a context manager; what it says on stderr is in `log`."""

    def __init__(
        self,
        store: str,
        folder: Path,
        main: str = "from gitpod.cli import main; main()",
        options: Sequence[str] = (),
    ) -> None:
        """Start it. `folder` keeps its log and, where the store is no file with a key beside it, its key.

        `main` is the program that serves; `options` are more of `serve`.
        """
        key = [] if store.startswith("sqlite:") else ["--key", f"file:{folder / 'key'}"]
        serve = [sys.executable, "-c", main, "serve"]
        self._command = [*serve, "--store", store, *key, "--port", "0", *options]
        self._process: subprocess.Popen[str] | None = None
        self._folder = folder
        self.log = folder / "service.log"
        self.url = ""
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The id of its process."""
        assert self._process
        return self._process.pid

    def start(self) -> None:
        """Start it, and return once it listens at `url`. Raises `RuntimeError` when it ends instead."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GITPOD_")}
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self._folder,
                env=environment | {"GITPOD_API_KEY": TOKEN},
            )
        assert self._process.stdout
        _, exported, self.url = self._process.stdout.readline().strip().partition("export GITPOD_BASE_URL=")
        if not exported:
            self.kill()
            raise RuntimeError(f"the service did not start:\n{self.log.read_text()[-2000:]}")

    def send(self, number: signal.Signals) -> None:
        """Send a signal, and go on."""
        if self._process:
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        if self._process:
            self._process.kill()
            self._reap()

    def stop(self) -> None:
        """SIGTERM, and wait for its end."""
        if self._process:
            self._process.terminate()
            self._reap()

    def _reap(self) -> None:
        assert self._process
        self._process.communicate(timeout=30)
        self._process = None
