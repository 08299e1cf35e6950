"""What docs/languages/ says: the contract compiles from git, from an archive and from descriptors, by itself."""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import httpx
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from languages import lacking
from tests.support import pages
from tests.support.peer import free_port
from tests.support.programs import run
from tests.support.service import ROOT, TOKEN, Service

PAGE = pages.text("languages")
NO_NETWORK = {"HTTP_PROXY": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
GIT = dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "test") | dict.fromkeys(
    ("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "test@example.com"
)
pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the files are not a git checkout")


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    """What `make contract` writes."""
    run(sys.executable, str(ROOT / "tools/contract.py"), str(tmp_path / "dist"))
    return tmp_path / "dist"


@pytest.fixture
def unpacked(dist: Path) -> Path:
    """The archive's files."""
    [archive] = dist.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(dist, filter="data")
    return dist / archive.name.removesuffix(".tar.gz")


@pytest.fixture
def repository(unpacked: Path) -> Path:
    """A repository with these files on the branch `main` and at the tag `v0.1.0`."""
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "first"], ["tag", "v0.1.0"]):
        run("git", *command, cwd=unpacked, **GIT)
    return unpacked


def block(first: str) -> str:
    """The block of shell that holds a text."""
    [found] = [each for each in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if first in each]
    return str(found)


@pytest.mark.parametrize("command", ["build", "lint", "build proto", "format --exit-code --diff", "dep graph"])
def test_the_archive_is_complete(unpacked: Path, command: str) -> None:
    """Every command of buf works on it, without a network."""
    run("buf", *command.split(), cwd=unpacked, **NO_NETWORK)


@pytest.mark.parametrize("reference", ["", "#subdir=proto", "#tag=v0.1.0,subdir=proto", "#branch=main"])
def test_git_is_an_input(repository: Path, tmp_path: Path, reference: str) -> None:
    """As a whole, or the folder of the contract alone."""
    listed = run("buf", "build", f"{repository}/.git{reference}", "-o", "-#format=json", cwd=tmp_path, **NO_NETWORK)
    assert {'"gitpod/v1/secret.proto"', '"buf/validate/validate.proto"'} <= set(re.findall(r'"[\w/]+\.proto"', listed))


@pytest.mark.parametrize(("before", "after", "status"), [("header = 2", "header = 3", 100), ("UUID", "uuid", 0)])
def test_a_break_is_found_from_outside(
    repository: Path, dist: Path, tmp_path: Path, before: str, after: str, status: int
) -> None:
    """By the command of the page, and against the descriptors; a comment breaks nothing."""
    proto = repository / "proto/gitpod/v1/secret.proto"
    proto.write_text(proto.read_text().replace(before, after))
    run("git", "commit", "-q", "-a", "-m", "second", cwd=repository, **GIT)
    [descriptors] = [each for each in dist.glob("*.binpb") if "without" not in each.name]
    script = block("buf breaking")
    for command in (script, re.sub(r'--against ".*"', f"--against {descriptors}", script)):
        environment = os.environ | NO_NETWORK | {"REPO": f"{repository}/.git", "PATH": path()}
        done = subprocess.run(["sh", "-ec", command], cwd=tmp_path, env=environment, capture_output=True, check=False)
        assert (done.returncode, bool(done.stdout)) == (status, bool(status)), done.stderr


def path() -> str:
    """The search path, with this environment's programs first."""
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


@pytest.mark.parametrize("is_git", [True, False])
def test_python_stubs_are_made(repository: Path, dist: Path, tmp_path: Path, *, is_git: bool) -> None:
    """By the command of the page, from git and from the descriptors, with a template of the reader's own.

    None are made of imports.
    """
    (tmp_path / "buf.gen.yaml").write_text("version: v2\nplugins: [{local: protoc-gen-py, out: out}]\n")
    script = re.sub("^REPO=.*$", f"REPO={repository}/.git", block("buf generate"), flags=re.MULTILINE)
    if not is_git:
        [descriptors] = [each for each in dist.glob("*.binpb") if "without" not in each.name]
        script = re.sub(r'"\$REPO.*?"', str(descriptors), script)
    run("sh", "-ec", script, cwd=tmp_path, **NO_NETWORK)
    made = {file.relative_to(tmp_path / "out").parts[0] for file in (tmp_path / "out").rglob("*_pb.py")}
    assert made == {"gitpod"}


def test_the_descriptors_hold_what_their_names_say(dist: Path) -> None:
    """With imports the set is complete; without, it is the contract alone."""
    names = {
        each.name.replace("-without-imports", " alone").split("-")[-1]: [
            file.name for file in FileDescriptorSet.FromString(each.read_bytes()).file
        ]
        for each in dist.glob("*.binpb")
    }
    [alone], [whole] = ([names[key] for key in names if ("alone" in key) == wanted] for wanted in (True, False))
    assert alone == [f"gitpod/v1/{name}.proto" for name in ("identity", "pagination", "secret")]
    assert set(whole) - set(alone) == {
        "buf/validate/validate.proto",
        "google/protobuf/descriptor.proto",
        "google/protobuf/timestamp.proto",
    }


def test_the_archive_is_reproducible(dist: Path) -> None:
    """It has neither times nor owners, and its names are in order."""
    [archive] = dist.glob("*.tar.gz")
    assert archive.read_bytes()[4:8] == bytes(4)  # the time in the head of gzip
    with tarfile.open(archive) as tar:
        entries = tar.getmembers()
    assert {(entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname) for entry in entries} == {(0, 0, 0, "", "")}
    assert [entry.name for entry in entries] == sorted(entry.name for entry in entries)


def test_the_page_names_what_is_written(dist: Path) -> None:
    """Each file."""
    version = re.compile(r"\d+\.\d+\.\d+")
    named = {version.sub("", name) for name in re.findall(r"^\| `(gitpod-contract[^`]+)`", PAGE, re.MULTILINE)}
    assert named == {version.sub("", file.name) for file in dist.iterdir()}


def test_messages_of_rust_do_not_print_values(dist: Path) -> None:
    """Prost knows nothing of `debug_redact`, so the template names each message that holds such a field."""
    [descriptors] = dist.glob("*-without-imports.binpb")
    files = FileDescriptorSet.FromString(descriptors.read_bytes()).file
    redacted = {
        f"{file.package}.{message.name}"
        for file in files
        for message in file.message_type
        for field in message.field
        if field.options.debug_redact
    }
    template = (ROOT / "interop/rust/buf.gen.yaml").read_text()
    assert set(re.findall(r"skip_debug=(\S+)", template)) == redacted


def commands_of(folder: Path) -> list[str]:
    """The commands in the README of a language: what installs the plugins, makes the stubs, and runs the program."""
    return re.findall(r"^    (\w.+)$", (folder / "README.md").read_text(), re.MULTILINE)


def compiled(unpacked: Path, language: str, *commands: list[str]) -> Path:
    """The folder of a language in the archive, after the commands of its README that make stubs, and these commands.

    Skips the test where the plugins cannot be had.
    """
    if missing := lacking(language):
        pytest.skip(f"{', '.join(missing)} is not installed")
    folder = unpacked / "interop" / language
    install, generate, *_ = commands_of(folder)
    environment = os.environ | {"PATH": path()}
    installed = subprocess.run(
        ["sh", "-ec", install], cwd=unpacked, env=environment, capture_output=True, text=True, check=False
    )
    if installed.returncode:
        pytest.skip(f"the plugins of {language} cannot be installed: {installed.stderr[-200:]}")
    assert not (folder / "gen").exists()
    subprocess.run(["sh", "-ec", generate], cwd=unpacked, env=environment | NO_NETWORK, check=True)
    for command in commands:
        subprocess.run(command, cwd=folder, env=environment, check=True)
    return folder


@pytest.mark.slow
def test_go_stubs_compile_from_the_archive_alone(unpacked: Path) -> None:
    """With the template, and the versions of plugins and libraries, that it holds."""
    # Vetting compiles, and needs no linker.
    go = compiled(unpacked, "go", ["go", "vet", "./..."])
    assert {file.name for file in (go / "gen").rglob("secret*.go")} == {
        "secret.pb.go",
        "secret.connect.go",
        "secret_grpc.pb.go",
    }
    badly_formatted = subprocess.run(["gofmt", "-l", "."], cwd=go, capture_output=True, text=True, check=True).stdout
    assert badly_formatted == ""


@pytest.mark.slow
@pytest.mark.parametrize(("language", "count"), [("go", 9), ("typescript", 8), ("java", 1)])
def test_a_program_runs_by_the_commands_of_its_readme(
    unpacked: Path, service: Service, language: str, count: int
) -> None:
    """Against a service with one port, once the page's line says where it is."""
    compiled(unpacked, language)
    _, _, command, *_ = commands_of(unpacked / "interop" / language)
    script = (
        block("GITPOD_GRPC_URL").replace("http://127.0.0.1:8080", service.url).replace("=dev", f"={TOKEN}") + command
    )
    lines = run("sh", "-ec", script, cwd=unpacked).splitlines()
    assert sum(line.endswith("\tok") for line in lines) == count, lines


@pytest.mark.slow
def test_typescript_stubs_compile_from_the_archive_alone(unpacked: Path) -> None:
    """With the template, and the versions of plugins and libraries, that it holds; and the page is served."""
    typescript = compiled(unpacked, "typescript", ["node_modules/.bin/tsc"])
    assert {file.name for file in (typescript / "gen").rglob("secret*")} == {"secret_pb.ts"}
    [serve] = [command for command in commands_of(typescript) if "--serve=" in command]
    port = free_port()
    with subprocess.Popen(
        ["sh", "-ec", serve.replace("8000", str(port))], cwd=typescript, stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:  # the end of its input ends it
        assert process.stderr
        while "Local" not in (line := process.stderr.readline().decode()):
            assert line, "it ended"
        script = httpx.get(f"http://127.0.0.1:{port}/page.js", trust_env=False, timeout=60).raise_for_status().text
        assert "gen/gitpod/v1/secret_pb.ts" in script
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "files"),
    [
        ("java", {"Secret.java", "SecretServiceGrpc.java"}),
        ("kotlin", {"Secret.java", "SecretKt.kt", "SecretServiceClient.kt"}),
    ],
)
def test_stubs_of_the_jvm_are_made_from_the_archive_alone(unpacked: Path, language: str, files: set[str]) -> None:
    """With the template, and the versions of plugins, that it holds; and none of buf/validate."""
    made = compiled(unpacked, language) / "gen"
    assert files <= {file.name for file in made.rglob("Secret*")}
    assert {file.parent for file in made.rglob("*.*")} == {made / "com/gitpod/v1"}
