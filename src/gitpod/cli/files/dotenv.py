r"""Reads and writes secrets as dotenv, with comments for mounts. Nothing here does I/O.

The format is the one that python-dotenv reads, without its interpolation of `$`, and with three additions:

- `# mount: env`, `# mount: file /abs/path`, `# mount: registry https://host` or `# mount: api-only` in the line
  above an assignment says how environments get the secret; without one it is `env`. A path or URL that does not fit
  on a line is quoted as in JSON: `# mount: file "/a\nb"`.
- `NAME='…'"'"'…'`, where quoted pieces are joined, is what `dump` writes for a value that shells and python-dotenv
  read alike in no shorter form.
- `# gitpod-secret: NAME "…"`, with the value as in JSON, is what `dump` writes for a secret that no shell can have as
  a variable: its name begins with a digit or is reserved by the shell, or its value has a NUL.

Line breaks are LF, CRLF or CR. In quotes they are kept as part of the value. A byte order mark is dropped.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from gitpod._secret_value import SecretValue
from gitpod.cli.files.entries import API_ONLY, ENV, NAME, PLACES, Entry, Invalid, Line, Mount, shown

if TYPE_CHECKING:
    from dotenv.parser import Binding

RESERVED = re.compile(
    "BASH.*|COMP_WORDBREAKS|DIRSTACK|EPOCHREALTIME|EPOCHSECONDS|EUID|FUNCNAME|GROUPS|HISTCMD|LINENO|OPTIND|PIPESTATUS|PPID|S?RANDOM|SECONDS"
    "|SHELLOPTS|UID"
)
"""Names of variables that bash or dash refuse to assign, or evaluate as numbers. Their errors would quote the value."""

BAD_MOUNT = "the mount must be env, file /absolute/path, registry https://host or api-only"
MISPLACED = "its mount comment must stand in the line above it"
NOT_CLOSED = "its quote is not closed, or its lines are not quoted; no line after it is read"

BREAK = re.compile(r"\r\n|\n|\r")
COMMENT = re.compile(r"# mount:[ \t]*(.*)", re.DOTALL)
ENCODED = re.compile(r'# gitpod-secret: ([0-9A-Za-z_]+) (".*")')
SINGLE, DOUBLE = r"'[^'\\]*'", r'"(?:\'|\\\\)+"'
JOINED = re.compile(rf"\s*([A-Za-z_][0-9A-Za-z_]*)=({SINGLE}(?:{DOUBLE}{SINGLE})+)[^\S\r\n]*(?:\r\n|\n|\r|\Z)")
PIECE = re.compile(f"{SINGLE}|{DOUBLE}")
# An assignment up to its opening quote, unless what python-dotenv accepts as a quoted value follows.
UNCLOSED = re.compile(
    r"""\s*(?:export[^\S\r\n]+)?[^=#\s]+[^\S\r\n]*=[^\S\r\n]*(?!'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")['"]""", re.DOTALL
)


class _MountComment(NamedTuple):
    """A mount comment: its line, and the mount, None if it is not a valid one."""

    number: int
    mount: Mount | None

    def applied(self, entry: Entry) -> Line:
        """Return the entry with this mount, or why it cannot have it."""
        name = entry.name if NAME.fullmatch(entry.name) else ""
        if entry.number != self.number + 1:
            return Invalid(entry.number, MISPLACED, name)
        if self.mount is None:
            return Invalid(entry.number, BAD_MOUNT, name)
        return Entry(entry.number, entry.name, entry.value, self.mount)


def read(text: str) -> Iterator[Line]:
    """Yield the secrets and invalid lines of a file, in its order."""
    pending: _MountComment | None = None
    for found in _statements(text):
        if isinstance(found, _MountComment):
            if pending:
                yield Invalid(pending.number, MISPLACED)
            pending = found
        elif pending:
            yield pending.applied(found) if isinstance(found, Entry) else found
            pending = None
        else:
            yield found
    if pending:
        yield Invalid(pending.number, MISPLACED)


def _statements(text: str) -> Iterator[Line | _MountComment]:
    """Yield assignments, mount comments and invalid lines."""
    from io import StringIO

    # The parts of python-dotenv's `parse_stream`, which itself cannot skip the joined pieces that are read here.
    from dotenv.parser import Reader, parse_binding

    # Lines are counted here: after a line that it cannot parse, python-dotenv counts CRLF as two line breaks.
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
            # The lines after it are pieces of the value. They must not be taken for names, which are shown.
            yield Invalid(number, NOT_CLOSED)
            return
        if found := _statement(binding, number):
            yield found


def _is_pem_begin(binding: "Binding") -> bool:
    """Tell whether this is the first line of a key in PEM whose lines are not quoted."""
    value = binding.value or ""
    return value.startswith("-----BEGIN ") and "-----END " not in value


def _statement(binding: "Binding", number: int) -> Line | _MountComment | None:
    if binding.error:
        return Invalid(number, "is not NAME=value")
    if binding.key is None:
        return _comment(binding.original.string.strip(), number)
    if binding.value is None:
        return Invalid(number, "has no =")
    return Entry(number, binding.key, SecretValue(binding.value))


def _comment(text: str, number: int) -> Line | _MountComment | None:
    if found := COMMENT.fullmatch(text):
        return _MountComment(number, _mount(found[1]))
    if found := ENCODED.fullmatch(text):
        try:
            return Entry(number, found[1], SecretValue(json.loads(found[2])))
        except ValueError:
            return Invalid(number, "the value is not a string of JSON")
    return None


def _mount(text: str) -> Mount | None:
    """Parse the text of a mount comment. None if it is not a valid one."""
    kind, _, where = text.partition(" ")
    if where := where.strip():
        if where.startswith('"'):
            try:
                where = json.loads(where)
            except ValueError:
                return None
        return {PLACES[kind]: where} if kind in PLACES else None
    return {"env": ENV, "api-only": API_ONLY}.get(kind)


def dump(entries: Iterable[Entry]) -> str:
    """Format secrets as a file from which `sh`, `bash` and `read` all get the same values."""
    return "".join(f"{_mount_line(entry.mount)}{_assignment(entry)}\n" for entry in entries)


def is_for_shells(entry: Entry) -> bool:
    """Tell whether a shell can have the secret as a variable."""
    is_reserved = RESERVED.fullmatch(entry.name)
    return not (is_reserved or entry.name[0].isdigit() or "\0" in entry.value.reveal())


def _mount_line(mount: Mount) -> str:
    text = shown(mount)
    return "" if text == "env" else f"# mount: {text}\n"


def _assignment(entry: Entry) -> str:
    value = entry.value.reveal()
    if not is_for_shells(entry):
        return f"# gitpod-secret: {entry.name} {json.dumps(value)}"
    return f"{entry.name}={_quoted(value)}"


def _quoted(value: str) -> str:
    r"""Quote a value so that shells and python-dotenv read the same from it.

    - In single quotes, shells keep every character; python-dotenv has the escapes `\\` and `\'` there.
    - In double quotes, both have the escapes `\\` and `\"`. Shells also expand `$` and the backtick, and
      python-dotenv does not undo their escapes.
    - If neither form is read alike, pieces are joined, which only shells do: quotes and backslashes stand in double
      quotes, everything else in single quotes. python-dotenv rejects such a line, so no valid file of another
      program has one.
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
