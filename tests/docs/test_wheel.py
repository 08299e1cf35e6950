"""What users install: the wheel, in an environment that holds nothing else."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from tests.support.programs import run
from tests.support.service import ROOT

PIP = ["-m", "pip", "--disable-pip-version-check", "install", "-q", "-c", str(ROOT / "constraints.txt")]
PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
ENVIRONMENT = {**os.environ, "GITPOD_API_KEY": "dev", "GITPOD_BASE_URL": "sqlite:///x.db"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [built] = out.glob("*.whl")
    return built


def test_it_holds_the_package_and_the_stubs_alone(wheel: Path) -> None:
    """Both marked as typed; no tests or tools."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"gitpod", "gitpod_proto"}
    assert {"gitpod/py.typed", "gitpod_proto/py.typed", "gitpod_proto/gitpod/v1/secret_pb.py"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_it_carries_the_contract(wheel: Path, tmp_path: Path) -> None:
    """The .proto files compile as they stand, to the descriptors that it carries too."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    out = tmp_path / "out.binpb"
    options = ["--as-file-descriptor-set", "--exclude-source-info", "--path", f"{tmp_path}/gitpod_proto/proto/gitpod"]
    run("buf", "build", f"{tmp_path}/gitpod_proto/proto", *options, "-o", str(out))
    program = "from importlib.resources import files; print(files('gitpod_proto').joinpath('contract.binpb'))"
    carried = run(sys.executable, "-c", program, PYTHONPATH=str(tmp_path)).strip()
    assert carried == f"{tmp_path}/gitpod_proto/contract.binpb"
    assert FileDescriptorSet.FromString(Path(carried).read_bytes()) == FileDescriptorSet.FromString(out.read_bytes())


def test_the_snippet_runs_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    """Without the extra the error names it; the command that it shows is enough for the snippet and an import."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv/bin/python")
    snippet = [python, str(ROOT / "examples/snippet.py")]
    subprocess.run([python, *PIP, str(wheel)], check=True)
    bare = subprocess.run(snippet, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert "gitpod.errors.GitpodError: GITPOD_BASE_URL: sqlite:" in bare.stderr
    hint = f"-m pip install '{wheel}[server]'"
    assert f'which needs the extra "server": {python} {hint}' in bare.stderr
    command = [str(tmp_path / "venv/bin/gitpod-secrets"), "--version"]
    bare = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (bare.returncode, bare.stderr.count("Traceback")) == (2, 0)
    assert f"gitpod-secrets: hint: {python} {hint.replace('server', 'cli')}" in bare.stderr
    quiet = {"PIP_QUIET": "1", "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    subprocess.run(["sh", "-c", f"{python} {hint}"], env=ENVIRONMENT | quiet, check=True)
    done = subprocess.run(snippet, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Secret(id=")
    (tmp_path / "a.env").write_text("NAME=value\n")
    imported = subprocess.run(
        [command[0], "import", "--yes", "--project", PROJECT, "a.env"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 create" in imported.stderr
