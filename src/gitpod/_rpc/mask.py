"""Masks secret values and credentials in the texts of a service, by asterisks."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote, quote_plus

from protobuf import Message

from gitpod._messages.descriptors import redacted_texts
from gitpod._secret_value import MASK

SHORTEST_MASKED = 8
"""Characters. A shorter value may be part of any word: masking it would spoil the text."""

SHORTEST_LINE = 12
"""Characters. A line of a multi-line value is masked by itself from this length on."""

LONGEST_TEXT = 2000
"""Characters of a service's text that are kept."""

PLAIN = {"accept", "accept-language", "baggage", "cache-control", "traceparent", "tracestate", "user-agent"}
"""Headers that hold no credentials."""


def mask_of(request: Message, headers: Mapping[str, str]) -> Callable[[str], str]:
    """Return a function that makes a text of the service fit to be shown.

    It masks the request's secret texts and credentials, plain or quoted. It replaces characters that are not
    printable, and shortens the text to `LONGEST_TEXT`.
    """
    values = redacted_texts(request)
    credentials = [text for name, text in headers.items() if name.lower() not in PLAIN]
    hidden = {
        *values,
        *(value.strip() for value in values),
        *credentials,
        *(text.rpartition(" ")[2] for text in credentials),
    }
    forms = {form for text in hidden if len(text) >= SHORTEST_MASKED for form in _quoted(text)}
    lines = {line for value in values for line in value.splitlines() if len(line) >= SHORTEST_LINE}
    quoted = sorted(forms | lines, key=len, reverse=True)

    longest = len(quoted[0]) if quoted else 0

    def mask(text: str) -> str:
        # Long enough for every form that begins in the part that is shown.
        masked = part = text[: LONGEST_TEXT + longest]
        for form in quoted:
            masked = masked.replace(form, MASK)
        if len(part) < len(text):
            # The end may hold a part of a form, which masking may have moved into the part that is shown.
            masked = masked[: max(0, len(masked) - longest)]
        shown = "".join(character if character.isprintable() else " " for character in masked[:LONGEST_TEXT])
        return shown if len(part) == len(text) and len(masked) <= LONGEST_TEXT else f"{shown}…"

    return mask


def _quoted(text: str) -> Iterator[str]:
    """Yield a text as it is, and as JSON, Python, URLs and base64 write it."""
    yield text
    for escaped in (json.dumps(text), json.dumps(text, ensure_ascii=False), repr(text)):
        yield escaped[1:-1]
        # As JSON in JSON, and as Go writes it.
        yield json.dumps(escaped[1:-1])[1:-1]
        yield escaped[1:-1].replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    encoded = text.encode(errors="surrogatepass")
    yield from (quote(encoded), quote(encoded, safe=""), quote_plus(encoded))
    yield b64encode(encoded).decode().rstrip("=")
