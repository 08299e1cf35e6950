"""Records a session of the real command as an animated SVG: `python tools/record.py` writes docs/pictures/session.svg.

Ids, ages and durations are replaced, and the pace is made up, so the same command gives the same file.
"""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

import pyte

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs/pictures/session.svg"
PROJECT = "b0e12f6c-4c67-429d-a4a6-d9838b5da047"
COLUMNS, ROWS = 80, 40
SECONDS = 60
"""How long a command may take, on a machine that is busy."""
ASKED = "[y/N]: "

FILE = """\
API_URL=https://api.example.com
# mount: file /home/gitpod/.npmrc
NPM_CONFIG="audit=false"
# mount: api-only
DEPLOY_KEY=hunter2-for-the-robot
"""
SESSION = (
    "cat .env",
    "gitpod-secrets import .env",
    "gitpod-secrets list --sort name",
    "gitpod-secrets run --files -- sh -c 'echo $API_URL; cat $NPM_CONFIG'",
    "gitpod-secrets get DEPLOY_KEY",
    "gitpod-secrets delete DEPLOY_KEY",
)
"""What is typed. A question is answered with `y`."""

SHOWN_IDS = ("35223bdb", "0f4c8a90", "9b2d6e1f", "c1a7f3e5")
ID = re.compile(r"\b([0-9a-f]{8})(-[0-9a-f-]*)?(?![0-9a-z])")
"""An id, or what is shown of one."""
AGE = re.compile(r"\b(?:\d+ \w+ ago\b|now$)")
DURATION = re.compile(r"\b\d+(?:\.\d+)?( m?s\b)(?! ago)")

TYPING, THINKING, READING, PER_LINE = 0.03, 0.4, 1.0, 0.12
"""Seconds for a key, before an answer, and for what was printed."""
LETTER, LEAD, PAD = 8.4, 19, 18
"""Pixels: the width of a column, the height of a row, the margin."""
COLOURS = {"red": "#ff7b72", "green": "#3fb950", "brown": "#d29922", "blue": "#79c0ff", "cyan": "#56d4dd"}
ATTRIBUTES = 'xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title desc"'
STYLE = """\
  <style>
    text { font: 14px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #e6edf3; white-space: pre }
    .typed { fill: #79c0ff }
    .bold { font-weight: 700 }
    .late { opacity: 0; animation: appear 0s forwards }
    .cover { fill: #0d1117; transform-box: fill-box; transform-origin: right; animation: uncover linear both }
    @keyframes appear { to { opacity: 1 } }
    @keyframes uncover { to { transform: scaleX(0) } }
    @media (prefers-reduced-motion: reduce) {
      .late { opacity: 1; animation: none }
      .cover { display: none }
    }
  </style>
"""


@dataclass(frozen=True, slots=True)
class Run:
    """Letters of one look, beside each other."""

    column: int
    words: str
    colour: str
    bold: bool


@dataclass(frozen=True, slots=True)
class Piece:
    """What appears at one moment in one row."""

    at: float
    row: int
    runs: tuple[Run, ...]
    typing: float = 0.0


class Terminal:
    """A command on a terminal of its own, and what its screen shows."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        # The first terminal that the leader of a session opens is its own.
        line = ["sh", "-c", 'exec sh -c "$1" <"$0" >"$0" 2>"$0"', os.ttyname(slave), command]
        self.process = subprocess.Popen(line, cwd=folder, env=environment, start_new_session=True)
        self._slave = slave

    def answered(self) -> tuple[list[tuple[Run, ...]], list[tuple[Run, ...]]]:
        """Run the command to its end. Returns the rows before a question was answered, and those at the end."""
        before: list[tuple[Run, ...]] = []
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                self.process.kill()
                raise SystemExit(f"the command goes on: {self.screen.display}")
            self._read()
            if not before and any(row.endswith(ASKED.rstrip()) for row in map(str.rstrip, self.screen.display)):
                before = rows(self.screen)
                os.write(self._master, b"y\n")
        self._read()
        os.close(self._slave)
        os.close(self._master)
        return before, rows(self.screen)

    def _read(self) -> None:
        while select.select([self._master], [], [], 0.05)[0]:
            self._stream.feed(os.read(self._master, 65536))


def rows(screen: pyte.Screen) -> list[tuple[Run, ...]]:
    """The rows of a screen, without the empty ones at its end."""
    found: list[tuple[Run, ...]] = []
    for number in range(ROWS):
        line = screen.buffer[number]
        end = len(screen.display[number].rstrip())
        looks = groupby(range(end), lambda column: (line[column].fg, line[column].bold))  # noqa: B023 # read below
        runs: list[Run] = []
        for (colour, bold), columns in looks:
            first, *more = columns
            runs.append(Run(first, "".join(line[column].data for column in (first, *more)), colour, bold))
        found.append(tuple(runs))
    while found and not found[-1]:
        found.pop()
    return found


def plain(row: tuple[Run, ...]) -> str:
    """The text of a row."""
    return "".join(run.words for run in row)


def after(row: tuple[Run, ...], column: int) -> tuple[Run, ...]:
    """The part of a row from a column on."""
    return tuple(
        Run(max(run.column, column), run.words[max(0, column - run.column) :], run.colour, run.bold)
        for run in row
        if run.column + len(run.words) > column
    )


def recorded() -> list[Piece]:
    """Run the session in an empty folder. Returns what appears, and when."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / ".env").write_text(FILE)
        environment = {
            "HOME": name,
            "LANG": "C.UTF-8",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "TERM": "xterm-256color",
            "GITPOD_BASE_URL": "sqlite:///secrets.db",
            "GITPOD_PROJECT_ID": PROJECT,
        }
        pieces: list[Piece] = []
        now, row = 0.5, 0
        for command in SESSION:
            typing = len(command) * TYPING
            pieces.append(Piece(0.0 if not pieces else now, row, (Run(0, "$ ", "prompt", bold=False),)))
            pieces.append(Piece(now, row, (Run(2, command, "typed", bold=False),), typing))
            now += typing + THINKING
            row += 1
            before, end = Terminal(command, folder, environment).answered()
            for number, line in enumerate(before):
                pieces.append(Piece(now, row + number, line))
            if before:
                now += READING + PER_LINE * len(before)
            for number, line in enumerate(end):
                shown = len(plain(before[number])) if number < len(before) else 0
                if rest := after(line, shown):
                    pieces.append(Piece(now, row + number, rest))
            now += READING + PER_LINE * (len(end) - len(before))
            row += len(end)
        return pieces


class Replaced:
    """Replaces what differs from run to run: ids, in the order in which they are shown, ages and durations."""

    def __init__(self) -> None:
        self._ids = {PROJECT[:8]: PROJECT[:8]}
        self._shown = iter(SHOWN_IDS)

    def __call__(self, words: str) -> str:
        """The words with what is stable."""
        return DURATION.sub(r"0.1\1", AGE.sub("2 s ago", ID.sub(self._id, words)))

    def _id(self, found: re.Match[str]) -> str:
        first, rest = found.groups()
        if first not in self._ids:
            self._ids[first] = next(self._shown)
        return self._ids[first] + PROJECT[8:][: len(rest or "")]


def drawn(pieces: list[Piece]) -> str:
    """The picture of a session."""
    replaced = Replaced()
    pieces = [
        Piece(p.at, p.row, tuple(Run(r.column, replaced(r.words), r.colour, r.bold) for r in p.runs), p.typing)
        for p in pieces
    ]
    columns = max(run.column + len(run.words) for piece in pieces for run in piece.runs)
    width = round(columns * LETTER + 2 * PAD)
    height = (max(piece.row for piece in pieces) + 1) * LEAD + 2 * PAD
    words = "\n".join(text_lines(pieces))
    out = [
        f'<svg {ATTRIBUTES} width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        '  <title id="title">A session of gitpod-secrets in a terminal</title>',
        f'  <desc id="desc">{escape(words)}</desc>',
        STYLE,
        f'  <rect width="{width}" height="{height}" rx="8" fill="#0d1117" stroke="#3d444d"/>',
    ]
    for piece in pieces:
        late = f' class="late" style="animation-delay:{piece.at:.2f}s"' if piece.at and not piece.typing else ""
        out.append(f"  <g{late}>" if late else "  <g>")
        out += [text(run, piece.row) for run in piece.runs if run.words.strip()]
        if piece.typing:
            [run] = piece.runs
            out.append(
                f'    <rect class="cover" x="{PAD + run.column * LETTER:g}" y="{PAD + piece.row * LEAD}" '
                f'width="{len(run.words) * LETTER + 2:.1f}" height="{LEAD}" style="animation-delay:{piece.at:.2f}s;'
                f'animation-duration:{piece.typing:.2f}s;animation-timing-function:steps({len(run.words)})"/>'
            )
        out.append("  </g>")
    return "\n".join([*out, "</svg>", ""])


def text(run: Run, row: int) -> str:
    """Letters at their place, as wide as their columns whatever the font is."""
    first = len(run.words) - len(run.words.lstrip())
    words = run.words.strip()
    look = ' class="typed"' if run.colour == "typed" else ' class="bold"' if run.bold else ""
    colour = f' style="fill:{COLOURS[run.colour]}"' if run.colour in COLOURS else ""
    return (
        f'    <text x="{PAD + (run.column + first) * LETTER:g}" y="{PAD + row * LEAD + 14}" '
        f'textLength="{len(words) * LETTER:.1f}" lengthAdjust="spacingAndGlyphs"{look}{colour}>{escape(words)}</text>'
    )


def text_lines(pieces: list[Piece]) -> list[str]:
    """The text of each row."""
    lines = [""] * (max(piece.row for piece in pieces) + 1)
    for piece in pieces:
        for run in piece.runs:
            lines[piece.row] = lines[piece.row].ljust(run.column) + run.words
    return lines


if __name__ == "__main__":
    PICTURE.write_text(drawn(recorded()))
