"""Reads the URL of a store: `sqlite:` by itself alone, `postgresql:` with libpq.

A URL that programs read in different ways is refused. Errors name the rule and never repeat the URL, which may hold a
password.
"""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from gitpod.server.errors import ServiceError

FORMS = "the store must be sqlite:///path/to/file.db, sqlite:// for one in memory, or postgresql://user@host/database"
IN_MEMORY = ("sqlite://", "sqlite:///:memory:")

_PATH_RULES = {
    r"\A\Z": "is missing; sqlite:// is one in memory",
    r"[\x00-\x1f\x7f]": "must not hold control characters",
    r"\A\s|\s\Z": "must not begin or end with a space",
    "%": "must not hold a percent sign, as nothing is decoded; write the character itself, or rename the file",
    r"\?": "must not hold a question mark: there are no parameters here; remove them, or rename the file",
    "#": "must not hold a number sign, which begins a fragment elsewhere; rename the file",
    r"\\": "must not hold a backslash; write / between folders",
    "//": "must not hold an empty part; write one / between folders",
    r"\Afile:": "must not begin with file:, which means nothing here; write the path alone",
    r"\A/?~": "must not begin with ~, which is not expanded; write the folder's whole path",
    r"\A(\./)*:": "must not begin with a colon, which SQLite gives a meaning of its own",
    r"/\Z": "must be the one of a file, without a / at its end",
}
"""What the path of a SQLite store must not match, and the rule; the first that matches is told."""
_LAST_PORT = 65535
_POSTGRESQL = re.compile(
    r"""
    postgresql://
    (?: (?P<user> [^@:/?\#]* ) (?: : (?P<password> [^@/?\#]* ) )? @ )?
    (?P<hosts> [^@/?\#]* )
    (?: / (?P<database> [^@/?\#]* ) )?
    (?: \? (?P<query> [^@?\#]* ) )?
    """,
    re.VERBOSE,
)


def is_postgresql(url: str) -> bool:
    """Tell whether the store is on PostgreSQL. Any other URL is one for `sqlite_path`, which checks it."""
    return url.startswith("postgresql:")


def check(url: str) -> None:
    """Raise ServiceError unless the URL is the one of a store. Opens nothing."""
    if is_postgresql(url):
        postgresql_parameters(url)
    else:
        sqlite_path(url)


def shown(url: str) -> str:
    """Return the URL of a store for people: without a password and parameters, and with the whole path of a file."""
    if not is_postgresql(url):
        path = sqlite_path(url)
        return f"sqlite:///{path}" if path else IN_MEMORY[0]
    given = postgresql_parameters(url)
    hosts, ports = (str(given.get(name, "")).split(",") for name in ("host", "port"))
    ports = ports * len(hosts) if len(ports) == 1 else ports
    servers = ",".join(f"{host}:{port}".rstrip(":") for host, port in zip(hosts, ports, strict=False))
    user = f"{given['user']}@" if "user" in given else ""
    return f"postgresql://{user}{servers}/{given.get('dbname', '')}"


def sqlite_path(url: str) -> Path | None:
    """Return the absolute path of a `sqlite:` URL, None for a database in memory.

    The path is what follows `sqlite:///`, letter by letter: nothing is decoded or expanded.

    Raises:
        ServiceError: the URL is not one of a store, or its path can be read in several ways.
    """
    if url in IN_MEMORY:
        return None
    if url.startswith(("postgres:", "postgresql+")):
        raise ServiceError("the store on PostgreSQL is postgresql://user@host/database")
    if not url.startswith("sqlite:///"):
        hint = "; write three slashes before a relative path, and four before an absolute one"
        raise ServiceError(FORMS + (hint if url.startswith("sqlite:") else ""))
    path = url.removeprefix("sqlite:///")
    for pattern, rule in _PATH_RULES.items():
        if re.search(pattern, path):
            raise ServiceError(f"the store's path {rule}")
    try:
        return Path(path).absolute()
    except OSError:
        raise ServiceError("the store's path is relative, and the current folder does not exist any more") from None


def postgresql_parameters(url: str) -> dict[str, Any]:
    """Return the connection parameters that a `postgresql:` URL gives, by libpq's names and with what it decodes.

    Raises:
        ServiceError: psycopg is not installed, or the URL is malformed or can be read in several ways.
    """
    if find_spec("psycopg") is None:
        from gitpod._extras import needed  # for this message alone

        raise ServiceError(f"postgresql: {needed('postgres')}")
    import psycopg  # an extra, which SQLite does without
    from psycopg.conninfo import conninfo_to_dict

    _check_form(url)
    try:
        return dict(conninfo_to_dict(url))
    except psycopg.Error:
        # The message of psycopg may quote a password.
        raise ServiceError("the store's URL is not one that PostgreSQL understands") from None


def _check_form(url: str) -> None:
    """Refuse what libpq and other programs read differently, and what its errors would quote."""
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ServiceError("the store's URL must not hold spaces or control characters; write a space as %20")
    if re.search("%(?![0-9A-Fa-f]{2})|%00", url):
        raise ServiceError(
            "the store's URL must have two hexadecimal digits after each %, and no %00; write % itself as %25"
        )
    parts = _POSTGRESQL.fullmatch(url)
    if parts is None:
        # libpq ends a password at the first @ or /, and would show the rest of it as a host name or a port.
        if url.count("@") > 1:
            raise ServiceError("the store's URL has more than one @; write those of a password as %40")
        raise ServiceError(
            "the store's URL must be postgresql://user:password@host:port/database?parameter=value; "
            "in its parts, write @ as %40, : as %3A, / as %2F, ? as %3F and # as %23"
        )
    _check_ports(parts["hosts"])
    _check_names(parts)


def _check_ports(hosts: str) -> None:
    for host in hosts.split(","):
        # The colons in brackets belong to an IPv6 address.
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not (port.isascii() and port.isdecimal() and 0 < int(port) <= _LAST_PORT):
            raise ServiceError(
                "the store's URL must have a port of 1 to 65535 after a host and a colon; an IPv6 address stands in [ ]"
            )


def _check_names(parts: "re.Match[str]") -> None:
    """Check that each parameter is one of libpq, and is given once."""
    from psycopg.pq import Conninfo

    # `ssl=true` is libpq's word for JDBC's.
    known = {"ssl", *(option.keyword.decode() for option in Conninfo.get_defaults())}
    given = {
        "user": parts["user"],
        "password": parts["password"],
        "host": re.sub(r":\d*(?=,|$)", "", parts["hosts"]).strip(","),
        "port": ":" in re.sub(r"\[[^]]*\]", "", parts["hosts"]),
        "dbname": parts["database"],
    }
    seen = {name for name, value in given.items() if value}
    for field in parts["query"].split("&") if parts["query"] else ():
        name, sign, _ = field.partition("=")
        name = unquote(name)
        if not sign:
            raise ServiceError("the store's URL must have parameter=value after the ?, and & between two")
        if name not in known:
            shown = f"{name}: " if re.fullmatch(r"[A-Za-z_]{1,40}", name) else ""
            raise ServiceError(f"the store's URL: {shown}is not a parameter of libpq")
        if name in seen:
            raise ServiceError(f"the store's URL: {name}: is given twice")
        seen.add(name)
