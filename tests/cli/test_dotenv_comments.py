"""Comments of a dotenv file that look as if they said how environments get a secret, and those that do not."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.shell import VALUE, Shell

from gitpod.cli.files.comments import ALMOST_MOUNT, BAD_ENCODED, BAD_MOUNT, BEHIND_MOUNT
from gitpod.cli.files.dotenv import BEHIND_VALUE, MISPLACED, dump
from gitpod.cli.files.entries import Entry, Invalid
from gitpod.cli.files.load import load

ALMOST = [
    *("#mount: api-only", "# mount : api-only", "## mount: api-only", "# Mount: env", "# MOUNT: file /x"),
    *("# mounts: file /x", "#\tmount: env", "#\u00a0mount: env", "# mount\u00a0: env", "#\u200bmount: env"),
    *("# mount file /x", "# mount registry https://host", "# mount registry host.example.com", "# mount api-only"),
    *("# mount env", "#mount env", "; mount: api-only", "// mount: api-only", "-- mount: file /x", "mount: file /x"),
    *("mount: api-only", "mount:", "# mount= api-only", "# mount=file /x", "# moutn: api-only", "# mout: file /x"),
    *("# mounted: api-only", "# [mount]: file /x", "# (mount) file: /x", "# mount\uff1a env", "# mount file: /x"),
    *(
        "# mount - file /x",
        "#! mount: file /x",
        "# * mount: env",
        "# mount -> api-only",
        '# mount "file /x"',
        "#mount:",
    ),
    *("# Mounts:", "  #  mount: file /x", "# mount api_only", "# MOUNT API-ONLY please"),
]
WRONG = {
    "# mount: api-only # c": BEHIND_MOUNT,
    "# mount: file /x # c": BEHIND_MOUNT,
    '# mount: file "/x" # c': BEHIND_MOUNT,
    "# mount: registry https://host\t# c": BEHIND_MOUNT,
    "# mount: API-ONLY": BAD_MOUNT,
    "# mount: api_only": BAD_MOUNT,
    "# mount: api only": BAD_MOUNT,
    "# mount: environment": BAD_MOUNT,
    "# mount: file\u00a0/x": BAD_MOUNT,
    "# mount: file\t/x": BAD_MOUNT,
    "# mount: the disk must be there": BAD_MOUNT,
    "# mount:": BAD_MOUNT,
}
ORDINARY = [
    *("# mount the disk first", "# mount file systems first", "# mounts are below", "# mount env vars by hand"),
    *("# amount: 5", "# count: env", "# the mount: see wiki", "# mounting order matters", "# see mount(8): it is long"),
    *("# mountain: view", "# mount registry credentials by hand", "# type: file /x", "# Mountpoint of the disk"),
    *("# mode: 0600 file", "# account: registry", "#", "##", "# mount point is /data", "# mount, then run", "# mount"),
    *("# MOUNT=1", "#MOUNT_FILE=/x", "# MOUNT_PATH=/x", "#MOUNTS=/a:/b", "# MOUNT=:80", "# export MOUNT=/a"),
    "# GITPOD_SECRET=abc",
    *("# gitpod-secrets: wrote 3", "# gitpod-secrets import reads this", "# our gitpod secrets are here"),
]


@pytest.mark.parametrize("comment", ALMOST)
@pytest.mark.parametrize("line", ["NAME=v", "export NAME='v'", "NAME='it'\\''s'", '# gitpod-secret: NAME "v"'])
def test_a_comment_that_is_almost_a_mount_makes_the_line_below_invalid(comment: str, line: str) -> None:
    """Ignored, it would put the secret into every environment. The rule says how it must begin."""
    assert load(f"ONE=1\n{comment}\n{line}\n")[1:] == [Invalid(3, ALMOST_MOUNT, "NAME")]


@pytest.mark.parametrize("comment", WRONG)
def test_a_mount_that_is_none_makes_the_line_below_invalid(comment: str) -> None:
    """The rule says which mounts there are, or that nothing can stand behind one."""
    assert load(f"{comment}\r\nNAME=v\r\n") == [Invalid(2, WRONG[comment], "NAME")]


@pytest.mark.parametrize("comment", ORDINARY)
def test_an_ordinary_comment_says_nothing(comment: str) -> None:
    """It may have the word."""
    [line] = load(f"{comment}\nNAME=v # {comment}\n")
    assert isinstance(line, Entry)
    assert (line.value.reveal(), line.mount) == ("v", {"environment_variable": True})


@pytest.mark.parametrize(
    "comment",
    ["# mount: api-only", "# Mount : file /x", "#mount api-only", "# moutn: env", '# gitpod-secret: A "b"'],
)
@pytest.mark.parametrize("line", ["NAME=v {}", "NAME='v' {}", "NAME='v'{}", "NAME=v{}", "NAME= {}", "NAME='a'\\' {}"])
def test_a_comment_behind_a_value_makes_its_line_invalid(comment: str, line: str) -> None:
    """It says nothing there to this command, and seems to."""
    assert load(line.format(comment)) == [Invalid(1, BEHIND_VALUE, "NAME")]


@pytest.mark.parametrize("text", ["NAME='v # mount: env'", 'NAME="\n# mount: env\n"', "NAME=v\n# mount: env\nTWO='x'"])
def test_what_is_quoted_or_below_is_not_behind(text: str) -> None:
    """In quotes it is a part of the value; below it is the next secret's."""
    assert all(isinstance(line, Entry) for line in load(text))


@pytest.mark.parametrize("text", ["{}\n\nNAME=v", "{}\n# note\nNAME=v", "{}\n{}\nNAME=v", "{}"])
@pytest.mark.parametrize("comment", ["# mount: env", "#mount: env", "mount: env", "# moutn: env"])
def test_a_comment_that_is_almost_a_mount_is_as_strict_about_its_place(text: str, comment: str) -> None:
    """Something between it and the secret, and nothing below it, is refused as for a mount comment."""
    found = load(text.replace("{}", comment))
    assert Invalid(1 if text in ("{}", "{}\n{}\nNAME=v") else 3, MISPLACED, found[0].name) == found[0]


@pytest.mark.parametrize(
    "comment",
    [
        *('#gitpod-secret: ABC "x"', '# gitpod-secret : ABC "x"', '# Gitpod-Secret: ABC "x"', "# gitpod-secret: ABC x"),
        *('# gitpod-secrets: ABC "x"', '# gitpod_secret: ABC "x"', '# gitpod-secret ABC "x"', "# gitpod-secret:"),
        *(
            '# gitpod-secret: ABC "x" # c',
            "# gitpod-secret: ABC 'x'",
            '# gitpod-secret: A-B "x"',
            '# gitpod-secret ABC="x"',
            "#gitpod-secrets ABC = 'x'",
            '##gitpod secret:A "x"',
        ),
    ],
)
def test_a_comment_that_is_almost_a_secret_is_invalid(comment: str) -> None:
    """Ignored, the secret would be missing. The rule says how it is written."""
    assert load(f"{comment}\nNAME=v")[0] == Invalid(1, BAD_ENCODED)
    assert len(load(f"{comment}\nNAME=v")) == 2


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.text(alphabet="a #\t\n\"\\:'\u00a0", max_size=8).map("/".__add__))
def test_any_path_is_written_so_that_it_is_read(path: str) -> None:
    """Also one with what would be a comment."""
    [line] = load("# mount: file /a\nNAME=v")
    assert isinstance(line, Entry)
    written = dump([Entry(1, "NAME", line.value, {"file_path": path})])
    [again] = load(written)
    assert isinstance(again, Entry)
    assert again.mount == {"file_path": path}


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    signs=st.text(alphabet="#;/ \t\u00a0-*!", max_size=6),
    word=st.sampled_from(["mount", "Mount", "MOUNTS", "moutn"]),
    colon=st.sampled_from([":", " :", "\t=", ": ", "\uff1a"]),
    mount=st.sampled_from(["api-only", "file /x", "env", "API_ONLY", "registry https://h"]),
)
def test_no_spelling_of_api_only_goes_into_environments(signs: str, word: str, colon: str, mount: str) -> None:
    """Whatever stands in front of the word: it is the mount, or an error."""
    text = f"{signs}{word}{colon}{mount}"
    is_mount, is_secret = text.lstrip().startswith("# mount:"), text.lstrip().startswith(f"{word}\t=")
    stored = [line for line in load(f"{text}\nNAME=v\n") if isinstance(line, Entry) and line.name == "NAME"]
    assert not stored or is_mount or is_secret


def test_an_import_stores_nothing_of_it(shell: Shell) -> None:
    """The command names the line and the rule, and its exit status is 1."""
    done = shell.run("import", "-", "--yes", stdin=f"# Mount: api-only\nNAME={VALUE}\n", code=1)
    assert done.rows == [["2", "NAME", "invalid", "failed", ALMOST_MOUNT]]
    assert shell.stored() == {}
