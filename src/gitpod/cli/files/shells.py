"""What shells read: the names that they take, and how they quote values. Nothing here does I/O."""

import re
from typing import NamedTuple

from gitpod.cli.files.entries import Entry

OWN_VARIABLES = frozenset(
    (
        *("BASHOPTS", "BASHPID", "BASH_ALIASES", "BASH_ARGC", "BASH_ARGV", "BASH_ARGV0", "BASH_CMDS", "BASH_COMMAND"),
        *("BASH_COMPAT", "BASH_LINENO", "BASH_MONOSECONDS", "BASH_REMATCH", "BASH_SOURCE", "BASH_SUBSHELL"),
        *("BASH_VERSINFO", "BASH_XTRACEFD", "COMP_WORDBREAKS", "DIRSTACK", "EPOCHREALTIME", "EPOCHSECONDS", "EUID"),
        *("FUNCNAME", "GROUPS", "HISTCMD", "LINENO", "OPTIND", "PIPESTATUS", "PPID", "RANDOM", "SECONDS", "SHELLOPTS"),
        *("SRANDOM", "UID"),
    )
)
"""Variables that some version of bash refuses to assign, evaluates as numbers, or does not pass on as they were set.

Errors of bash would quote the value. dash has one of them too: OPTIND.
"""

ASSIGNED = re.compile(r"\s*(?:export[^\S\r\n]+)?([^=#\s]+)[^\S\r\n]*=[^\S\r\n]*(?=['\"])")
"""An assignment up to the quote that its value begins with."""
WORD = re.compile(r"""(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\])*""", re.DOTALL)
# In these pieces, what programs read in different ways is left out: \\ and \' in single quotes, which python-dotenv
# takes for escapes; $ and the backtick in double quotes, which shells expand; escapes of letters outside of quotes.
PIECE = re.compile(
    r"""'(?P<single>(?:[^'\\]|\\(?![\\']))*)'|"(?P<double>(?:[^"\\$`]|\\["\\$`])*)"|\\(?P<escaped>[^\w\s])"""
)
END = re.compile(r"(?:[^\S\r\n]+(#[^\r\n]*)?)?(?:\r\n|\n|\r|\Z)")
ESCAPE = re.compile(r'\\(["\\$`])')


class Joined(NamedTuple):
    """An assignment whose value is joined from pieces.

    Attributes:
        end: where the next line begins.
        name: its name.
        value: its value.
        comment: the comment behind it, empty if there is none.
    """

    end: int
    name: str
    value: str
    comment: str


def joined(text: str, at: int) -> Joined | None:
    r"""Read an assignment whose value begins with a quote and is joined from pieces, such as `'it'\''s'`.

    None if there is none at this place, or it is not clear what is meant: text without quotes, as an apostrophe may
    have ended them, or two pieces in the same quotes, as in SQL.
    """
    head = ASSIGNED.match(text, at)
    if not head:
        return None
    values: list[str] = []
    before = ""
    position = head.end()
    while piece := PIECE.match(text, position):
        kind = str(piece.lastgroup)
        if kind == before != "escaped":
            return None
        values.append(ESCAPE.sub(r"\1", piece[kind]) if kind == "double" else piece[kind])
        before = kind
        position = piece.end()
    tail = END.match(text, position)
    if not tail or len(values) == 1:
        return None
    return Joined(tail.end(), head[1], "".join(values), tail[1] or "")


def is_on_one_line(text: str, at: int) -> bool:
    """Tell whether all quotes of an assignment are closed on the line where its value begins with a quote."""
    head = ASSIGNED.match(text, at)
    word = WORD.match(text, head.end()) if head else None
    return not word or not (re.search(r"[\r\n]", word[0]) or text[word.end() : word.end() + 1] in ("'", '"'))


def is_for_shells(entry: Entry) -> bool:
    """Tell whether a shell can have the secret as a variable."""
    return not (entry.name in OWN_VARIABLES or entry.name[0].isdigit() or "\0" in entry.value.reveal())


def quoted(value: str) -> str:
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
