"""What the URL of a store may be, and which file or database it names."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitpod.server.errors import ServiceError
from gitpod.server.storage.store import Store
from gitpod.server.storage.url import postgresql_parameters, sqlite_path

CANARY = "canary7"
NO_PATH = {
    "": "is missing",
    "/": "must be the one of a file",
    "folder/": "must be the one of a file",
    "/folder/": "must be the one of a file",
    "q%41.db": "must not hold a percent sign",
    "100%.db": "must not hold a percent sign",
    "s?x.db": "must not hold a question mark",
    "x.db?mode=ro": "must not hold a question mark",
    "/x.db?": "must not hold a question mark",
    "x.db#part": "must not hold a number sign",
    "folder\\x.db": "must not hold a backslash",
    "\\x.db": "must not hold a backslash",
    "a//x.db": "must not hold an empty part",
    "//x.db": "must not hold an empty part",
    "file:x.db": "must not begin with file:",
    "file:///x.db": "must not hold an empty part",
    "~/x.db": "must not begin with ~",
    "/~/x.db": "must not begin with ~",
    "~me/x.db": "must not begin with ~",
    ":other:": "must not begin with a colon",
    "./:memory:": "must not begin with a colon",
    "././:memory:": "must not begin with a colon",
    "a\0b": "must not hold control characters",
    "x.db\n": "must not hold control characters",
    "\tx.db": "must not hold control characters",
    " x.db": "must not begin or end with a space",
    "x.db ": "must not begin or end with a space",
}
"""What may follow `sqlite:///` in no URL."""


def no_store(url: str) -> str:
    """The message for a URL that is refused, which shows nothing of it."""
    with pytest.raises(ServiceError) as caught:
        _ = postgresql_parameters(url) if url.startswith("postgresql:") else sqlite_path(url)
    assert CANARY not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


@pytest.mark.parametrize(("path", "rule"), NO_PATH.items())
def test_a_path_with_two_meanings_is_refused(path: str, rule: str) -> None:
    """By the rule that it breaks."""
    assert no_store(f"sqlite:///{path}").startswith(f"the store's path {rule}")


@pytest.mark.parametrize(
    "path", ["x.db", "a b.db", "ä-日本.db", "a/../x.db", "x~", "a/~b", "a+b&c=d;e,f!'$@()*.db", "a:b", "[x]"]
)
def test_a_path_names_its_file(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the letter, relative and absolute, and no other file."""
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    assert sqlite_path(f"sqlite:///{tmp_path}/{path}") == sqlite_path(f"sqlite:///{path}") == tmp_path / path
    with closing(Store(f"sqlite:///{path}")) as store, store.maintenance() as maintenance:
        maintenance.migrate()
    with closing(sqlite3.connect(tmp_path / path)) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)
    folder, name = (tmp_path / path).resolve().parent, Path(path).name
    assert sorted(each.name for each in folder.iterdir() if each.is_file()) == [name]


def test_a_relative_path_stays_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although the process goes to another folder."""
    monkeypatch.chdir(tmp_path)
    with closing(Store("sqlite:///x.db")) as store:
        monkeypatch.chdir("/")
        with store.maintenance() as maintenance:
            maintenance.migrate()
        assert store.is_current
        assert store.path == tmp_path / "x.db"


def test_a_relative_path_without_a_folder_is_refused(tmp_path: Path) -> None:
    """The current folder was removed."""
    program = "import os, sys; os.rmdir(os.getcwd())\nfrom gitpod.server.storage.url import sqlite_path\nsqlite_path('sqlite:///x.db')"
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path / "gone", capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr.endswith("the store's path is relative, and the current folder does not exist any more\n")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_store_in_memory_has_no_path(url: str) -> None:
    """In both ways to write it."""
    assert sqlite_path(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x.db",
        "/x.db",
        "file:x.db",
        "mysql://host/db",
        "sqlite+pysqlite:///x.db",
        "sqlite3:///x.db",
        "SQLITE:///x.db",
    ],
)
def test_another_scheme_is_refused(url: str) -> None:
    """The message has those that there are."""
    assert (
        no_store(url)
        == "the store must be sqlite:///path/to/file.db, sqlite:// for one in memory, or postgresql://user@host/database"
    )


@pytest.mark.parametrize(
    "url", ["sqlite:", "sqlite:x.db", "sqlite:/x.db", "sqlite://x.db", "sqlite://host/x.db", "sqlite://~/x.db"]
)
def test_too_few_slashes_are_refused(url: str) -> None:
    """They may mean a host."""
    assert no_store(url).endswith("; write three slashes before a relative path, and four before an absolute one")


@pytest.mark.parametrize("url", [f"postgres://me:{CANARY}@host/db", f"postgresql+psycopg://me:{CANARY}@host/db"])
def test_other_names_of_postgresql_are_refused(url: str) -> None:
    """The message has the right one."""
    assert no_store(url) == "the store on PostgreSQL is postgresql://user@host/database"


@pytest.mark.parametrize(
    ("rest", "parameters"),
    [
        ("", {}),
        ("/db", {"dbname": "db"}),
        ("me@host/db", {"user": "me", "host": "host", "dbname": "db"}),
        ("me:a:b@host", {"user": "me", "password": "a:b", "host": "host"}),
        (
            "me:@host/db?sslmode=require",
            {"user": "me", "password": "", "host": "host", "dbname": "db", "sslmode": "require"},
        ),
        ("a,b:5433,[::1]:5434/db", {"host": "a,b,::1", "port": ",5433,5434", "dbname": "db"}),
        ("/db?host=/run/pg&user=me&port=5433", {"host": "/run/pg", "user": "me", "port": "5433", "dbname": "db"}),
        (":5433/?host=/run/pg", {"host": "/run/pg", "port": "5433"}),
        ("%2Fvar%2Frun/d%23b", {"host": "/var/run", "dbname": "d#b"}),
        ("h?application_name=a+b%26c", {"host": "h", "application_name": "a+b&c"}),
        ("h?ssl=true", {"host": "h", "sslmode": "require"}),
        ("h?pass%77ord=x", {"host": "h", "password": "x"}),
    ],
)
def test_a_url_gives_parameters(rest: str, parameters: dict[str, str]) -> None:
    """As libpq reads it."""
    found = {name: value for name, value in postgresql_parameters(f"postgresql://{rest}").items() if value is not None}
    assert found == {name: value for name, value in parameters.items() if value or name in found}


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_password_can_be_written(password: str) -> None:
    """With its special characters as escapes."""
    found = postgresql_parameters(f"postgresql://me:{quote(password, safe='')}@host/db")
    assert (found["user"], found["password"], found["host"], found["dbname"]) == ("me", password, "host", "db")


@pytest.mark.parametrize(
    ("rest", "rule"),
    [
        (f"me:{CANARY}@x@host/db", "more than one @"),
        (f"me:x@{CANARY}@host/db", "more than one @"),
        (f"me:{CANARY}/x@host/db", "write @ as %40"),
        (f"me:{CANARY}?x@host/db", "write @ as %40"),
        (f"me:{CANARY}#x@host/db", "write @ as %40"),
        (f"host/db?user={CANARY}@x", "write @ as %40"),
        (f"host/{CANARY}/x", "write @ as %40"),
        (f"host/{CANARY}#x", "write @ as %40"),
        (f"me:{CANARY}/db", "a port of 1 to 65535"),
        (f"me:{CANARY}%zz@host/db", "two hexadecimal digits after each %"),
        (f"me:{CANARY}%@host/db", "two hexadecimal digits after each %"),
        (f"me:{CANARY}%00@host/db", "no %00"),
        (f"me:{CANARY} x@host/db", "must not hold spaces"),
        (f"me:{CANARY}\n@host/db", "must not hold spaces"),
        (f"me:{CANARY}\0@host/db", "must not hold spaces"),
        ("host:0/db", "a port of 1 to 65535"),
        ("host:65536/db", "a port of 1 to 65535"),
        ("a:1,b:x/db", "a port of 1 to 65535"),
        ("host:٣/db", "a port of 1 to 65535"),
        ("::1/db", "an IPv6 address stands in [ ]"),
        ("[::1/db", "an IPv6 address stands in [ ]"),
        ("[::1]x/db", "PostgreSQL understands"),
        (f"me:{CANARY}@host/db?sslmod=require", "URL: sslmod: is not a parameter of libpq"),
        (f"me:{CANARY}@host/db?mode=a&sslmode=require", "URL: mode: is not a parameter of libpq"),
        (f"host/db?{CANARY}-x=y", "URL: is not a parameter of libpq"),
        (f"host/db?{CANARY}", "parameter=value after the ?"),
        ("host/db?sslmode=require&", "parameter=value after the ?"),
        ("host/db?sslmode=require&sslmode=disable", "URL: sslmode: is given twice"),
        ("me@host/db?user=other", "URL: user: is given twice"),
        (f"me:{CANARY}@host/db?password=x", "URL: password: is given twice"),
        ("host/db?host=other", "URL: host: is given twice"),
        ("host:1/db?port=2", "URL: port: is given twice"),
        ("host/db?dbname=other", "URL: dbname: is given twice"),
        ("host/db?application_name=a=b", "PostgreSQL understands"),
    ],
)
def test_a_url_with_two_meanings_is_refused(rest: str, rule: str) -> None:
    """By a rule that shows nothing of a password, wherever that ends for libpq."""
    assert rule in no_store(f"postgresql://{rest}")
