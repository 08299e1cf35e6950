"""Run the programs of `interop/` against the service, each in its language, and print what agrees.

Usage: python tools/interop.py [LANGUAGE,LANGUAGE]. Without languages, it runs those whose toolchain is installed, and
names the others.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from languages import BIN, LANGUAGES, ROOT, lacking, prepare
from postgres import free_port

TOKEN = "t0ken-for-tools"  # noqa: S105 # of a service that lasts for one run


class Result(NamedTuple):
    """A line of the matrix."""

    library: str
    protocol: str
    codec: str
    result: str

    @property
    def is_expected(self) -> bool:
        """Whether it passes, or is left out."""
        return self.result == "ok" or self.is_left_out

    @property
    def is_left_out(self) -> bool:
        """Whether the machine lacks what this line needs."""
        return self.result.startswith("left out: ")


@contextmanager
def served(folder: Path) -> Generator[dict[str, str]]:
    """The service on free ports, as the environment of a program that calls it."""
    origin = f"http://127.0.0.1:{free_port()}"
    store = f"sqlite:///{folder}/secrets.db"
    command = [str(BIN / "gitpod-secrets"), "serve", "--store", store, "--allow-origin", origin]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GITPOD_")}
    environment |= {"GITPOD_API_KEY": TOKEN, "GITPOD_PAGE_ORIGIN": origin}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--port", "0", "--grpc-port", "0"],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )
    try:
        assert process.stdout
        # The second line is a remark.
        lines = [process.stdout.readline().strip() for _ in range(3)]
        if not lines[2].startswith("# gRPC has port "):
            raise SystemExit(f"the service did not start:\n{(folder / 'log').read_text()}")
        environment["GITPOD_BASE_URL"] = lines[0].removeprefix("export GITPOD_BASE_URL=")
        environment["GITPOD_GRPC_URL"] = f"http://127.0.0.1:{lines[2].removeprefix('# gRPC has port ')}"
        yield environment
    finally:
        process.terminate()
        process.communicate(timeout=60)


def results(name: str) -> Iterator[Result]:
    """What the programs of a language print: the scenario, and the check of the vectors."""
    language = LANGUAGES[name]
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as environment:
        yield from printed(name, language.client, environment)
    if language.golden:
        yield from printed(name, [*language.golden, str(ROOT / "interop/golden")])


def printed(name: str, command: list[str], environment: dict[str, str] | None = None) -> Iterator[Result]:
    """What a program prints, and whether it came to its end. Without an environment, it gets that of this process."""
    folder = ROOT / "interop" / name
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    for line in done.stdout.splitlines():
        yield Result(*line.split("\t"))
    if done.returncode or not done.stdout:
        yield Result(name, "-", "-", f"{command[0]} exited with {done.returncode}")


def main(asked: str) -> int:
    wanted = [name for name in asked.replace(",", " ").split() if name] or list(LANGUAGES)
    if unknown := set(wanted) - set(LANGUAGES):
        raise SystemExit(f"no such language: {', '.join(sorted(unknown))}; there is {', '.join(LANGUAGES)}")
    found: list[Result] = []
    for name in wanted:
        if not lacking(name):
            prepare(name)
            found += results(name)
    for each in found:
        print(f"{each.library:19} {each.protocol:15} {each.codec:11} {each.result}")
    left_out = [name for name in wanted if lacking(name)]
    for name in left_out:
        print(f"{name}: left out, as this machine lacks {', '.join(lacking(name))}")
    wrong = [each for each in found if not each.is_expected]
    print(f"{sum(each.result == 'ok' for each in found)} passed, {len(wrong)} failed")
    return 1 if wrong or (asked and left_out) else 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))
