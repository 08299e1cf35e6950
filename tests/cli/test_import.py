"""`gitpod-secrets import`, as a process against a service on a socket."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.peer import free_port
from tests.support.service import TOKEN, Service, serve
from tests.support.shell import SECONDS, VALUE, Shell

FILE = f"ONE={VALUE}\n# mount: file /etc/two\nTWO='{VALUE}\n\"'\n# mount: api-only\n3RD=''\n"


@pytest.fixture
def shell(shell: Shell) -> Shell:
    """Settings for an empty project. Every call is logged."""
    shell.variables["GITPOD_LOG"] = "debug"
    return shell


def imported(shell: Shell, text: str, *arguments: str, code: int = 0) -> list[tuple[str | None, str, str]]:
    """Import a text, and return the name, action and outcome of every line."""
    done = shell.run("import", "-", "--json", *(arguments or ("--yes",)), stdin=text, code=code)
    return [(item["name"], item["action"], item["outcome"]) for item in done.items]


def test_a_file_is_stored_and_exported_again(shell: Shell) -> None:
    """Every mount survives both formats. A second import has nothing to do."""
    created = [("ONE", "create", "created"), ("TWO", "create", "created"), ("3RD", "create", "created")]
    assert imported(shell, FILE) == created
    assert imported(shell, FILE) == [(name, "unchanged", "unchanged") for name, _, _ in created]
    exported = shell.run("export").text
    assert exported == (
        f"# mount: api-only\n# gitpod-secret: 3RD \"\"\nONE='{VALUE}'\n# mount: file /etc/two\nTWO='{VALUE}\n\"'\n"
    )
    assert {action for _, action, _ in imported(shell, exported)} == {"unchanged"}
    as_json = shell.run("export", "--format", "json").text
    assert {"name": "TWO", "value": f'{VALUE}\n"', "filePath": "/etc/two"} in json.loads(as_json)
    assert {action for _, action, _ in imported(shell, as_json)} == {"unchanged"}


@pytest.mark.parametrize("host", ["registry.example.com", "https://a b", "//registry.example.com"])
def test_a_dry_run_refuses_what_the_service_refuses(shell: Shell, host: str) -> None:
    """The address of a registry must have a scheme, which is said before anything is sent."""
    text = f"# mount: registry {host}\nAUTH=user:password\n"
    assert imported(shell, text, "--dry-run", code=1) == [("AUTH", "invalid", "planned")]
    done = shell.run("import", "-", "--yes", stdin=text, code=1)
    assert "container_registry_basic_auth_host: must be a valid URI" in done.rows[0][4]
    assert imported(shell, text.replace(host, "https://registry.example.com")) == [("AUTH", "create", "created")]


def test_every_kind_of_line_is_planned_and_reported(shell: Shell) -> None:
    """An invalid line stops no other, and its rule is reported."""
    imported(shell, FILE)
    text = f"ONE=\nTWO=b\n3RD=c\nNEW={VALUE}\nNEW=x\n{VALUE}\n# mount: file etc\nKEY={VALUE}\nEMPTY=\n"
    done = shell.run("import", "-", "--yes", stdin=text, code=1)
    assert [row[:4] for row in done.rows] == [
        ["1", "ONE", "invalid", "failed"],
        ["2", "TWO", "conflict", "failed"],
        ["3", "3RD", "conflict", "failed"],
        ["4", "NEW", "create", "created"],
        ["5", "NEW", "invalid", "failed"],
        ["6", "-", "invalid", "failed"],
        ["8", "KEY", "invalid", "failed"],
        ["9", "EMPTY", "create", "created"],
    ]
    assert "at least 1 character" in done.rows[0][4]
    assert "exists with the mount file /etc/two" in done.rows[1][4]
    assert "plan: 4 invalid, 2 conflict, 2 create" in done.err
    assert "error: 6 of 8 not done" in done.err


def test_a_mount_is_replaced_only_when_asked(shell: Shell) -> None:
    """`--replace` deletes the secret and creates it again, also with the same value."""
    imported(shell, FILE)
    assert imported(shell, "TWO=", "--yes", "--replace", code=1) == [("TWO", "invalid", "failed")]
    assert imported(shell, f"TWO={VALUE}", "--yes", "--replace") == [("TWO", "replace", "replaced")]
    assert imported(shell, "TWO=other") == [("TWO", "update", "updated")]


def test_a_dry_run_changes_nothing(shell: Shell) -> None:
    """It prints the plan. Its exit status says whether all of it can be done."""
    done = shell.run("import", "-", "--dry-run", stdin=FILE)
    assert done.text.splitlines()[1] == "3\tTWO\tcreate\tfile /etc/two\t"
    assert imported(shell, "ONE=a", "--dry-run") == [("ONE", "create", "planned")]
    shell.run("import", "-", "--dry-run", stdin="ONE", code=1)
    assert shell.stored() == {}


def test_crlf_in_a_value_is_kept_with_a_warning(shell: Shell) -> None:
    """CRLF inside a value is kept, and the warning names the line. CRLF at the end of a line is not part of a value."""
    done = shell.run("import", "-", "--yes", stdin=f"\ufeffONE={VALUE}\r\nTWO='{VALUE}\r\n'\r\n")
    assert "warning: line 2: the value holds CRLF line breaks; they are kept" in done.err
    assert shell.run("export").text == f"ONE='{VALUE}'\nTWO='{VALUE}\r\n'\n"


def test_prune_deletes_what_the_file_does_not_name(shell: Shell) -> None:
    """The plan lists the deletions. A file with an invalid line is refused."""
    imported(shell, FILE)
    for text in ("ONE=a\nTWO", "", "# nothing\n"):
        shell.run("import", "-", "--yes", "--prune", stdin=text, code=2)
    expected = [("ONE", "update", "updated"), ("3RD", "delete", "deleted"), ("TWO", "delete", "deleted")]
    planned = [(name, action, "planned") for name, action, _ in expected]
    assert imported(shell, "ONE=a", "--dry-run", "--prune") == planned
    assert imported(shell, "ONE=a", "--yes", "--prune") == expected
    assert shell.stored() == {"ONE": "a"}


def test_nothing_is_pruned_when_a_line_failed(shell: Shell) -> None:
    """The secret that the file does not name may be the one that the failed line renames."""
    imported(shell, FILE)
    assert imported(shell, "# mount: env\nTWO=a\n3RD=b\nFOUR=c", "--yes", "--prune", code=1) == [
        ("TWO", "conflict", "failed"),
        ("3RD", "conflict", "failed"),
        ("FOUR", "create", "created"),
        ("ONE", "delete", "skipped"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-"], "there is no terminal to ask for confirmation"),
        (["missing.env", "--yes"], "error: missing.env: No such file"),
        (["/bin/true", "--yes"], "error: /bin/true: is not text in UTF-8"),
        (["/dev/zero", "--yes"], "error: /dev/zero: is larger than 67108864 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(shell: Shell, arguments: list[str], message: str) -> None:
    """It is reported before anything is done."""
    done = shell.run("import", *arguments, stdin=FILE, code=2)
    assert done.out == b""
    assert message in done.err


@pytest.mark.parametrize("command", [["import", "-", "--yes"], ["export"]])
def test_an_unreachable_service_and_a_missing_scope_are_reported(shell: Shell, command: list[str]) -> None:
    """An unreachable service and a missing scope have their exit statuses, for both commands."""
    shell.run(*command, stdin=FILE, code=6, GITPOD_BASE_URL=f"http://127.0.0.1:{free_port()}")
    done = shell.run(*command, stdin=FILE, code=2, GITPOD_BASE_URL="sqlite://", GITPOD_PROJECT_ID="")
    assert "no scope given: use --project" in done.err


def test_an_unknown_token_is_refused(shell: Shell) -> None:
    """The exit status is 3."""
    shell.run("import", "-", "--yes", stdin=FILE, code=3, GITPOD_API_KEY="another")


class Running:
    """An import under way, which has stored some secrets."""

    def __init__(self, shell: Shell, file: Path) -> None:
        self.process = shell.start("import", str(file), "--yes")
        scope: Any = {"scope": {"project_id": shell.project}}
        with shell.client() as client:
            while len(client.secrets.list(filter=scope, page_size=100).secrets) < 99:
                assert self.process.poll() is None

    def end(self, code: int) -> tuple[str, str]:
        """Wait for its exit status, and return what it printed on either stream, in which no value is."""
        out, err = (each.decode() for each in self.process.communicate(timeout=SECONDS))
        assert self.process.returncode == code, err
        assert VALUE not in out + err
        assert "Traceback" not in err
        return out, err


@pytest.fixture
def thousand(tmp_path: Path) -> Path:
    """A file of a thousand secrets."""
    file = tmp_path / "secrets.env"
    file.write_text("".join(f"NAME_{number:04}='{VALUE} {number}'\n" for number in range(1000)))
    return file


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Service]:
    """A service that a test may kill."""
    service = serve(tmp_path / "s.db")
    try:
        yield service
    finally:
        service.process.kill()
        service.process.communicate()


def test_a_restart_of_the_service_only_costs_time(served: Service, project: str, thousand: Path) -> None:
    """It is killed during an import, and started again. The import does not fail."""
    shell = Shell(served.url, TOKEN, project, thousand.parent)
    running = Running(shell, thousand)
    # The import waits for 15 seconds in all, and a busy machine may need longer to start a service.
    running.process.send_signal(signal.SIGSTOP)
    served.stop(signal.SIGKILL)
    again = serve(served.path, port=int(served.url.rpartition(":")[2]))
    running.process.send_signal(signal.SIGCONT)
    try:
        out, _ = running.end(0)
        assert len(out.splitlines()) == 1000
        assert shell.run("export").text == thousand.read_text()
        assert again.stop() == 0
    finally:
        again.process.kill()


def test_a_thousand_secrets_are_imported_at_once(shell: Shell, thousand: Path) -> None:
    """The export has what was imported. A second import has nothing to do."""
    done = shell.run("import", str(thousand), "--yes")
    assert done.text.count("\tcreated\t") == 1000
    assert shell.run("export").text == thousand.read_text()
    assert "1000 unchanged" in shell.run("import", str(thousand), "--dry-run").err


def test_an_interrupt_leaves_the_rest_to_another_run(shell: Shell, thousand: Path) -> None:
    """The status is 130, and a hint says that another run does the rest."""
    running = Running(shell, thousand)
    running.process.send_signal(signal.SIGINT)
    out, err = running.end(130)
    assert out == ""
    assert "what was stored stays" in err
    assert {row[3] for row in shell.run("import", str(thousand), "--yes").rows} == {"created", "unchanged"}
    assert shell.run("export").text == thousand.read_text()
