"""What the README and the examples show is run as a reader would run it."""

import contextlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.programs import run
from tests.support.service import ROOT, TOKEN, Service

README = (ROOT / "README.md").read_text()
CALL = """client = Gitpod(
    bearer_token=os.environ.get("GITPOD_API_KEY"),  # This is the default and can be omitted
)
secret = client.secrets.create(
    environment_variable=True,
    name="DATABASE_URL",
    project_id="b0e12f6c-4c67-429d-a4a6-d9838b5da047",
    value="postgresql://user:pass@localhost:5432/db",
)
print(secret.secret)
"""


def blocks(language: str) -> list[str]:
    """The README's code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_snippet_is_the_documented_one() -> None:
    """To the letter, in the README and in examples/."""
    snippet = f"import os\nfrom gitpod import Gitpod\n{CALL}"
    assert (ROOT / "examples/snippet.py").read_text() == snippet
    assert blocks("python") == [snippet]


@pytest.mark.parametrize("example", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_every_example_runs(example: str, tmp_path: Path) -> None:
    """Against a store of its own, and prints something."""
    assert run(sys.executable, str(ROOT / "examples" / example), GITPOD_BASE_URL=f"sqlite:///{tmp_path}/s.db") or (
        example == "list_secrets.py"
    )


def test_the_examples_tell_what_happened(tmp_path: Path) -> None:
    """Run one after the other, they meet what the others stored."""
    url = f"sqlite:///{tmp_path}/s.db"
    python, folder = sys.executable, ROOT / "examples"
    run(python, str(folder / "snippet.py"), GITPOD_BASE_URL=url)
    shown = run(python, str(folder / "three_secrets.py"), "json", GITPOD_BASE_URL=url)
    assert shown.startswith("DATABASE_URL: ConflictError: already_exists: name: is taken in this scope")
    assert shown.count('"id":') == 4
    listed = run(python, str(folder / "list_secrets.py"), GITPOD_BASE_URL=url)
    assert [line.split()[0] for line in listed.splitlines()] == ["DATABASE_URL", "SSH_KEY", "DOCKER_AUTH"]
    assert run(python, str(folder / "handle_errors.py"), GITPOD_BASE_URL=url) == "stored\n"
    assert run(python, str(folder / "handle_errors.py"), GITPOD_BASE_URL=url) == "the name is taken in this project\n"


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_readmes_curl_gets_the_documented_json(service: Service) -> None:
    """Pasted as it is, after what `serve` printed."""
    [block] = [block for block in blocks("sh") if "curl" in block]
    answer = run("sh", "-c", block, GITPOD_BASE_URL=service.url, GITPOD_API_KEY=TOKEN)
    assert '"name":"SSH_KEY"' in answer
    assert '"filePath":"/home/gitpod/.ssh/id_rsa"' in answer


def test_the_demo_shows_all_and_leaves_nothing(tmp_path: Path) -> None:
    """The snippet, its result, then the wire without token and values, on few lines; then no process and no file."""
    shown = run(sys.executable, str(ROOT / "tools/demo.py"), TMPDIR=str(tmp_path))
    assert len(shown.splitlines()) < 120
    assert shown.index("print(secret.secret)") < shown.index("Secret(id=") < shown.index("> POST /gitpod.v1")
    assert shown.count("< HTTP/1.1 200 OK") == 1
    assert [shown.count(f"< 200 OK, application/{codec}") for codec in ("proto", "json")] == [3, 3]
    assert shown.count(": ConflictError: already_exists") == 3
    # The snippet itself shows the value that it stores.
    for value in ("user:pass", "BEGIN RSA", "username:password"):
        assert value not in shown.partition("prints:")[2]
    listed = shown.rpartition("examples/list_secrets.py")[2]
    assert [listed.count(name) for name in ("DATABASE_URL ", "SSH_KEY ", "DOCKER_AUTH ")] == [3, 2, 2]
    assert list(tmp_path.iterdir()) == []
    commands: list[bytes] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        # Processes that are not ours come and go.
        with contextlib.suppress(OSError):
            commands.append(path.read_bytes())
    assert [command for command in commands if str(tmp_path).encode() in command] == []


def test_an_installation_that_fails_says_why() -> None:
    """What pip said, and what could not be installed."""
    command = [sys.executable, str(ROOT / "tools/install.py"), "the tools", "--no-index", "no-such-tool"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "installing the tools\n")
    assert "No matching distribution found for no-such-tool" in done.stderr
    assert done.stderr.endswith("\npip could not install the tools\n")


def test_the_repository_names_no_machine_and_no_registry() -> None:
    """No address of a package registry, no absolute path of a machine, no lock file with addresses."""
    names = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    texts = {name: (ROOT / name).read_text(errors="replace") for name in names if name and (ROOT / name).is_file()}
    words = ["pypi" + ".org", "files.python" + "hosted", "/ro" + "ot/", "/wo" + "rk/", "registry.np" + "mjs"]
    assert [(name, word) for name, text in texts.items() for word in words if word in text] == []


INSTALL = re.compile(
    r"\b(?:pip\d?|pipx|uv|poetry|pdm)\b[^\n`]*?\b(?:install|add|inject|run|with)\b[^\n`]*?"
    r"(?<![\w./-])gitpod-connect(?![^\n`]* @ )"
)
"""A command that lets an installer look for the package on an index."""


def test_no_hint_installs_from_an_index() -> None:
    """There, the name of the package is free for a stranger to take."""
    names = {*run("git", "ls-files", "-z", cwd=ROOT).split("\0")} - {"", "tests/docs/test_readme.py"}
    texts = {name: (ROOT / name).read_text(errors="replace") for name in names if (ROOT / name).is_file()}
    assert [(name, found.group()) for name, text in texts.items() for found in INSTALL.finditer(text)] == []


@pytest.mark.parametrize(
    ("command", "is_from_index"),
    [
        ("pip install gitpod-connect", True),
        ("pip install -q 'gitpod-connect[cli]'", True),
        ("python -m pip install --force-reinstall gitpod-connect==1", True),
        ("uv add gitpod-connect", True),
        ("pipx install gitpod-connect[cli]", True),
        ("pip install './gitpod-connect[cli]'", False),
        ("pip install -e '.[server]'", False),
        ("pip install 'gitpod-connect[cli] @ git+https://git.example/a@0123'", False),
    ],
)
def test_the_search_knows_such_a_command(command: str, *, is_from_index: bool) -> None:
    """And none that names a folder, a file or a URL."""
    assert bool(INSTALL.search(command)) == is_from_index
