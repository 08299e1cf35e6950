"""Comments of a dotenv file that say something: mounts, and secrets that no shell can have. Nothing here does I/O.

A comment that looks like one of them and is none is an error. If it were ignored, a secret that is for the API alone
would go into every environment.
"""

import json
import re

from gitpod._secret_value import SecretValue
from gitpod.cli.files.entries import API_ONLY, ENV, PLACES, Entry, Invalid, Mount

BAD_MOUNT = "the mount must be env, file /absolute/path, registry https://host or api-only"
BEHIND_MOUNT = "no comment can stand behind its mount"
ALMOST_MOUNT = 'the comment above it is almost a mount comment; it must begin with exactly "# mount: "'
BAD_ENCODED = 'must be exactly # gitpod-secret: NAME "…", with the value as in JSON'

MOUNT = re.compile(r"# mount:[ \t]*(.*)", re.DOTALL)
SECRET = re.compile(r'# gitpod-secret: ([0-9A-Za-z_]+) (".*")')

# What may stand in front of the words: other signs for comments, lists or emphasis, and blanks of all kinds.
_SIGNS = r"[\W_]{0,20}"
_KIND = r"(?:env|file|registry|api[\W_]?only)(?![^\W_])"
# Behind `=`, a mount must follow: "# MOUNT=1" and "# MOUNT_FILE=/a" are assignments that are switched off.
LIKE_MOUNT = re.compile(
    rf"{_SIGNS}mounts?(?:"
    r"[^\w=]{0,20}?[:\uff1a]"
    rf"|\W{{0,20}}=\W{{0,20}}{_KIND}"
    rf"|{_SIGNS}{_KIND}[^\w=]{{0,20}}?[:\uff1a/\"]"
    rf"|\W{{1,20}}{_KIND}\W{{0,20}}?="
    rf"|{_SIGNS}(?:env|api[\W_]?only)\W*\Z"
    rf"|{_SIGNS}api[-_]only(?![^\W_])"
    rf"|\s{{1,20}}registry\s{{1,20}}(?:https?:|\S{{1,253}}?\.\S)"
    r")",
    re.IGNORECASE,
)
MISSPELT = re.compile(rf"{_SIGNS}(m[a-z]{{2,14}})\W{{0,20}}?[:=\uff1a]\W{{0,20}}{_KIND}", re.IGNORECASE)
NEARLY = 0.75
"""How alike two words are, of 1, if one is a misspelling of the other: "moutn" and "mount" are 0.8."""
LIKE_SECRET = re.compile(
    rf"{_SIGNS}gitpod[\W_]?secret(?:\W{{0,20}}?[:\uff1a]|s?\W{{1,20}}\w{{1,127}}(?:\s{{1,20}}|\s{{0,20}}=\s{{0,20}})[\"'])",
    re.IGNORECASE,
)


def mount(text: str) -> Mount | str:
    """Return the mount that stands behind `# mount:`, or the rule that it breaks."""
    kind, _, where = text.partition(" ")
    where = where.strip()
    if where.startswith('"') and kind in PLACES:
        try:
            return {PLACES[kind]: json.loads(where)}
        except ValueError:
            return BEHIND_MOUNT if re.search(r'"\s*#', where) else BAD_MOUNT
    if re.search(r"\s#", text):
        return BEHIND_MOUNT
    if where and kind in PLACES:
        return {PLACES[kind]: where}
    return BAD_MOUNT if where else {"env": ENV, "api-only": API_ONLY}.get(kind, BAD_MOUNT)


def is_almost_mount(text: str, at: int = 0) -> bool:
    """Tell whether a comment or an invalid line, from a place in a text on, looks like a mount comment.

    It begins with the word "mount" or "mounts" in front of a colon or a whole mount, or with a word that is nearly
    "mount" in front of both. Signs and letter case do not count. "# mount the disk first" is an ordinary comment.
    """
    if LIKE_MOUNT.match(text, at):
        return True
    found = MISSPELT.match(text, at)
    if not found:
        return False
    from difflib import SequenceMatcher  # few files have such a comment

    word = found[1].lower()
    return word.startswith("mount") or SequenceMatcher(None, word, "mount").ratio() >= NEARLY


def is_behind(text: str) -> bool:
    """Tell whether a comment of either kind stands in what follows a value on its line."""
    return any(
        is_almost_mount(text, sign.end()) or LIKE_SECRET.match(text, sign.end()) for sign in re.finditer("#", text)
    )


def secret(text: str, number: int) -> Entry | Invalid | None:
    """Return the secret that a comment has. None if it has none, and does not look like it."""
    found = SECRET.fullmatch(text)
    if not found:
        return Invalid(number, BAD_ENCODED) if LIKE_SECRET.match(text) else None
    try:
        return Entry(number, found[1], SecretValue(json.loads(found[2])))
    except ValueError:
        return Invalid(number, "the value is not a string of JSON")
