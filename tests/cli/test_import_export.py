"""`gitpod-secrets import` and `export`: the command against a service on a socket, and its parts against faults."""

import json
import os
import pty
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.peer import free_port
from tests.support.service import TOKEN, Service, serve

from gitpod import Gitpod
from gitpod._rpc import retry
from gitpod.cli.apply import apply, compare, statuses
from gitpod.cli.bulk import exit_status, read_values
from gitpod.cli.files.load import load
from gitpod.cli.plan import Item, plan, prunable
from gitpod.testing import FaultKind, FaultPlan
from gitpod.types import SecretScope

CANARY = "canary-value-81d4"
COMMAND = [sys.executable, "-c", "from gitpod.cli import main; main()"]
FILE = f"ONE={CANARY}\n# mount: file /etc/two\nTWO='{CANARY}\n\"'\n# mount: api-only\n3RD=''\n"


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait for no time."""
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.0)


class Shell:
    """Runs the command with the settings of a project, and keeps all that it said for people."""

    def __init__(self, url: str, project: str) -> None:
        self.url, self.project, self.said = url, project, ""

    @property
    def environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("GITPOD_")}
        given = {"GITPOD_BASE_URL": self.url, "GITPOD_API_KEY": TOKEN, "GITPOD_PROJECT_ID": self.project}
        return own | given | {"GITPOD_LOG": "debug", "TERM": "xterm"}

    def __call__(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        given = text.encode() if text is not None else b""
        done = subprocess.run(
            [*COMMAND, *arguments], input=given, capture_output=True, check=False, timeout=60, env=self.environment
        )
        self.said += " ".join(arguments) + done.stderr.decode()
        self.said += done.stdout.decode() if arguments[0] == "import" else ""
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    def items(self, *arguments: str, text: str) -> list[tuple[str | None, str, str]]:
        """Name, action and outcome of every line of an import."""
        done = self("import", "-", "--json", *arguments, text=text)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        return [(line["name"], line["action"], line["outcome"]) for line in lines]

    def on_terminal(self, *arguments: str, typed: str = "", out: Any = None) -> tuple[int, str]:
        """Run it on a terminal, and type an answer once it asks: its exit status, and what the terminal shows."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [*COMMAND, *arguments], stdin=theirs, stdout=out or theirs, stderr=theirs, env=self.environment
        )
        os.close(theirs)
        shown = ""
        while True:
            try:
                shown += os.read(ours, 65536).decode(errors="replace")
            except OSError:  # the other end is closed
                break
            if typed and "[y/N]" in shown:
                os.write(ours, typed.encode())
                typed = ""
        os.close(ours)
        return process.wait(timeout=30), shown


@pytest.fixture
def shell(service: Service, project: str) -> Iterator[Shell]:
    """The command, in a project of its own. At the end, no value is in what it said or the service logged."""
    shell = Shell(service.url, project)
    yield shell
    assert CANARY not in shell.said + service.log.read_text()


def test_a_file_is_stored_and_exported_again(shell: Shell) -> None:
    """In every mount; a second time there is nothing to do."""
    created = [("ONE", "create", "created"), ("TWO", "create", "created"), ("3RD", "create", "created")]
    assert shell.items("--yes", text=FILE) == created
    assert shell.items("--yes", text=FILE) == [(name, "unchanged", "unchanged") for name, _, _ in created]
    exported = shell("export").stdout
    assert exported == (
        f"# mount: api-only\n# gitpod-secret: 3RD \"\"\nONE='{CANARY}'\n# mount: file /etc/two\nTWO='{CANARY}\n\"'\n"
    )
    assert {action for _, action, _ in shell.items("--yes", text=exported)} == {"unchanged"}
    as_json = shell("export", "--format", "json").stdout
    assert {"name": "TWO", "value": f'{CANARY}\n"', "filePath": "/etc/two"} in json.loads(as_json)
    assert {action for _, action, _ in shell.items("--yes", text=as_json)} == {"unchanged"}


def test_every_kind_of_line_is_planned_and_reported(shell: Shell) -> None:
    """A bad one stops no other, and its rule is told."""
    shell("import", "-", "--yes", text=FILE)
    text = f"ONE=\nTWO=b\n3RD=c\nNEW={CANARY}\nNEW=x\n{CANARY}\n# mount: file etc\nKEY={CANARY}\nEMPTY=\n"
    done = shell("import", "-", "--yes", text=text)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[:4] for row in rows] == [
        ["1", "ONE", "invalid", "failed"],
        ["2", "TWO", "conflict", "failed"],
        ["3", "3RD", "conflict", "failed"],
        ["4", "NEW", "create", "created"],
        ["5", "NEW", "invalid", "failed"],
        ["6", "-", "invalid", "failed"],
        ["8", "KEY", "invalid", "failed"],
        ["9", "EMPTY", "create", "created"],
    ]
    assert done.returncode == 1
    assert "at least 1 character" in rows[0][4]
    assert "exists with the mount file /etc/two" in rows[1][4]
    assert CANARY not in done.stdout
    assert "plan: 4 invalid, 2 conflict, 2 create" in done.stderr
    assert "error: 6 of 8 were not done" in done.stderr


def test_a_mount_is_replaced_only_when_asked(shell: Shell) -> None:
    """The plan says so, and the value may stay what it is."""
    shell("import", "-", "--yes", text=FILE)
    assert shell.items("--yes", "--replace", text="TWO=") == [("TWO", "invalid", "failed")]
    assert shell.items("--yes", "--replace", text=f"TWO={CANARY}") == [("TWO", "replace", "replaced")]
    assert shell.items("--yes", text="TWO=other") == [("TWO", "update", "updated")]


def test_a_dry_run_does_nothing(shell: Shell) -> None:
    """It prints the plan, and says by its status whether all of it can be."""
    done = shell("import", "-", "--dry-run", text=FILE)
    assert (done.returncode, done.stdout.splitlines()[1]) == (0, "3\tTWO\tcreate\tfile /etc/two\t")
    assert shell.items("--dry-run", text="ONE=a") == [("ONE", "create", "planned")]
    assert shell("import", "-", "--dry-run", text="ONE").returncode == 1
    assert shell("list").stdout == ""


def test_a_line_break_of_windows_is_kept_with_a_warning(shell: Shell) -> None:
    """In a value, which is told by its line; at the end of a line it is none of the value."""
    done = shell("import", "-", "--yes", text=f"\ufeffONE={CANARY}\r\nTWO='{CANARY}\r\n'\r\n")
    assert "warning: line 2: the value holds CRLF line breaks; they are kept" in done.stderr
    assert shell("export").stdout == f"ONE='{CANARY}'\nTWO='{CANARY}\r\n'\n"


def test_prune_deletes_what_the_file_does_not_name(shell: Shell) -> None:
    """Listed in the plan, and only for a file that can be read as a whole."""
    shell("import", "-", "--yes", text=FILE)
    for text in ("ONE=a\nTWO", "", "# nothing\n"):
        assert shell("import", "-", "--yes", "--prune", text=text).returncode == 2
    expected = [("ONE", "update", "updated"), ("3RD", "delete", "deleted"), ("TWO", "delete", "deleted")]
    planned = [(name, action, "planned") for name, action, _ in expected]
    assert shell.items("--dry-run", "--prune", text="ONE=a") == planned
    assert shell.items("--yes", "--prune", text="ONE=a") == expected
    assert shell("list").stdout.count("\n") == 1


def test_nothing_is_pruned_when_a_line_failed(shell: Shell) -> None:
    """The secret that is left out may be the one that the line was to have by a new name."""
    shell("import", "-", "--yes", text=FILE)
    assert shell.items("--yes", "--prune", text="# mount: env\nTWO=a\n3RD=b\nFOUR=c") == [
        ("TWO", "conflict", "failed"),
        ("3RD", "conflict", "failed"),
        ("FOUR", "create", "created"),
        ("ONE", "delete", "skipped"),
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["import", "-"], 2, "there is no terminal to ask for confirmation"),
        (["import", "missing.env", "--yes"], 2, "FILE: No such file"),
        (["import", "/bin/true", "--yes"], 2, "FILE: is not text in UTF-8"),
        (["export", "--output", "/dev/null"], 2, "--output: is not a regular file"),
        (["export", "--output", "/nowhere/file"], 2, "--output: there is no such folder"),
        (["export", "--output", "/bin/true/file"], 2, "--output: Not a directory"),
        (["export", "--project", "x"], 2, "is not a valid UUID"),
    ],
)
def test_what_cannot_be_is_said(shell: Shell, arguments: list[str], status: int, message: str) -> None:
    """Before anything is done."""
    done = shell(*arguments, text=FILE)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr


@pytest.mark.parametrize("command", [["import", "-", "--yes"], ["export"]])
def test_a_service_that_is_not_there_or_turns_away(shell: Shell, command: list[str]) -> None:
    """By their exit status."""
    shell.url = f"http://127.0.0.1:{free_port()}"
    assert shell(*command, text=FILE).returncode == 6
    shell.url = "sqlite://"
    shell.project = ""
    assert "no scope given: use --project" in shell(*command, text=FILE).stderr


def test_a_token_that_is_not_known_is_turned_away(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the status for it."""
    monkeypatch.setattr("test_import_export.TOKEN", "another")
    assert shell("import", "-", "--yes", text=FILE).returncode == 3


def test_a_terminal_is_asked(shell: Shell, tmp_path: Path) -> None:
    """After the plan; what is stored shows as a bar, and no value shows at all."""
    (tmp_path / "secrets.env").write_text(FILE)
    arguments = ["import", str(tmp_path / "secrets.env")]
    status, shown = shell.on_terminal(*arguments, typed="n\n")
    assert status == 1
    assert all(text in shown for text in ("ACTION", "create", "file /etc/two", "plan: 3 create", "Do it?"))
    assert shell("list").stdout == ""
    status, shown = shell.on_terminal(*arguments, typed="y\n")
    assert status == 0
    assert all(text in shown for text in ("3/3", "━", "OUTCOME", "created"))
    shell.said += shown
    assert shell("list").stdout.count("\n") == 3


def test_a_terminal_shows_no_values_unless_asked(shell: Shell, tmp_path: Path) -> None:
    """As with `get`."""
    shell("import", "-", "--yes", text=FILE)
    status, shown = shell.on_terminal("export")
    assert (status, CANARY in shown, "--reveal" in shown) == (2, False, True)
    status, shown = shell.on_terminal("export", "--reveal")
    assert (status, shown.count(CANARY)) == (0, 2)
    with (tmp_path / "out").open("w") as out:
        shell.said += shell.on_terminal("export", out=out)[1]
    assert CANARY in (tmp_path / "out").read_text()


def test_a_file_is_written_whole_for_its_owner_alone(shell: Shell, tmp_path: Path) -> None:
    """In place of what was there, through a link, and with nothing left beside it."""
    shell("import", "-", "--yes", text=FILE)
    target, link = tmp_path / "secrets.env", tmp_path / "link"
    target.write_text("before")
    target.chmod(0o644)
    link.symlink_to(target)
    done = shell("export", "--output", str(link))
    assert (done.returncode, done.stdout) == (0, "")
    assert "wrote 3" in done.stderr
    assert "no shell can have it as a variable" in done.stderr
    assert (target.stat().st_mode & 0o777, link.is_symlink()) == (0o600, True)
    assert CANARY in target.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "secrets.env"]


def test_the_user_comes_before_the_project_before_the_organization(shell: Shell) -> None:
    """Of secrets of one name; of others all are there."""
    user, organization = str(uuid.uuid4()), str(uuid.uuid4())
    scopes = [("--organization", organization, "ABCD"), ("--user", user, "A"), ("--project", shell.project, "AB")]
    for option, each, names in scopes:
        text = "".join(f"NAME_{name}={option[2:]}\n" for name in names)
        assert shell("import", "-", "--yes", option, each, text=text).returncode == 0
    done = shell("export", *(part for option, each, _ in scopes for part in (option, each)))
    values = [line.split("=")[1].strip("'") for line in done.stdout.splitlines()]
    assert values == ["user", "project", "organization", "organization"]


class Running:
    """An import of a file on its way, some of which is stored."""

    def __init__(self, shell: Shell, file: Path) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "import", str(file), "--yes"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=shell.environment,
        )
        with Gitpod(bearer_token=TOKEN, base_url=shell.url) as client:
            while len(client.secrets.list(filter={"scope": {"project_id": shell.project}}, page_size=100).secrets) < 99:
                assert self.process.poll() is None


@pytest.fixture
def thousand(tmp_path: Path) -> Path:
    """A file of a thousand secrets."""
    file = tmp_path / "secrets.env"
    file.write_text("".join(f"NAME_{number:04}='{CANARY} {number}'\n" for number in range(1000)))
    return file


def test_a_service_that_goes_and_comes_back_costs_time_alone(tmp_path: Path, project: str, thousand: Path) -> None:
    """It is killed in the middle, and started anew; the import does not fail."""
    first = serve(tmp_path / "s.db")
    shell = Shell(first.url, project)
    running = Running(shell, thousand)
    first.stop(signal.SIGKILL)
    second = serve(tmp_path / "s.db", port=int(first.url.rpartition(":")[2]))
    out, err = running.process.communicate(timeout=60)
    assert (running.process.returncode, len(out.splitlines())) == (0, 1000), err
    assert CANARY not in out + err
    assert shell("export").stdout == thousand.read_text()
    assert second.stop() == 0


def test_a_thousand_secrets_in_one_go(shell: Shell, thousand: Path) -> None:
    """And out again, to what they were; one more run has nothing to do."""
    done = shell("import", str(thousand), "--yes")
    assert (done.returncode, done.stdout.count("\tcreated\t")) == (0, 1000)
    assert shell("export").stdout == thousand.read_text()
    assert "1000 unchanged" in shell("import", str(thousand), "--dry-run").stderr


def test_an_interrupt_leaves_the_rest_to_another_run(shell: Shell, thousand: Path) -> None:
    """At once, with the exit status for it and a word about what to do."""
    running = Running(shell, thousand)
    running.process.send_signal(signal.SIGINT)
    out, err = running.process.communicate(timeout=60)
    assert (running.process.returncode, out) == (130, "")
    assert "what was stored stays" in err
    assert "Traceback" not in err
    done = shell("import", str(thousand), "--yes")
    assert {line.split("\t")[3] for line in done.stdout.splitlines()} == {"created", "unchanged"}
    assert shell("export").stdout == thousand.read_text()


SCOPE = ("project_id", "b0e12f6c-4c67-429d-a4a6-d9838b5da047")


@pytest.fixture
def faults() -> FaultPlan:
    return FaultPlan(seed=3)


@pytest.fixture
def client(faults: FaultPlan) -> Iterator[Gitpod]:
    """A client of a service of its own, with the faults in between."""
    with faults.aim(Gitpod(bearer_token=TOKEN, base_url="sqlite://")) as client:
        yield client


def stored(client: Gitpod) -> dict[str, str]:
    """The names and values of the project."""
    found = client.secrets.list(filter={"scope": SecretScope(project_id=SCOPE[1])})
    return {secret.name: client.secrets.get_value(secret_id=secret.id).reveal() for secret in found}


def planned(client: Gitpod, text: str, *, prune: bool = False) -> list[Item]:
    """What the command would do for a file."""
    there = list(client.secrets.list(filter={"scope": SecretScope(project_id=SCOPE[1])}))
    items = compare(client, plan(load(text), there, SCOPE, can_replace=False), 4)
    return items + (prunable(items, there) if prune else [])


TEXT = "".join(f"NAME_{number}={number}\n" for number in range(40))
WANTED = {f"NAME_{number}": str(number) for number in range(40)}


@pytest.mark.parametrize("kind", ["refuse", "drop_before_reading", "drop_after_commit", "status", "garbage"])
def test_a_fault_in_the_middle_costs_time_alone(client: Gitpod, faults: FaultPlan, kind: FaultKind) -> None:
    """Every line is done in the same run, and nothing else is."""
    items = planned(client, TEXT)
    faults.add(kind, times=30, chance=0.3, retry_after="0")
    outcomes = apply(client, items, 8)
    assert len(faults.happened) >= 5
    assert exit_status(statuses(outcomes)) == 0
    assert {each.outcome for each in outcomes} <= {"created", "updated"}
    assert stored(client) == WANTED


def test_what_failed_is_finished_by_another_run(client: Gitpod, faults: FaultPlan) -> None:
    """And nothing is done twice."""
    text = f"{TEXT}EMPTY=\n"
    faults.add("status", "CreateSecret", status=403, code="permission_denied", times=25)
    first = apply(client, planned(client, text), 4)
    again = planned(client, text)
    assert [item.line for item in again if item.action == "create"] == [
        each.item.line for each in first if each.outcome == "failed"
    ]
    assert {each.outcome for each in apply(client, again, 4)} == {"created", "unchanged"}
    assert stored(client) == WANTED | {"EMPTY": ""}


def test_an_empty_secret_whose_answer_was_lost_is_there_the_next_time(client: Gitpod, faults: FaultPlan) -> None:
    """The contract has no update to an empty value, and none is needed."""
    faults.add("drop_after_commit", "CreateSecret")
    (lost,) = apply(client, planned(client, "NAME="), 1)
    assert (lost.outcome, lost.status) == ("unknown", 6)
    assert [item.action for item in planned(client, "NAME=")] == ["unchanged"]


def test_a_service_that_is_gone_is_not_asked_for_every_line(client: Gitpod, faults: FaultPlan) -> None:
    """What was not tried says so, and the status is that of a service that cannot be reached."""
    items = planned(client, TEXT, prune=True)
    faults.add("refuse", times=10_000)
    outcomes = apply(client, items, 4)
    assert exit_status(statuses(outcomes)) == 6
    assert len([each for each in outcomes if each.outcome == "skipped"]) >= 20
    assert len(faults.happened) <= 12 * 6


def test_a_token_that_may_not_read_updates(client: Gitpod, faults: FaultPlan) -> None:
    """It is refused once, and asks no more."""
    apply(client, planned(client, TEXT), 8)
    faults.add("status", "GetSecretValue", status=403, code="permission_denied", times=1000)
    items = planned(client, TEXT)
    assert {item.action for item in items} == {"update"}
    assert len(faults.happened) <= 8


def test_a_token_that_may_not_write_is_told_by_the_status(client: Gitpod, faults: FaultPlan) -> None:
    """3 when it was refused everything, 1 when not."""
    items = planned(client, TEXT)
    faults.add("status", "CreateSecret", status=403, code="permission_denied", times=50)
    assert exit_status(statuses(apply(client, items, 8))) == 3
    assert exit_status(statuses(apply(client, items, 8))) == 1


def test_a_deletion_comes_after_all_else_was_done(client: Gitpod, faults: FaultPlan) -> None:
    """A line that failed keeps what is no longer named."""
    apply(client, planned(client, "OLD=a"), 1)
    faults.add("status", "CreateSecret", status=403, code="permission_denied")
    items = planned(client, "NEW=a", prune=True)
    assert [each.outcome for each in apply(client, items, 4)] == ["failed", "skipped"]
    assert [each.outcome for each in apply(client, items, 4)] == ["created", "deleted"]
    client.secrets.put(name="OLD", value="b", project_id=SCOPE[1], environment_variable=True)
    assert [each.outcome for each in apply(client, items, 4)] == ["updated", "deleted"]


def test_values_that_cannot_be_read_are_named(client: Gitpod, faults: FaultPlan) -> None:
    """Each by what is wrong with it, so that none is left out in silence."""
    apply(client, planned(client, TEXT), 8)
    ids = [secret.id for secret in client.secrets.list()]
    faults.add("status", "GetSecretValue", status=403, code="permission_denied", times=2)
    unread = [value for value in read_values(client, ids) if not hasattr(value, "reveal")]
    assert [getattr(each, "status", 0) for each in unread] == [3, 3]


def test_values_are_not_asked_of_a_service_that_is_gone(client: Gitpod, faults: FaultPlan) -> None:
    """For every secret; what was stored is updated when it is back."""
    apply(client, planned(client, TEXT), 8)
    ids = [secret.id for secret in client.secrets.list()]
    faults.add("refuse", "GetSecretValue", times=1000)
    assert {item.action for item in planned(client, TEXT)} == {"update"}
    assert exit_status([getattr(value, "status", 0) for value in read_values(client, ids, 2)]) == 6
    assert len(faults.happened) < 40 * 3


def test_what_was_not_begun_is_not_after_an_interrupt(client: Gitpod) -> None:
    """The calls on their way are finished, and no other is sent."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply(client, planned(client, TEXT), 2, interrupt)
    assert 1 <= len(stored(client)) < 40


def test_help_loads_little() -> None:
    """Neither protobuf nor what is for terminals or files."""
    heavy = {"protobuf", "pyqwest", "rich", "dotenv", "gitpod._client"}
    for command in ("import", "export"):
        program = f"import sys; sys.argv[1:] = [{command!r}, '--help']\nfrom gitpod.cli import main\n"
        program += "try: main()\nexcept SystemExit: print(*sys.modules)"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
        assert heavy.isdisjoint(done.stdout.split())
