"""Runs `smoke.py` with the lowest versions that `pyproject.toml` allows, and with the newest.

Each run has an environment of its own with every extra: the lowest versions on the oldest Python that the package
supports, the newest on the newest Python of this machine. Libraries that only other libraries need have the newest
version that goes with these.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
OUT = ROOT / "build/lowest"
BIN = Path(sys.executable).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SUPPORTED = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if "Python :: 3." in each]
FUTURE = 5
"""How many Pythons after the newest supported one are looked for."""


def lowest() -> list[str]:
    """`name==version` for each library that the package itself needs, with or without extras."""
    pins: list[str] = []
    for text in [
        *PROJECT["dependencies"],
        *(each for extra in PROJECT["optional-dependencies"].values() for each in extra),
    ]:
        each = Requirement(text)
        [version] = [bound.version for bound in each.specifier if bound.operator == ">="]
        marker = f" ; {each.marker}" if each.marker else ""
        pins.append(f"{each.name}=={version}{marker}")
    return sorted(set(pins))


def pythons() -> dict[str, str]:
    """The interpreters of this machine, from the oldest supported version to the newest, by version."""
    first, last = (int(each.partition(".")[2]) for each in (SUPPORTED[0], SUPPORTED[-1]))
    found: dict[str, str] = {}
    for minor in range(first, last + FUTURE + 1):
        for path in _candidates(f"3.{minor}"):
            if (
                f"3.{minor}" not in found
                and _output(path, "-c", "import sys; print(*sys.version_info[:2])") == f"3 {minor}"
            ):
                found[f"3.{minor}"] = path
    return found


def _candidates(version: str) -> Iterator[str]:
    """Where a Python may be: on PATH, among those of pyenv, and where uv keeps its own."""
    yield from filter(None, [shutil.which(f"python{version}")])
    if shutil.which("pyenv"):
        folders = Path(_output("pyenv", "root"), "versions").glob(f"{version}.*")
        # The newest of them first.
        for folder in sorted(folders, key=lambda each: each.name.rpartition(".")[2].zfill(3), reverse=True):
            yield str(folder / "bin/python")
    yield from filter(None, [_output(str(BIN / "uv"), "python", "find", "--managed-python", version)])


def _output(*command: str) -> str:
    """What a program prints, empty when it fails."""
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def check(name: str, python: str, wheel: Path, pins: list[str]) -> bool:
    """Install the wheel with every extra and these versions, and run the smoke test. Tell whether all went well."""
    folder = OUT / name
    uv = str(BIN / "uv")
    extras = ",".join(PROJECT["optional-dependencies"])
    install = [uv, "pip", "install", "-q", "--python", str(folder), "--compile-bytecode", f"{wheel}[{extras}]", *pins]
    # A client of gRPC that is not this package's.
    install.append("grpcio")
    smoke = [str(folder / "bin/python"), str(ROOT / "tools/smoke.py")]
    log = OUT / f"{name}.log"
    with log.open("w") as output:
        for command in ([uv, "venv", "-q", "--clear", "--python", python, str(folder)], install, smoke):
            if subprocess.run(command, stdout=output, stderr=output, check=False, cwd=OUT).returncode:
                print(log.read_text()[-4000:])
                return False
    print("\n".join(line for line in log.read_text().splitlines() if line.startswith(("ok ", "     "))))
    return True


def main() -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    subprocess.run(
        [BIN / "hatchling", "build", "-t", "wheel", "-d", OUT], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    [wheel] = OUT.glob("*.whl")
    found = pythons()
    if missing := [each for each in SUPPORTED if each not in found]:
        print(f"not on this machine: Python {', '.join(missing)}")
    versions = list(found)
    failed: list[str] = []
    for name, version, pins in (("lowest", versions[0], lowest()), ("newest", versions[-1], [])):
        print(f"the {name} versions, on Python {version}", flush=True)
        if not check(name, found[version], wheel, pins):
            failed.append(name)
    if failed:
        sys.exit(f"not with the {' and the '.join(failed)} versions")


if __name__ == "__main__":
    main()
