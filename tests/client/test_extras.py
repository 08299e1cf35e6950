"""A missing extra is named, with a command that adds it to this installation and asks no index for the package."""

import json
import sys
from pathlib import Path

import pytest
from tests.support.programs import run

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GIT = {"vcs_info": {"vcs": "git", "commit_id": COMMIT, "requested_revision": "main"}}
FILE = {"archive_info": {"hash": "sha256=00"}}
NAME = "gitpod-connect[server]"


def needed(folder: Path, origin: object, path: str = "") -> str:
    """What is said of a missing extra, by a program whose package was installed from this origin (PEP 610)."""
    info = folder / "site/gitpod_connect-9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Name: gitpod-connect\nVersion: 9\n")
    if origin is not None:
        (info / "direct_url.json").write_text(origin if isinstance(origin, str) else json.dumps(origin))
    program = "from gitpod._extras import needed; print(needed('server'))"
    return run(sys.executable, "-c", program, PYTHONPATH=str(info.parent), PATH=path).removesuffix("\n")


def test_a_clone_is_installed_again_from_its_folder(tmp_path: Path) -> None:
    """In editable mode if it was so, by the pip of the environment that runs this."""
    folder = tmp_path / "a clone's"
    folder.mkdir()
    origin = {"url": folder.as_uri(), "dir_info": {"editable": True}}
    quoted = str(folder).replace("'", "'\"'\"'")
    said = f"needs the extra \"server\": {sys.executable} -m pip install -e '{quoted}[server]'"
    assert needed(tmp_path, origin) == said


def test_the_command_is_short_where_pip_is_on_the_path(tmp_path: Path) -> None:
    """If it is the pip of this environment, and no other."""
    origin = {"url": tmp_path.as_uri(), "dir_info": {"editable": False}}
    said = f"needs the extra \"server\": pip install '{tmp_path}[server]'"
    assert needed(tmp_path, origin, str(Path(sys.executable).parent)) == said


def test_a_wheel_is_installed_again_from_its_file(tmp_path: Path) -> None:
    """While the file exists."""
    wheel = tmp_path / "gitpod_connect-9-py3-none-any.whl"
    wheel.touch()
    assert needed(tmp_path, {"url": wheel.as_uri(), **FILE}).endswith(f" install '{wheel}[server]'")


@pytest.mark.parametrize(
    ("origin", "requirement"),
    [
        ({"url": "https://git.example/a.git", **GIT}, f"{NAME} @ git+https://git.example/a.git@{COMMIT}"),
        ({"url": "ssh://git@git.example/a", **GIT}, f"{NAME} @ git+ssh://git@git.example/a@{COMMIT}"),
        (
            {"url": "https://git.example/a", **GIT, "subdirectory": "py"},
            f"{NAME} @ git+https://git.example/a@{COMMIT}#subdirectory=py",
        ),
        ({"url": "https://dist.example/a.whl", **FILE}, f"{NAME} @ https://dist.example/a.whl"),
    ],
)
def test_a_url_is_installed_again(tmp_path: Path, origin: object, requirement: str) -> None:
    """The same commit of a repository, or the same file."""
    assert needed(tmp_path, origin).endswith(f" install '{requirement}'")


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "{}",
        "[]",
        "not JSON",
        {"url": 7},
        {"url": "https://dist.example/a.whl?X-Signature=s3cret", **FILE},
        {"url": "https://s3cret@git.example/a", **GIT},
        {"url": "https://git:s3cret@git.example/a", **GIT},
        {"url": "https://${TOKEN}@git.example/a", **GIT},
        {"url": "https://git.example/a#s3cret", **GIT},
        {"url": "https://[bad", **GIT},
        {"url": "http://dist.example/a.whl", **FILE},
        {"url": "https://hg.example/a", "vcs_info": {"vcs": "hg", "commit_id": COMMIT}},
        {"url": "https://git.example/a", "vcs_info": {"vcs": "git", "commit_id": "--upload-pack=x"}},
        {"url": "https://git.example/a\u001b[2J", **GIT},
        {"url": "file:///does/not/exist.whl", **FILE},
        {"url": "file:///does/not/exist", "dir_info": {"editable": True}},
        {"url": "file://host/share", "dir_info": {"editable": False}},
    ],
    ids=str,
)
def test_only_the_extra_is_named_when_no_command_is_sure_to_work(tmp_path: Path, origin: object) -> None:
    """Of an unknown origin, one that is gone, and a URL that may hold credentials, nothing is shown."""
    assert needed(tmp_path, origin) == 'needs the extra "server"'
