r"""Reads and writes secrets as dotenv, with comments for mounts. Nothing here does I/O.

The format is the one that python-dotenv reads, without its interpolation of `$`, and with these changes:

- `# mount: env`, `# mount: file /abs/path`, `# mount: registry https://host` or `# mount: api-only` in the line
  above an assignment says how environments get the secret; without one it is `env`. A path or URL that does not fit
  on a line is quoted as in JSON: `# mount: file "/a\nb"`.
- Quoted pieces may be joined, as in shells: `'it'\''s'`. `dump` writes `'…'"'"'…'` for a value that shells and
  python-dotenv read alike in no shorter form.
- `# gitpod-secret: NAME "…"`, with the value as in JSON, is what `dump` writes for a secret that no shell can have as
  a variable: its name begins with a digit or is a variable of bash, or its value has a NUL.
- A value that begins with a backtick is refused: to some programs that is a quote, to shells a command.

Line breaks are LF, CRLF or CR. In quotes they are kept as part of the value. A byte order mark is dropped.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from gitpod._secret_value import SecretValue
from gitpod.cli.files import comments, shells
from gitpod.cli.files.entries import NAME, Entry, Invalid, Line, Mount, shown

if TYPE_CHECKING:
    from dotenv.parser import Binding

MISPLACED = "its mount comment must stand in the line above it"
NOT_CLOSED = "its quote is not closed, or its lines are not quoted; no line after it is read"
BEHIND_QUOTE = "the value goes on behind its quotes; put all of it in one pair of quotes"
BACKTICK = "the value begins with a backtick, which programs read differently; put all of it in single quotes"
BEHIND_VALUE = "a comment for gitpod-secrets stands behind its value; it must stand in a line of its own, or be quoted"

BREAK = re.compile(r"\r\n|\n|\r")
# An assignment up to its opening quote, unless what python-dotenv accepts as a quoted value follows.
UNCLOSED = re.compile(
    r"""\s*(?:export[^\S\r\n]+)?[^=#\s]+[^\S\r\n]*=[^\S\r\n]*(?!'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")['"]""", re.DOTALL
)
QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
IN_BACKTICKS = re.compile(
    r"(\s*(?:export[^\S\r\n]+)?)('[^']+'|[^=#\s]+)[^\S\r\n]*=[^\S\r\n]*`(?:((?:\\`|[^`])*`)[^\r\n]*(?:\r\n|\n|\r|\Z))?"
)
# Names in capitals, as variables have them. A password may have a dollar in front of other letters.
EXPANDED = re.compile(r"\$\{[A-Za-z_]|\$\(|\$[A-Z_][0-9A-Z_]{2,}(?![0-9A-Za-z_])|`[^`]+`")


class _MountComment(NamedTuple):
    """A mount comment: its line, and the mount, or the rule that it breaks."""

    number: int
    mount: Mount | str

    def applied(self, entry: Entry) -> Line:
        """Return the entry with this mount, or why it cannot have it."""
        name = _name(entry.name)
        if entry.number != self.number + 1:
            return Invalid(entry.number, MISPLACED, name)
        if isinstance(self.mount, str):
            return Invalid(entry.number, self.mount, name)
        return replace(entry, mount=self.mount)


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
        if backticks := IN_BACKTICKS.match(text, begin):
            number = bisect_right(starts, backticks.start(2)) + 1
            yield Invalid(number, BACKTICK if backticks[3] else NOT_CLOSED, _name(backticks[2]))
            reader.position.chars = backticks.end() if backticks[3] else len(text)
            continue
        binding = parse_binding(reader)
        original = binding.original.string
        number = bisect_right(starts, begin + len(original) - len(original.lstrip())) + 1
        if binding.error and (found := shells.joined(text, begin)):
            reader.position.chars = found.end
            yield _joined(found, number)
        elif (binding.error and _is_open(text, begin)) or _is_pem_begin(binding):
            # The lines after it are pieces of the value. They must not be taken for names, which are shown.
            yield Invalid(number, NOT_CLOSED)
            return
        elif statement := _statement(binding, number):
            yield statement


def _joined(found: shells.Joined, number: int) -> Line:
    if comments.is_behind(found.comment):
        return Invalid(number, BEHIND_VALUE, _name(found.name))
    return Entry(number, found.name, SecretValue(found.value))


def _is_open(text: str, at: int) -> bool:
    """Tell whether the quotes of an assignment are not closed where python-dotenv or a shell would close them."""
    return UNCLOSED.match(text, at) is not None or not shells.is_on_one_line(text, at)


def _is_pem_begin(binding: "Binding") -> bool:
    """Tell whether this is the first line of a key in PEM whose lines are not quoted."""
    value = binding.value or ""
    return value.startswith("-----BEGIN ") and "-----END " not in value


def _statement(binding: "Binding", number: int) -> Line | _MountComment | None:
    text = binding.original.string.strip()
    is_invalid = binding.error or (binding.key is not None and binding.value is None)
    # With another sign than #, or with none.
    if (is_invalid or not NAME.fullmatch(binding.key or "NAME")) and comments.is_almost_mount(text):
        return _MountComment(number, comments.ALMOST_MOUNT)
    if is_invalid:
        if binding.error and (assigned := shells.ASSIGNED.match(text)):
            return Invalid(number, BEHIND_QUOTE, _name(assigned[1]))
        return Invalid(number, "is not NAME=value" if binding.error else "has no =")
    if binding.key is None or binding.value is None:
        return _comment(text, number)
    given = text.partition("=")[2].lstrip()
    quotes = QUOTED.match(given)
    if comments.is_behind(given[quotes.end() :] if quotes else given):
        return Invalid(number, BEHIND_VALUE, _name(binding.key))
    is_expanded = not given.startswith("'") and bool(EXPANDED.search(binding.value))
    return Entry(number, binding.key, SecretValue(binding.value), is_expanded=is_expanded)


def _comment(text: str, number: int) -> Line | _MountComment | None:
    if found := comments.MOUNT.fullmatch(text):
        return _MountComment(number, comments.mount(found[1]))
    if comments.is_almost_mount(text):
        return _MountComment(number, comments.ALMOST_MOUNT)
    return comments.secret(text, number)


def _name(text: str) -> str:
    """Return a name that may be shown."""
    return text if NAME.fullmatch(text) else ""


def dump(entries: Iterable[Entry]) -> str:
    """Format secrets as a file from which `sh`, `bash` and `read` all get the same values."""
    return "".join(f"{_mount_line(entry.mount)}{_assignment(entry)}\n" for entry in entries)


def _mount_line(mount: Mount) -> str:
    text = shown(mount)
    return "" if text == "env" else f"# mount: {text}\n"


def _assignment(entry: Entry) -> str:
    value = entry.value.reveal()
    if not shells.is_for_shells(entry):
        return f"# gitpod-secret: {entry.name} {json.dumps(value)}"
    return f"{entry.name}={shells.quoted(value)}"
