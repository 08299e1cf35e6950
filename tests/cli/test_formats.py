"""The formats of `export` for other programs: each is read by one, which gets every value as it was."""

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.support.env_files import read_docker, read_github
from tests.support.shell import VALUE, Shell

from gitpod import SecretValue
from gitpod.cli.files import dotenv, formats, github
from gitpod.cli.files.entries import Entry

TEXT = st.one_of(
    st.text(alphabet="'\"\\$`#=<: \t\n\r\x01\x7f\x85\u2028\ufeff\ue000é€😀\U000e0001a~%", max_size=12), st.text()
)
VALUES = st.lists(TEXT, min_size=1, max_size=20)
quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
SHELLS = [shell for shell in ("sh", "bash", "dash", "zsh") if shutil.which(shell)]


def entries(values: list[str], format_: str) -> list[Entry]:
    """Variables with those of the values that the format can say."""
    found = [Entry(number, f"NAME_{number}", SecretValue(value)) for number, value in enumerate(values)]
    return [entry for entry in found if not [*formats.problems([entry], format_)]]


def values_of(found: list[Entry]) -> dict[str, str]:
    return {entry.name: entry.value.reveal() for entry in found}


@pytest.mark.parametrize("shell", SHELLS)
@quick
@given(values=VALUES)
def test_shells_get_the_values_of_the_lines_for_them(tmp_path: Path, shell: str, values: list[str]) -> None:
    """A program that the shell starts has each of them in its environment."""
    written = entries(values, "shell")
    (tmp_path / "file").write_bytes(formats.dump(written, "shell", "").encode())
    done = subprocess.run([shell, "-c", ". ./file; env -0"], capture_output=True, check=True, cwd=tmp_path, timeout=60)
    environment = dict(each.split("=", 1) for each in done.stdout.decode().split("\0") if each)
    assert {name: environment[name] for name in values_of(written)} == values_of(written)
    assert done.stderr == b""


@quick
@given(values=VALUES)
def test_yaml_has_the_values(values: list[str]) -> None:
    """Also those with characters that YAML folds or refuses."""
    written = entries(values, "yaml")
    assert len(written) == len(values)
    assert yaml.safe_load(formats.dump(written, "yaml", "")) == values_of(written)


@pytest.mark.parametrize("name", ["123", "0x1F", "1_0", "1e5", "YES", "off", "null", "true", "0o7"])
def test_a_name_stays_a_text(name: str) -> None:
    """YAML would take it for a number or a truth value."""
    entry = Entry(1, name, SecretValue("no"))
    assert yaml.safe_load(formats.dump([entry], "yaml", "")) == {name: "no"}
    assert [*yaml.safe_load(formats.dump([entry], "k8s", "s"))["data"]] == [name]


@quick
@given(values=VALUES)
def test_a_manifest_has_the_values(values: list[str]) -> None:
    """In base64, as the reference of Secret says."""
    written = entries(values, "k8s")
    manifest = yaml.safe_load(formats.dump(written, "k8s", "db.prod-1"))
    data = {name: base64.b64decode(value, validate=True).decode() for name, value in manifest.pop("data").items()}
    assert data == values_of(written)
    assert manifest == {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db.prod-1"}, "type": "Opaque"}


@quick
@given(values=VALUES)
def test_docker_gets_the_values(values: list[str]) -> None:
    """Those that it can say: on one line, without a carriage return at the end."""
    written = entries(values, "docker")
    assert {*values_of(written).values()} >= {value for value in values if not re.search("[\n\r\0]", value)}
    assert read_docker(formats.dump(written, "docker", "").encode()) == values_of(written)


@quick
@given(values=VALUES, before=st.sampled_from(["", "A=1\n", "A=1", "A<<B\n1\nB\n"]))
def test_a_job_gets_the_values(tmp_path: Path, values: list[str], before: str) -> None:
    """Behind what the file has already, which need not end in a line break."""
    written, file = entries(values, "github"), tmp_path / "env"
    file.write_bytes(before.encode())
    github.append(file, written)
    assert read_github(file.read_bytes()) == ({"A": "1"} if before else {}) | values_of(written)


@pytest.mark.skipif(not shutil.which("node"), reason="there is no node")
@settings(quick, max_examples=10)  # node starts slowly
@given(values=VALUES)
def test_node_reads_dotenv(tmp_path: Path, values: list[str]) -> None:
    """Values in single quotes, which most are; node knows no escapes of quotes."""
    found = [Entry(number, f"NAME_{number}", SecretValue(value)) for number, value in enumerate(values)]
    written = [entry for entry in found if re.fullmatch("[^'\\\\\r\0]+", entry.value.reveal())]
    assume(written)
    (tmp_path / "file").write_bytes(dotenv.dump(written).encode())
    show = "process.stdout.write(JSON.stringify(process.env))"
    done = subprocess.run(["node", "--env-file=file", "-e", show], capture_output=True, check=True, cwd=tmp_path)
    environment: dict[str, str] = json.loads(done.stdout)
    assert {name: environment[name] for name in values_of(written)} == values_of(written)


@pytest.mark.parametrize(
    ("format_", "name", "value", "rule"),
    [
        ("docker", "NAME", f"{VALUE}\n", "line break"),
        ("docker", "NAME", f"{VALUE}\r", "carriage return"),
        ("docker", "NAME", f"{VALUE}\0", "NUL"),
        ("github", "NODE_OPTIONS", VALUE, "no variable of that name"),
        ("github", "GITHUB_TOKEN", VALUE, "no variable of that name"),
        ("github", "runner_temp", VALUE, "no variable of that name"),
        ("github", "NAME", f"{VALUE}\r", "carriage return"),
        ("github", "NAME", f"{VALUE}\0", "NUL"),
        ("k8s", "NAME", f"{VALUE}\0", "NUL"),
        ("shell", "1ST", VALUE, "begins with a digit"),
        ("shell", "BASHPID", VALUE, "variable of bash"),
        ("shell", "NAME", f"{VALUE}\0", "NUL"),
    ],
)
def test_what_a_format_cannot_say_is_refused_by_name(
    shell: Shell, tmp_path: Path, format_: str, name: str, value: str, rule: str
) -> None:
    """Nothing is written then, not even a mask."""
    shell.put("GOOD_ONE")
    shell.put(name, value)
    (tmp_path / "env").touch()
    done = shell.run("export", "--format", format_, code=1, GITHUB_ENV=str(tmp_path / "env"))
    assert f"error: {name}: " in done.err
    assert rule in done.err
    assert "GOOD_ONE" not in done.err
    assert (done.out, (tmp_path / "env").read_text()) == (b"", "")


@pytest.fixture
def mixed(shell: Shell) -> Shell:
    """A project with a secret of each mount."""
    shell.put("VARIABLE", f"{VALUE}-variable")
    shell.put("A_FILE", f"{VALUE}-file", file_path="/a")
    shell.put("API_ONLY", f"{VALUE}-api", api_only=True)
    shell.put("A_LOGIN", f"u:{VALUE}-login", container_registry_basic_auth_host="https://a")
    return shell


@pytest.mark.parametrize("format_", ["docker", "github", "k8s", "shell", "yaml"])
def test_only_variables_are_exported_to_other_programs(mixed: Shell, tmp_path: Path, format_: str) -> None:
    """A secret that environments do not get as a variable is named; its value is not even read."""
    (tmp_path / "env").touch()
    done = mixed.run("export", "--format", format_, GITHUB_ENV=str(tmp_path / "env"))
    assert "left out, as environments do not get them as variables: API_ONLY, A_FILE, A_LOGIN" in done.err
    text = done.text + (tmp_path / "env").read_text()
    assert "VARIABLE" in text
    assert not [each for each in ("A_FILE", "API_ONLY", "A_LOGIN", "-file", "-api", "-login") if each in text]


def test_masks_come_before_the_variables(mixed: Shell, tmp_path: Path) -> None:
    """Each longer line of each value, once, with its percent signs escaped; and the variables are in the file."""
    mixed.put("LINES", f"{VALUE}-1\r\n50% off\n}}\n{VALUE}-1\n")
    (tmp_path / "env").write_text("BEFORE=1")
    done = mixed.run("export", "--format", "github", GITHUB_ENV=str(tmp_path / "env"))
    assert done.text.splitlines() == [
        f"::add-mask::{VALUE}-1",
        "::add-mask::50%25 off",
        f"::add-mask::{VALUE}-variable",
    ]
    assert read_github((tmp_path / "env").read_bytes()) == {
        "BEFORE": "1",
        "LINES": f"{VALUE}-1\r\n50% off\n}}\n{VALUE}-1\n",
        "VARIABLE": f"{VALUE}-variable",
    }


def test_without_masks_there_are_no_variables(mixed: Shell, tmp_path: Path) -> None:
    """Here standard output is closed to it."""
    (tmp_path / "env").touch()
    done = mixed.script('"$@" export --format github > /dev/full', code=1, GITHUB_ENV=str(tmp_path / "env"))
    assert "No space left" in done.err
    assert (tmp_path / "env").read_text() == ""


def test_a_full_disk_leaves_the_jobs_file_as_it_was(mixed: Shell, tmp_path: Path) -> None:
    """Here the system refuses files of more than 512 bytes."""
    mixed.put("LONG_ONE", "x" * 2000)
    (tmp_path / "env").write_text("BEFORE=1\n")
    done = mixed.script(
        'ulimit -f 1; "$@" export --format github > /dev/null', code=2, GITHUB_ENV=str(tmp_path / "env")
    )
    assert done.err.splitlines()[-1] == "gitpod-secrets: error: GITHUB_ENV: File too large"
    assert (tmp_path / "env").read_text() == "BEFORE=1\n"


def test_a_terminal_shows_no_masks_unless_asked(mixed: Shell, tmp_path: Path) -> None:
    """They have the values."""
    (tmp_path / "env").touch()
    settings_: Any = {"GITHUB_ENV": str(tmp_path / "env")}
    assert "--reveal" in mixed.on_terminal("export", "--format", "github", **settings_).end(2)
    assert (tmp_path / "env").read_text() == ""
    assert f"::add-mask::{VALUE}" in mixed.on_terminal("export", "--format", "github", "--reveal", **settings_).end()


@pytest.mark.parametrize(
    ("arguments", "file", "message"),
    [
        (["--format", "github"], "", "GITHUB_ENV: is not set"),
        (["--format", "github"], "/nowhere", "GITHUB_ENV: there is no such file"),
        (["--format", "github", "--output", "x"], "/dev/null", "--output: not with --format github"),
        (["--format", "yaml", "--name", "x"], "", "--name: only with --format k8s"),
        (["--format", "k8s", "--name", "No_Dns"], "", "--name: must be at most 253 lowercase letters"),
        (["--format", "k8s", "--name", "a" * 254], "", "--name: must be at most 253 lowercase letters"),
        (["--format", "k8s", "--name", "a..b"], "", "--name: must be at most 253 lowercase letters"),
    ],
)
def test_options_that_do_not_fit_are_refused(shell: Shell, arguments: list[str], file: str, message: str) -> None:
    """Before a value is read."""
    done = shell.run("export", *arguments, code=2, GITHUB_ENV=file)
    assert message in done.err
    assert not os.path.lexists("x")


def test_output_writes_every_format(mixed: Shell, tmp_path: Path) -> None:
    """With mode 0600, for the user alone."""
    for format_ in ("docker", "k8s", "shell", "yaml"):
        mixed.run("export", "--format", format_, "--output", str(tmp_path / format_))
        assert (tmp_path / format_).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "docker").read_text() == f"VARIABLE={VALUE}-variable\n"
    assert (tmp_path / "shell").read_text() == f"export VARIABLE='{VALUE}-variable'\n"
    assert (tmp_path / "yaml").read_text() == f'"VARIABLE": "{VALUE}-variable"\n'
    assert yaml.safe_load((tmp_path / "k8s").read_text())["metadata"] == {"name": "gitpod-secrets"}


@pytest.mark.parametrize(("format_", "text"), [("docker", ""), ("shell", ""), ("yaml", "{}\n")])
def test_a_scope_without_variables_is_no_error(shell: Shell, format_: str, text: str) -> None:
    """The output is a valid, empty one."""
    assert shell.run("export", "--format", format_).text == text
    assert yaml.safe_load(shell.run("export", "--format", "k8s").text)["data"] == {}


def test_a_manifest_that_is_too_large_is_refused() -> None:
    """The bound of Kubernetes is a mebibyte."""
    many = [Entry(number, f"NAME_{number}", SecretValue("x" * 10_240)) for number in range(103)]
    assert list(formats.problems(many[:102], "k8s")) == []
    [problem] = formats.problems(many, "k8s")
    assert problem.startswith("the values have more than 1048576 bytes")
