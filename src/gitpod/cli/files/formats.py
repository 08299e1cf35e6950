"""Writes secrets that are environment variables in the formats of other programs. Nothing here does I/O.

None of them can say how environments get a secret, so they are for variables alone. What a format cannot say is
refused by name, as the program would read something else.
"""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping

from gitpod.cli.files import github
from gitpod.cli.files.entries import NUL, Entry
from gitpod.cli.files.shells import OWN_VARIABLES

MOST_BYTES_OF_SECRET = 1024 * 1024
"""The most bytes that the values of a Secret of Kubernetes have together."""


def _in_environment(entry: Entry) -> str:
    return NUL if "\0" in entry.value.reveal() else ""


def _docker(entries: Iterable[Entry]) -> str:
    return "".join(f"{entry.name}={entry.value.reveal()}\n" for entry in entries)


def _not_for_docker(entry: Entry) -> str:
    value = entry.value.reveal()
    if "\n" in value:
        return "holds a line break, which an env file of docker cannot say"
    return "ends in a carriage return, which docker drops" if value.endswith("\r") else _in_environment(entry)


def _shell(entries: Iterable[Entry]) -> str:
    return "".join(f"export {entry.name}={_quoted(entry.value.reveal())}\n" for entry in entries)


def _quoted(value: str) -> str:
    # `shlex.quote` leaves plain values as they are, of which zsh expands some, such as `=ls`.
    return "'" + value.replace("'", "'\\''") + "'"


def _not_for_shells(entry: Entry) -> str:
    if entry.name[0].isdigit():
        return "begins with a digit, as no variable of a shell does"
    return "is a variable of bash itself" if entry.name in OWN_VARIABLES else _in_environment(entry)


def _yaml(entries: Iterable[Entry]) -> str:
    return "".join(f"{_scalar(entry.name)}: {_scalar(entry.value.reveal())}\n" for entry in entries) or "{}\n"


def _scalar(text: str) -> str:
    r"""Quote a text as in JSON, which YAML reads alike, but for characters that YAML folds or refuses.

    They are `\uXXXX` in both, and `\UXXXXXXXX` above U+FFFF.
    """
    return re.sub(r"[^ -~]", _escaped, json.dumps(text, ensure_ascii=False))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if found[0].isprintable():
        return found[0]
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 # the last with four digits


def _manifest(entries: Iterable[Entry], name: str) -> str:
    """Format a Secret of Kubernetes."""
    data = "".join(
        f"  {_scalar(entry.name)}: {_scalar(b64encode(entry.value.reveal().encode()).decode())}\n" for entry in entries
    )
    head = f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: {_scalar(name)}\ntype: Opaque\n"
    return f"{head}data:\n{data}" if data else f"{head}data: {{}}\n"


DUMPS: Mapping[str, Callable[[Iterable[Entry]], str]] = {"docker": _docker, "shell": _shell, "yaml": _yaml}
RULES: Mapping[str, Callable[[Entry], str]] = {
    "docker": _not_for_docker,
    "github": github.problem,
    "k8s": _in_environment,
    "shell": _not_for_shells,
}
"""Why a format cannot say a variable, empty if it can. YAML can say all of them."""
VARIABLES_ONLY = {*DUMPS, *RULES}


def problems(entries: Iterable[Entry], format_: str) -> Iterator[str]:
    """Yield what the format cannot say, by the names of the secrets."""
    rule = RULES.get(format_)
    size = 0
    for entry in entries:
        size += len(entry.value.reveal().encode())
        if rule and (found := rule(entry)):
            yield f"{entry.name}: {found}"
    if format_ == "k8s" and size > MOST_BYTES_OF_SECRET:
        yield f"the values have more than {MOST_BYTES_OF_SECRET} bytes, which no Secret of Kubernetes can have"


def dump(entries: Iterable[Entry], format_: str, name: str) -> str:
    """Format variables without problems. `name` is the one of a Secret of Kubernetes."""
    return _manifest(entries, name) if format_ == "k8s" else DUMPS[format_](entries)
