r"""Secrets as dotenv with comments for mounts, read and written. Nothing here does I/O.

It is what python-dotenv reads, without its interpolation of `$`, and with three things more:

- `# mount: env`, `# mount: file /abs/path`, `# mount: registry https://host` or `# mount: api-only` in the line
  above an assignment says how environments get it; without one it is `env`. What a line cannot hold is quoted as
  in JSON: `# mount: file "/a\nb"`.
- `NAME='…'"'"'…'` is what `dump` writes where the shell and python-dotenv agree on no shorter form.
- `# gitpod-secret: NAME "…"`, the value as in JSON, is what `dump` writes for what no shell takes: a name that
  begins with a digit or that the shell keeps for itself, and a value with a NUL.

Line breaks are LF, CRLF or CR; inside of quotes they belong to the value, as they are. A byte order mark is dropped.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from gitpod._secret_value import SecretValue
from gitpod.cli.files.entries import API_ONLY, ENV, NAME, Entry, Invalid, Line, Mount

if TYPE_CHECKING:
    from dotenv.parser import Binding

KINDS = {"file": "file_path", "registry": "container_registry_basic_auth_host"}
OF_THE_SHELL = re.compile(
    "BASH.*|COMP_WORDBREAKS|DIRSTACK|EPOCHREALTIME|EPOCHSECONDS|EUID|FUNCNAME|GROUPS|HISTCMD|LINENO|OPTIND|PIPESTATUS|PPID|S?RANDOM|SECONDS"
    "|SHELLOPTS|UID"
)
"""Names that bash or dash refuse to assign, or calculate with; their errors quote the value."""

MOUNTS = "the mount must be env, file /absolute/path, registry https://host or api-only"
APART = "its mount comment must stand in the line above it"
NOT_CLOSED = "its quote is not closed, or its lines are not quoted; no line after it is read"

BREAK = re.compile(r"\r\n|\n|\r")
COMMENT = re.compile(r"# mount:[ \t]*(.*)", re.DOTALL)
ENCODED = re.compile(r'# gitpod-secret: ([0-9A-Za-z_]+) (".*")')
SINGLE, DOUBLE = r"'[^'\\]*'", r'"(?:\'|\\\\)+"'
JOINED = re.compile(rf"\s*([A-Za-z_][0-9A-Za-z_]*)=({SINGLE}(?:{DOUBLE}{SINGLE})+)[^\S\r\n]*(?:\r\n|\n|\r|\Z)")
PIECE = re.compile(f"{SINGLE}|{DOUBLE}")
# Up to the quote, and python-dotenv's own idea of what is inside.
UNCLOSED = re.compile(
    r"""\s*(?:export[^\S\r\n]+)?[^=#\s]+[^\S\r\n]*=[^\S\r\n]*(?!'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")['"]""", re.DOTALL
)


class _Pending(NamedTuple):
    """A mount comment, before what it is for."""

    number: int
    mount: Mount | None

    def applied(self, entry: Entry) -> Line:
        name = entry.name if NAME.fullmatch(entry.name) else ""
        if entry.number != self.number + 1:
            return Invalid(entry.number, APART, name)
        if self.mount is None:
            return Invalid(entry.number, MOUNTS, name)
        return Entry(entry.number, entry.name, entry.value, self.mount)


def read(text: str) -> Iterator[Line]:
    """The secrets of a file and its lines that are wrong, in its order."""
    pending: _Pending | None = None
    for found in _statements(text):
        if isinstance(found, _Pending):
            if pending:
                yield Invalid(pending.number, APART)
            pending = found
        elif pending:
            yield pending.applied(found) if isinstance(found, Entry) else found
            pending = None
        else:
            yield found
    if pending:
        yield Invalid(pending.number, APART)


def _statements(text: str) -> Iterator[Line | _Pending]:
    """What python-dotenv finds, and what it cannot read."""
    from io import StringIO

    # What `parse_stream` loops over; it cannot be told to step over what we read ourselves.
    from dotenv.parser import Reader, parse_binding

    # Not python-dotenv's count, which takes CRLF for two breaks after a line that it cannot read.
    starts = [each.end() for each in BREAK.finditer(text)]
    reader = Reader(StringIO(text, newline=""))
    while reader.has_next():
        begin = reader.position.chars
        joined = JOINED.match(text, begin)
        if joined:
            number = bisect_right(starts, joined.start(1)) + 1
            yield Entry(number, joined[1], SecretValue(_join(joined[2])))
            reader.position.advance(joined[0])
            continue
        binding = parse_binding(reader)
        original = binding.original.string
        number = bisect_right(starts, begin + len(original) - len(original.lstrip())) + 1
        if (binding.error and UNCLOSED.match(text, begin)) or _is_pem_begin(binding):
            # The rest would be taken for names, and shown.
            yield Invalid(number, NOT_CLOSED)
            return
        if found := _statement(binding, number):
            yield found


def _is_pem_begin(binding: "Binding") -> bool:
    """Whether it is the first line of a key that was not quoted."""
    value = binding.value or ""
    return value.startswith("-----BEGIN ") and "-----END " not in value


def _statement(binding: "Binding", number: int) -> Line | _Pending | None:
    if binding.error:
        return Invalid(number, "is not NAME=value")
    if binding.key is None:
        return _comment(binding.original.string.strip(), number)
    if binding.value is None:
        return Invalid(number, "has no =")
    return Entry(number, binding.key, SecretValue(binding.value))


def _comment(text: str, number: int) -> Line | _Pending | None:
    if found := COMMENT.fullmatch(text):
        return _Pending(number, _mount(found[1]))
    if found := ENCODED.fullmatch(text):
        try:
            return Entry(number, found[1], SecretValue(json.loads(found[2])))
        except ValueError:
            return Invalid(number, "the value is not a string of JSON")
    return None


def _mount(text: str) -> Mount | None:
    kind, _, where = text.partition(" ")
    if where := where.strip():
        if where.startswith('"'):
            try:
                where = json.loads(where)
            except ValueError:
                return None
        return {KINDS[kind]: where} if kind in KINDS else None
    return {"env": ENV, "api-only": API_ONLY}.get(kind)


def shown(mount: Mount) -> str:
    """A mount as its comment has it, on one line."""
    for kind, name in KINDS.items():
        if name in mount:
            where = mount[name]
            is_plain = isinstance(where, str) and where.isprintable() and where == where.strip() and where[:1] != '"'
            return f"{kind} {where if is_plain else json.dumps(where)}"
    if "environment_variable" in mount:
        return "env"
    return "api-only" if "api_only" in mount else "unknown"


def dump(entries: Iterable[Entry]) -> str:
    """A file that `sh` and `bash` source, and `read` reads, to the same values."""
    return "".join(f"{_mount_line(entry.mount)}{_assignment(entry)}\n" for entry in entries)


def is_for_shells(entry: Entry) -> bool:
    """Whether a shell can have it as a variable."""
    kept = OF_THE_SHELL.fullmatch(entry.name)
    return not (kept or entry.name[0].isdigit() or "\0" in entry.value.reveal())


def _mount_line(mount: Mount) -> str:
    text = shown(mount)
    return "" if text == "env" else f"# mount: {text}\n"


def _assignment(entry: Entry) -> str:
    value = entry.value.reveal()
    if not is_for_shells(entry):
        return f"# gitpod-secret: {entry.name} {json.dumps(value)}"
    return f"{entry.name}={_quoted(value)}"


def _quoted(value: str) -> str:
    r"""The value in quotes that shells and python-dotenv undo alike.

    In single quotes shells keep every character, and python-dotenv has the escapes `\\` and `\'`. In double quotes
    both have `\\` and `\"`, and shells also `$` and the backtick, whose escapes python-dotenv keeps. Where neither
    will do, shells join pieces: quotes and backslashes in double quotes, all else in single ones. That one
    python-dotenv takes for an error wherever it occurs, so no other file's lines can be mistaken for it.
    """
    if "'" not in value and "\\\\" not in value and not value.endswith("\\"):
        return f"'{value}'"
    if "$" not in value and "`" not in value:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    pieces = re.split(r"(['\\]+)", value)
    escaped = (f'"{piece}"'.replace("\\", "\\\\") if index % 2 else f"'{piece}'" for index, piece in enumerate(pieces))
    return "".join(escaped)


def _join(pieces: str) -> str:
    inner = (each[1:-1] if each[0] == "'" else each[1:-1].replace("\\\\", "\\") for each in PIECE.findall(pieces))
    return "".join(inner)
